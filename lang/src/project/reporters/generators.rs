//! Generators of a reporter: those of the file, or its kind's own.

use super::formatters;
use super::reading::Reading;
use crate::definition::{
    BlameDef, BlameWhen, FormatterDef, GeneratorDef, GeneratorKind, LogsWanted, Mode, Renderable, ReporterKind,
};
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::policies::{Argument, FormatterRules, GeneratorRules};
use crate::values::convert::{boolean, count, text, texts, values};
use crate::values::descriptor::Descriptor;
use crate::values::notices::one_or_more;
use crate::values::tree::{self, Tree};

pub(super) struct Generator {
    pub definition: GeneratorDef,
    pub rules: GeneratorRules,
    pub site: Site,
}

pub(super) fn read(r: &mut Reading<'_, '_>, kind: &ReporterKind) -> Vec<Generator> {
    let given = r.service.arg("generators").filter(|v| !v.is_none());
    let Some(items) = given.and_then(tree::items) else {
        if r.trees.given("generators") && !given.is_none_or(|v| v.is_none()) {
            return vec![];
        }
        return super::usual(kind).into_iter().map(|g| own(r, kind, g)).collect();
    };
    for argument in ["startDescription", "endDescription"].into_iter().filter(|a| r.trees.given(a)) {
        let message = format!("`{argument}` of {} has no effect beside `generators`", r.called());
        let hint = "say it with the formatters of the generators";
        r.report(argument, Diagnostic::warning(message).hint(hint));
    }
    if items.is_empty() {
        let message = format!("`generators` of {} is empty: nothing is told", r.called());
        r.report("generators", Diagnostic::warning(message));
    }
    items.iter().filter_map(|v| Descriptor::from_value(*v)).map(|d| generator(r, d)).collect()
}

/// What a kind tells by itself.
fn own(r: &Reading<'_, '_>, kind: &ReporterKind, generator: GeneratorKind) -> Generator {
    let mut definition = GeneratorDef::new(generator);
    definition.add_patch = matches!(kind, ReporterKind::Mail(_));
    if generator == GeneratorKind::Build && !matches!(kind, ReporterKind::Mail(_)) {
        definition.modes = Mode::EVERY_END.to_vec();
    }
    let mut rules = GeneratorRules { start: FormatterRules::Default, end: FormatterRules::Default };
    // Reporters that set a status have a text for each moment.
    if r.service.spec.param("startDescription").is_some() {
        let plain = |t: &str| (Renderable::Text(t.to_owned()), Argument::Text(Some(t.to_owned())));
        let described = |argument: &str, usual: &str| {
            let value = r.service.arg(argument).filter(|v| !v.is_none());
            value.and_then(|v| r.rendered(argument, v, false)).unwrap_or_else(|| plain(usual))
        };
        let (start, end) = match generator {
            GeneratorKind::Request => (None, plain("Build pending.")),
            _ => (Some(described("startDescription", "Build started.")), described("endDescription", "Build done.")),
        };
        let renderable = |template| FormatterDef::Renderable { template: Some(template), subject: None };
        if let Some((shown, template)) = start {
            definition.start_formatter = renderable(shown);
            rules.start = FormatterRules::Renderable { template, subject: None };
        }
        definition.formatter = renderable(end.0);
        rules.end = FormatterRules::Renderable { template: end.1, subject: None };
    }
    Generator { definition, rules, site: r.service.site.clone() }
}

