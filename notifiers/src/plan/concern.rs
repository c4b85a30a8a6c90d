//! Whether an event can make anybody say something, by itself: of what concerns
//! nobody no facts are read, which is most of what happens.

use super::Subject;
use tidemill_lang::definition::{GeneratorDef, GeneratorKind, ReporterDef, ReporterKind};
use tidemill_model::Results;
use tidemill_schema::events::Event;

/// False only if [`super::notices`] says nothing of it, whatever the facts are.
pub fn concerns(reporters: &[ReporterDef], event: &Event, subject: Subject) -> bool {
    let results = event.data.get("results").and_then(|v| Results::try_from(i16::try_from(v.as_i64()?).ok()?).ok());
    reporters.iter().any(|reporter| {
        // Its channels settle for themselves what they hear.
        matches!(reporter.kind, ReporterKind::Irc(_))
            || reporter.generators.iter().any(|g| may_tell(g, subject, results))
    })
}

fn may_tell(generator: &GeneratorDef, subject: Subject, results: Option<Results>) -> bool {
    use GeneratorKind::*;
    match subject {
        Subject::BuildStarted(_) => generator.kind == BuildStartEnd || generator.kind == Build && generator.report_new,
        Subject::BuildEnded(_) => {
            matches!(generator.kind, Build | BuildStartEnd) && results.is_none_or(|r| may_tell_end(generator, r))
        }
        Subject::BuildsetEnded(_) => matches!(generator.kind, Buildset | BuildsetCombined),
        Subject::RequestMade(_) | Subject::RequestEnded(_) => generator.kind == Request,
        Subject::WorkerMissing(_) => generator.kind == WorkerMissing,
        // Only channels hear of these.
        Subject::WorkerCame(_) | Subject::WorkerWent(_) => false,
    }
}

fn may_tell_end(generator: &GeneratorDef, results: Results) -> bool {
    let before = || std::iter::once(None).chain(Results::ALL.into_iter().map(Some));
    !generator.kind.has_modes()
        || generator.modes.is_empty()
        || generator.modes.iter().any(|mode| before().any(|before| mode.takes(results, before)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build, mail};
    use super::super::{Facts, notices};
    use super::*;
    use std::collections::BTreeMap;
    use tidemill_lang::definition::Mode;
    use time::OffsetDateTime;

    #[test]
    fn what_concerns_nobody_is_what_nobody_would_be_told_of() {
        let modes = [
            vec![Mode::Problem],
            vec![Mode::Change],
            vec![Mode::Failing, Mode::Exception],
            vec![Mode::Passing],
            vec![],
        ];
        let kinds =
            [GeneratorKind::Build, GeneratorKind::BuildStartEnd, GeneratorKind::Buildset, GeneratorKind::Request];
        let mut spared = 0;
        for (modes, kind) in modes.iter().flat_map(|m| kinds.map(|k| (m, k))) {
            let generator = GeneratorDef { modes: modes.clone(), ..GeneratorDef::new(kind) };
            let reporters = [mail(vec![generator])];
            for (results, before) in Results::ALL.into_iter().flat_map(|r| Results::ALL.map(|b| (r, b))) {
                for (kind, subject) in
                    [("builds.new", Subject::BuildStarted(1)), ("builds.finished", Subject::BuildEnded(1))]
                {
                    let event = Event {
                        at_cursor: tidemill_schema::changes::Cursor { xid: 1, id: 1 },
                        at: OffsetDateTime::UNIX_EPOCH,
                        kind: kind.into(),
                        builder_id: Some(3),
                        build_id: Some(1),
                        data: serde_json::json!({ "results": results.code() }),
                    };
                    let build = build(results, &[before], Some(before));
                    let facts = Facts { builds: BTreeMap::from([(1, build)]), ..Facts::default() };
                    if !concerns(&reporters, &event, subject) {
                        spared += 1;
                        assert_eq!(notices(&reporters, &facts, subject), [], "{modes:?} {kind} {results:?} {before:?}");
                    }
                }
            }
        }
        assert!(spared > 500, "it spares {spared}");
    }

    #[test]
    fn a_good_build_concerns_no_reporter_of_problems() {
        let problems =
            GeneratorDef { modes: vec![Mode::Problem, Mode::Exception], ..GeneratorDef::new(GeneratorKind::Build) };
        let of = |r: Results| may_tell(&problems, Subject::BuildEnded(1), Some(r));
        assert!(!of(Results::Success) && !of(Results::Cancelled) && of(Results::Failure) && of(Results::Exception));
        assert!(!may_tell(&problems, Subject::BuildStarted(1), None));
    }
}
