//! Tables of who is told what.

use super::*;
use Results::*;
use tidemill_lang::definition::{BlameDef, BlameWhen, MailDef, MailTls, Verify};
use tidemill_model::SourceStamp;

pub(super) fn mail(generators: Vec<GeneratorDef>) -> ReporterDef {
    let settings = MailDef {
        fromaddr: "ci@example.org".into(),
        relayhost: "localhost".into(),
        port: 25,
        tls: MailTls::None,
        verify: Verify::Yes,
        user: None,
        password: None,
        send_to_interested_users: true,
        extra_recipients: vec!["team@example.org".into()],
        lookup: None,
        extra_headers: BTreeMap::new(),
        unsubscribe: true,
        excerpt_lines: 40,
        attachments_max: 1 << 20,
    };
    ReporterDef {
        name: "mail".into(),
        kind: ReporterKind::Mail(settings),
        generators,
        max_age_us: 1,
        digest_us: None,
        location: String::new(),
    }
}

fn generator(modes: &[Mode]) -> GeneratorDef {
    GeneratorDef { modes: modes.to_vec(), ..GeneratorDef::new(GeneratorKind::Build) }
}

pub(super) fn build(results: Results, history: &[Results], verdict: Option<Results>) -> BuildFacts {
    BuildFacts {
        build: 1,
        number: 9,
        builder_id: 3,
        builder: "linux".into(),
        tags: vec!["fast".into()],
        results: Some(results),
        scheduler: "main".into(),
        stamps: vec![SourceStamp { branch: Some("main".into()), ..SourceStamp::default() }],
        history: history.iter().map(|r| Some(*r)).collect(),
        line_verdict: verdict,
        line_previous: verdict,
        authors: vec!["ann".into()],
        owners: vec!["olga".into()],
        ..BuildFacts::default()
    }
}

fn said(generator: GeneratorDef, build: BuildFacts) -> Option<Notice> {
    let facts = Facts { builds: BTreeMap::from([(1, build)]), ..Facts::default() };
    notices(&[mail(vec![generator])], &facts, Subject::BuildEnded(1)).pop()
}

fn people(notice: &Notice) -> Vec<&str> {
    let name = |to: &'_ To| matches!(to, To::Person { .. });
    notice
        .to
        .iter()
        .filter(|to| name(to))
        .map(|to| match to {
            To::Person { name, .. } => name.as_str(),
            _ => "",
        })
        .collect()
}

#[test]
fn modes_choose_ends_by_their_result_and_by_what_was_before() {
    type Row<'a> = (&'a [Mode], Results, &'a [Results], Option<&'a str>);
    let table: &[Row<'_>] = &[
        (&[Mode::Failing], Failure, &[Failure], Some("failing")),
        (&[Mode::Failing], Success, &[Failure], None),
        (&[Mode::Passing, Mode::Warnings], Warnings, &[], Some("warnings")),
        (&[Mode::Change], Success, &[Success], None),
        (&[Mode::Change], Success, &[Failure], Some("change")),
        (&[Mode::Change], Success, &[], None),
        (&[Mode::Problem], Failure, &[Failure], None),
        (&[Mode::Problem], Failure, &[Warnings], Some("problem")),
        (&[Mode::Problem, Mode::Failing], Failure, &[Success], Some("problem")),
        (&[Mode::Exception], Exception, &[], Some("exception")),
        (&Mode::EVERY_END, Retry, &[], None),
        (&Mode::EVERY_END, Cancelled, &[], Some("cancelled")),
    ];
    for (modes, results, history, mode) in table {
        let said = said(generator(modes), build(*results, history, None));
        assert_eq!(said.map(|n| n.mode), *mode, "{modes:?} {results:?} after {history:?}");
    }
}

#[test]
fn authors_are_told_only_when_a_builder_that_was_good_on_their_branch_turns_bad() {
    let table = [
        (Failure, Some(Success), vec!["ann", "olga"]),
        (Failure, Some(Warnings), vec!["ann", "olga"]),
        // Broken before them, never good, or nobody's fault.
        (Failure, Some(Failure), vec!["olga"]),
        (Failure, None, vec!["olga"]),
        (Exception, Some(Success), vec!["olga"]),
        (Success, Some(Failure), vec!["olga"]),
    ];
    for (results, before, names) in table {
        let mut all = generator(&Mode::EVERY_END);
        let notice = said(all.clone(), build(results, &[], before)).unwrap();
        let mut told = people(&notice);
        told.sort();
        assert_eq!(told, names, "{results:?} after {before:?}");
        assert!(notice.to.contains(&To::Fixed("team@example.org".into())));
        all.blame = BlameDef { when: BlameWhen::Never, mute_flaky: None };
        assert!(people(&said(all.clone(), build(results, &[], before)).unwrap()).is_empty());
        all.blame.when = BlameWhen::Always;
        assert_eq!(people(&said(all, build(results, &[], before)).unwrap()).len(), 2);
    }
}

