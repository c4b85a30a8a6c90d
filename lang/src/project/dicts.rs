//! Builders written as dicts (C-42): the keys are arguments of `util.BuilderConfig`.

use super::root::Config;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::descriptor::{Descriptor, DescriptorGen};
use crate::values::spec::{Spec, Status};
use crate::values::tree::Tree;
use crate::vocabulary;
use crate::vocabulary::remedy::remedy;
use starlark::collections::SmallMap;
use starlark::values::Value;
use starlark::values::dict::DictRef;

/// Old names that take one name where the new one takes a list: the dict's value stands for a list of it.
const SINGLE: [&str; 2] = ["slavename", "workername"];

/// `None` if it has errors, which are reported.
pub(super) fn builder<'v>(
    config: &Config,
    index: usize,
    value: Value<'v>,
    collector: &Collector,
) -> Option<Descriptor<'v>> {
    let spec: &'static Spec = vocabulary::specs().find(|s| s.name == "util.BuilderConfig")?;
    let dict = DictRef::from_value(value)?;
    let site = Site { span: config.key_span("builders"), trace: vec![] };
    let report = |diagnostic: Diagnostic| collector.report(site.place(diagnostic));
    let what = format!("c[\"builders\"][{index}]");
    let mut args = SmallMap::new();
    let mut single = None;
    let mut failed = false;
    for (key, value) in dict.iter() {
        let Some(name) = key.unpack_str() else { continue };
        let target = match spec.param(name).map(|p| p.status) {
            Some(Status::Alias(to)) => to,
            Some(Status::Required(_) | Status::Optional(_)) => name,
            Some(Status::Ignored(_) | Status::Moved(_) | Status::Later) => continue,
            None => {
                let hint = names::nearest(name, spec.names()).map(|n| format!("did you mean `{n}`?"));
                report(Diagnostic::error(format!("{what} has an unknown key `{name}`")).maybe_hint(hint));
                failed = true;
                continue;
            }
        };
        if name != target && name != "workername" {
            let message = format!("`{name}` of {what} is an old name of `{target}`");
            report(Diagnostic::warning(message));
        }
        if SINGLE.contains(&name) && value.unpack_str().is_some() {
            single = value.unpack_str().map(str::to_owned);
            continue;
        }
        let tree = Tree::of(value);
        if let Some((ty, why)) = spec.type_of(target).and_then(|ty| Some((ty, ty.mismatch(&tree)?))) {
            let right = remedy(name, ty, &tree);
            report(Diagnostic::error(format!("`{name}` of {what} {why}")).maybe_hint(right));
            failed = true;
            continue;
        }
        args.insert(target.to_owned(), value);
    }
    for param in spec.all().filter(|p| matches!(p.status, Status::Required(_))) {
        let named = param.name == "workernames" && single.is_some();
        if !args.contains_key(param.name) && !named && !failed {
            report(Diagnostic::error(format!("{what} needs `{}`", param.name)));
            failed = true;
        }
    }
    let refused = single.map(|name| format!("{SINGLE_WORKER}{name}")).into_iter().collect();
    (!failed).then_some(DescriptorGen { spec, site, rule: vec![], args, refused })
}

/// How the one worker of an old dict goes along: a frozen heap takes no new list.
const SINGLE_WORKER: &str = "workername = ";

/// The one worker that a dict names.
pub(super) fn single_worker(builder: &Descriptor<'_>) -> Option<String> {
    builder.refused.iter().find_map(|r| r.strip_prefix(SINGLE_WORKER).map(str::to_owned))
}
