//! Cancellers among `c["services"]`.

use super::root::Config;
use crate::definition::{BuilderDef, CancelRule, CancellerDef, CancellerKind};
use crate::filter::Filter;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::names;
use crate::policies::{Canceller, Function};
use crate::values::convert::{text, texts};
use crate::values::descriptor::Descriptor;
use crate::values::tree::{self, Tree};
use starlark::values::Value;

/// One service; its place is kept for [`check`].
pub(super) struct Found {
    pub definition: CancellerDef,
    pub canceller: Canceller,
    pub site: crate::host::site::Site,
}

pub(super) fn read(config: &Config, service: &Descriptor<'_>, collector: &Collector) -> Found {
    let trees = service.trees(collector);
    let own = |value: Value<'_>| config.own(value);
    let old = service.spec.short() == "OldBuildCanceller";
    let (mut rules, mut filters) = (vec![], vec![]);
    for entry in service.arg("filters").and_then(tree::items).unwrap_or_default() {
        let Some(parts) = tree::items(*entry) else { continue };
        let names = |value: &Value<'_>| match Tree::of(*value) {
            Tree::None => None,
            Tree::Text(one) => Some(vec![one]),
            many => texts(&many),
        };
        let (Some(builders), Some(filter)) = (parts.first(), parts.last()) else { continue };
        let cancel = parts.get(1).filter(|_| !old && parts.len() > 2).and_then(names);
        rules.push(CancelRule { builders: names(builders).unwrap_or_default(), cancel });
        filters.push(Descriptor::from_value(*filter).map(|f| Filter::new(f, &own, collector)));
    }
    let definition = CancellerDef {
        name: trees.get("name", text).unwrap_or_default(),
        kind: if old { CancellerKind::OldBuild } else { CancellerKind::FailingBuildset },
        rules,
        location: service.site.location(),
    };
    let branch_key = Function::of(service, "branch_key", &own);
    Found { definition, canceller: Canceller { filters, branch_key }, site: service.site.clone() }
}

/// Names that are there once, and builders that exist.
pub(super) fn check(found: &[Found], builders: &[BuilderDef], collector: &Collector) {
    let known = || builders.iter().map(|b| b.name.as_str());
    for (i, service) in found.iter().enumerate() {
        let name = &service.definition.name;
        if found[..i].iter().any(|f| f.definition.name == *name) {
            let message = format!("there are two services named `{name}`");
            collector.report(service.site.place_argument("name", Diagnostic::error(message)));
        }
        let named = service.definition.rules.iter().flat_map(|r| r.builders.iter().chain(r.cancel.iter().flatten()));
        for builder in named.filter(|b| !known().any(|k| k == b.as_str())) {
            let message = format!("service `{name}` names the builder `{builder}`, which does not exist");
            let hint = names::nearest(builder, known()).map(|near| format!("did you mean `{near}`?"));
            collector.report(service.site.place_argument("filters", Diagnostic::error(message).maybe_hint(hint)));
        }
    }
}