fn generator(r: &Reading<'_, '_>, descriptor: &Descriptor<'_>) -> Generator {
    let kind = match descriptor.spec.short() {
        "BuildStatusGenerator" => GeneratorKind::Build,
        "BuildStartEndStatusGenerator" => GeneratorKind::BuildStartEnd,
        "BuildSetStatusGenerator" => GeneratorKind::Buildset,
        "BuildSetCombinedStatusGenerator" => GeneratorKind::BuildsetCombined,
        "BuildRequestGenerator" => GeneratorKind::Request,
        _ => GeneratorKind::WorkerMissing,
    };
    let inner = Reading::new(r.config, descriptor, r.collector);
    let mut definition = GeneratorDef::new(kind);
    if let Some(modes) = modes(&inner, kind) {
        definition.modes = modes;
    }
    definition.per_branch = inner.flag("per_branch", false);
    definition.tags = inner.get("tags", texts);
    definition.builders = inner.get("builders", texts);
    if definition.tags.is_some() && definition.builders.is_some() {
        let message = format!("{} has both `tags` and `builders`", inner.called());
        inner.error("tags", message, Some("take one of them out".into()));
    }
    definition.schedulers = inner.get("schedulers", texts);
    definition.branches = match inner.trees.by_name.get("branches") {
        None | Some(Tree::None) => None,
        Some(branches) => values(branches),
    };
    definition.workers = inner.get("workers", one_or_more).filter(|names| names.iter().all(|n| n != "all"));
    definition.report_new = inner.flag("report_new", false);
    definition.blame = blame(&inner);
    definition.add_logs = inner.get("add_logs", logs).unwrap_or_default();
    definition.add_patch = inner.flag("add_patch", false);
    let formatter = |name: &str| formatters::read(&inner, name, kind);
    let end = match kind {
        GeneratorKind::BuildStartEnd => "end_formatter",
        GeneratorKind::Request => "formatter",
        _ => "message_formatter",
    };
    let (shown, end) = formatter(end);
    definition.formatter = shown;
    let mut rules = GeneratorRules { start: FormatterRules::Default, end };
    match kind {
        GeneratorKind::BuildStartEnd => (definition.start_formatter, rules.start) = formatter("start_formatter"),
        // It tells a beginning in the same words; what was wrong with them is told.
        _ if definition.report_new => {
            (definition.start_formatter, rules.start) = formatters::read_quietly(&inner, "message_formatter", kind);
        }
        _ => {}
    }
    Generator { definition, rules, site: descriptor.site.clone() }
}

pub(super) fn logs(tree: &Tree) -> Option<LogsWanted> {
    match (boolean(tree), texts(tree)) {
        (Some(true), _) => Some(LogsWanted::All),
        (_, Some(names)) => Some(LogsWanted::Named(names)),
        _ => Some(LogsWanted::None),
    }
}

/// None: not given.
fn modes(r: &Reading<'_, '_>, kind: GeneratorKind) -> Option<Vec<Mode>> {
    let tree = r.trees.by_name.get("mode")?;
    // By itself it has meant both since Buildbot's first mails.
    if text(tree).as_deref() == Some("warnings") {
        return Some(vec![Mode::Failing, Mode::Warnings]);
    }
    let mut found = vec![];
    for name in one_or_more(tree)? {
        if name == "all" {
            found.extend(Mode::EVERY_END.into_iter().filter(|m| !found.contains(m)).collect::<Vec<_>>());
            continue;
        }
        let Some(mode) = Mode::ALL.into_iter().find(|m| m.name() == name) else {
            let known: Vec<&str> = Mode::ALL.iter().map(|m| m.name()).chain(["all"]).collect();
            let hint = names::nearest(&name, known.iter().copied())
                .map_or_else(|| format!("there are {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
            r.error("mode", format!("`mode` of {} cannot be {name:?}", r.called()), Some(hint));
            continue;
        };
        if kind == GeneratorKind::BuildsetCombined && matches!(mode, Mode::Change | Mode::Problem) {
            let message = format!("`mode` of {} cannot be {name:?}: a buildset has none before it", r.called());
            r.error("mode", message, None);
            continue;
        }
        if !found.contains(&mode) {
            found.push(mode);
        }
    }
    if found.is_empty() && one_or_more(tree).is_some_and(|names| names.is_empty()) {
        let message = format!("`mode` of {} is empty: nothing is told", r.called());
        r.error("mode", message, Some("as in mode = [\"failing\"]".into()));
    }
    Some(found)
}

fn blame(r: &Reading<'_, '_>) -> BlameDef {
    const WHEN: [(&str, BlameWhen); 3] =
        [("turn", BlameWhen::Turn), ("always", BlameWhen::Always), ("never", BlameWhen::Never)];
    let when = r.text("blame").map_or(BlameWhen::Turn, |name| {
        let found = WHEN.iter().find(|(n, _)| *n == name).map(|(_, when)| *when);
        found.unwrap_or_else(|| {
            let known = WHEN.map(|(n, _)| n);
            let hint = names::nearest(&name, known)
                .map_or_else(|| format!("there are {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
            r.error("blame", format!("`blame` of {} cannot be {name:?}", r.called()), Some(hint));
            BlameWhen::Turn
        })
    });
    let flaky = r.get("mute_flaky", count).flatten().filter(|n| *n > 0);
    if flaky.is_some_and(|n| n as usize >= BlameDef::WINDOW) {
        let message = format!("`mute_flaky` of {} is below {}", r.called(), BlameDef::WINDOW);
        r.error("mute_flaky", message, None);
    }
    BlameDef { when, mute_flaky: flaky.and_then(|n| u32::try_from(n).ok()) }
}