#[test]
fn nobody_is_blamed_while_a_builder_flakes() {
    let flaky = [Success, Failure, Success, Failure, Success];
    let mut generator = generator(&[Mode::Failing]);
    generator.blame.mute_flaky = Some(4);
    assert_eq!(people(&said(generator.clone(), build(Failure, &flaky, Some(Success))).unwrap()), ["olga"]);
    let steady = [Success, Success, Success, Failure, Success];
    assert_eq!(people(&said(generator, build(Failure, &steady, Some(Success))).unwrap()).len(), 2);
}

#[test]
fn filters_take_builders_tags_schedulers_and_branches() {
    let some = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    let mut takes: Vec<(GeneratorDef, bool)> = vec![];
    let g = || generator(&[Mode::Failing]);
    takes.push((GeneratorDef { builders: some(&["linux"]), ..g() }, true));
    takes.push((GeneratorDef { builders: some(&["mac"]), ..g() }, false));
    takes.push((GeneratorDef { tags: some(&["slow", "fast"]), ..g() }, true));
    takes.push((GeneratorDef { tags: some(&["slow"]), ..g() }, false));
    takes.push((GeneratorDef { schedulers: some(&["main"]), ..g() }, true));
    takes.push((GeneratorDef { schedulers: some(&["nightly"]), ..g() }, false));
    takes.push((GeneratorDef { branches: Some(vec![None, Some("main".into())]), ..g() }, true));
    takes.push((GeneratorDef { branches: Some(vec![None]), ..g() }, false));
    for (generator, taken) in takes {
        assert_eq!(said(generator.clone(), build(Failure, &[], None)).is_some(), taken, "{generator:?}");
    }
}

#[test]
fn a_set_is_told_when_it_is_done_each_build_by_itself_or_all_as_one() {
    let set = BuildsetFacts {
        buildset: 5,
        results: Some(Failure),
        scheduler: "main".into(),
        stamps: vec![],
        builds: vec![1, 2],
    };
    let good = BuildFacts { build: 2, authors: vec!["bob".into()], ..build(Success, &[], Some(Success)) };
    let facts = Facts {
        builds: BTreeMap::from([(1, build(Failure, &[], Some(Success))), (2, good)]),
        buildsets: BTreeMap::from([(5, set)]),
        ..Facts::default()
    };
    let each = GeneratorDef { kind: GeneratorKind::Buildset, ..generator(&[Mode::Failing]) };
    let all = GeneratorDef::new(GeneratorKind::BuildsetCombined);
    let told = notices(&[mail(vec![each, all])], &facts, Subject::BuildsetEnded(5));
    assert_eq!(
        told.iter().map(|n| (n.generator, n.build, n.buildset)).collect::<Vec<_>>(),
        [(0, Some(1), Some(0)), (1, None, Some(5))]
    );
    assert_eq!(people(&told[1]), ["ann", "olga"], "bob's build was good");
}

#[test]
fn a_cancelled_request_is_told_and_one_that_was_built_is_not() {
    let request = RequestFacts {
        request: 7,
        buildset: 5,
        builder_id: 3,
        builder: "linux".into(),
        tags: vec![],
        scheduler: "main".into(),
        stamps: vec![],
        results: Some(Cancelled),
        unbuilt: true,
    };
    let told = |request: RequestFacts, subject| {
        let facts = Facts { requests: BTreeMap::from([(7, request)]), ..Facts::default() };
        notices(&[mail(vec![GeneratorDef::new(GeneratorKind::Request)])], &facts, subject).len()
    };
    assert_eq!(told(request.clone(), Subject::RequestMade(7)), 1);
    assert_eq!(told(request.clone(), Subject::RequestEnded(7)), 1);
    assert_eq!(told(RequestFacts { unbuilt: false, ..request.clone() }, Subject::RequestEnded(7)), 0);
    assert_eq!(told(RequestFacts { results: Some(Success), ..request }, Subject::RequestEnded(7)), 0);
}

#[test]
fn a_worker_that_stays_away_is_told_to_those_whom_it_names_and_to_those_who_hear_everything() {
    let facts = Facts {
        workers: BTreeMap::from([(7, "w1".to_owned()), (8, "w2".to_owned())]),
        notify_on_missing: BTreeMap::from([(7, vec!["ops@example.org".to_owned(), "team@example.org".to_owned()])]),
        ..Facts::default()
    };
    let told = |generator: GeneratorDef, id| {
        let said = notices(&[mail(vec![generator])], &facts, Subject::WorkerMissing(id));
        said.into_iter().flat_map(|n| n.to).collect::<Vec<_>>()
    };
    let to = |addresses: &[&str]| addresses.iter().map(|a| To::Fixed((*a).to_owned())).collect::<Vec<_>>();
    let any = GeneratorDef::new(GeneratorKind::WorkerMissing);
    assert_eq!(told(any.clone(), 7), to(&["ops@example.org", "team@example.org"]));
    assert_eq!(told(any.clone(), 8), to(&["team@example.org"]));
    assert_eq!(told(GeneratorDef { workers: Some(vec!["w2".into()]), ..any }, 7), to(&[]));
}
