//! Functions of latent workers: limits, failures, and what they may return.

mod support;

use serde_json::{Value as Json, json};
use support::project;
use tidemill_lang::policies::*;
use tidemill_lang::{BuildContext, Project};
use tidemill_model::{Change, ChangeId, NewChange, SourceStamp};

/// Every address and program answers with what it was asked.
struct Echo;

impl PolicyHost for Echo {
    fn query(&self, _query: &Query) -> Result<Vec<Json>, String> {
        Ok(vec![json!({"name": "w"})])
    }
}

impl PollHost for Echo {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        match request.url.as_str() {
            "https://down" => Err("no answer from https://down".into()),
            url => Ok(HttpReply { status: 200, body: url.into(), ..Default::default() }),
        }
    }

    fn command(&self, command: &PollCommand) -> Result<PollCommandEnd, String> {
        Ok(PollCommandEnd { rc: 0, stdout: command.argv.join(" "), stderr: String::new() })
    }
}

/// A project with the latent worker `w`, whose functions have these bodies.
fn with(start: &str, stop: &str, more: &str) -> Project {
    project(&format!(
        "def start(ctx):\n    {start}\n\ndef stop(ctx, fast):\n    {stop}\n\nc = {{}}\n\
         c['workers'] = [worker.CustomLatentWorker('w', start_instance = start, stop_instance = stop, {more})]\n\
         c['builders'] = [util.BuilderConfig(name = 'b', workernames = ['w'], factory = util.BuildFactory())]\n"
    ))
}

fn start(body: &str, state: Json) -> LatentOutput<Started> {
    let input = LatentInput { now_us: 2_500_000, state, build: None };
    with(body, "pass", "attrs = {'size': 3}").policies().start_instance("w", input, &Echo)
}

fn yes(texts: &[&str]) -> Started {
    Started::Yes(texts.iter().map(|t| (*t).to_owned()).collect())
}

#[test]
fn a_start_says_yes_or_no_or_names_what_it_started() {
    for (body, wanted) in [
        ("pass", yes(&[])),
        ("return True", yes(&[])),
        ("return False", Started::No),
        ("return 'i-1'", yes(&["i-1"])),
        ("return ['i-1', 'large']", yes(&["i-1", "large"])),
        ("return ('i-1',)", yes(&["i-1"])),
        ("return []", yes(&[])),
    ] {
        assert_eq!(start(body, Json::Null).result, Ok(wanted), "{body}");
    }
    for (body, got) in [("return 7", "int"), ("return ['a', 7]", "list"), ("return {'id': 'i-1'}", "dict")] {
        let error = start(body, Json::Null).result.unwrap_err().to_string();
        let expected = "`start_instance` must return True, False, None, a text or a list of texts, got ";
        assert!(error.contains(expected) && error.contains(got) && error.contains("master.star:"), "{body}: {error}");
    }
    let Started::Yes(notes) = start("return ['x' * 1000] * 1000", Json::Null).result.unwrap() else { panic!() };
    assert_eq!((notes.len(), notes[0].len()), (20, 200), "the machine runs: what is too long is cut off");
}

#[test]
fn a_start_sees_its_worker_and_the_build_that_it_is_for() {
    let project = with(
        "b = ctx.build; return [ctx.name, str(ctx.attrs.size), str(ctx.now), b.builder, b.getProperty('image'), b.branch, b.sourcestamps[0].repository, b.changes[0].author]",
        "ctx.state['seen'] = [ctx.build, fast, ctx.command(['stop', ctx.name]).stdout, ctx.http('https://x').body, ctx.master.workers(name = 'w')[0].name]",
        "attrs = {'size': 3}",
    );
    let stamp = SourceStamp {
        branch: Some("main".into()),
        repository: "https://example.org/r.git".into(),
        ..SourceStamp::default()
    };
    let mut build = BuildContext {
        builder: "b".into(),
        sourcestamps: vec![stamp],
        changes: vec![NewChange { author: "ada".into(), ..NewChange::default() }],
        ..BuildContext::default()
    };
    build.properties.set("image", "debian", "Builder");
    let input = LatentInput { now_us: 2_500_000, state: Json::Null, build: Some(build) };
    let wanted = ["w", "3", "2.5", "b", "debian", "main", "https://example.org/r.git", "ada"];
    assert_eq!(project.policies().start_instance("w", input, &Echo).result, Ok(yes(&wanted)));
    let stopped = project.policies().stop_instance("w", true, LatentInput::default(), &Echo);
    assert_eq!(stopped.state, json!({"seen": [null, true, "stop w", "https://x", "w"]}));
}

#[test]
fn what_a_function_kept_before_it_failed_is_not_lost() {
    for (body, word) in [
        ("ctx.state['id'] = 'i-1'; fail('out of money')", "out of money"),
        ("ctx.state['id'] = 'i-1'; ctx.http('https://down')", "no answer from https://down"),
        ("ctx.state['id'] = 'i-1'; return 7", "must return"),
        ("ctx.state['id'] = 'i-1'; [x for x in range(50000000)]", "too much memory"),
        ("ctx.state['id'] = 'i-1'\n    for x in range(50000000): pass", "too many steps"),
        ("ctx.state['id'] = 'i-1'; 'x' * 2000000000", "would be too large"),
    ] {
        let out = start(body, json!({"before": 1}));
        let error = out.result.unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("master.star:"), "{body}: {error}");
        assert_eq!(out.state, json!({"before": 1, "id": "i-1"}), "{body}");
    }
}

#[test]
fn a_state_that_cannot_be_stored_is_an_error_and_the_old_one_stays() {
    for (body, word) in [
        ("ctx.state['f'] = lambda: 1", "`ctx.state` must hold texts"),
        ("ctx.state['x'] = 'x' * 2000000", "`ctx.state` is larger than 1024 KiB"),
        ("ctx.state['f'] = lambda: 1; fail('the reason')", "the reason"),
    ] {
        let out = start(body, json!({"before": 1}));
        let error = out.result.unwrap_err().to_string();
        assert!(error.contains(word), "{body}: {error}");
        assert_eq!(out.state, json!({"before": 1}), "{body}");
    }
}

#[test]
fn a_latent_worker_announces_no_changes_and_makes_no_buildsets() {
    for (body, told) in [
        ("ctx.addChange(author = 'a')", "`addChange` is for pollers"),
        ("ctx.addBuildset()", "`addBuildset` is for schedulers"),
        ("ctx.wakeAt(1)", "`wakeAt` is for schedulers"),
    ] {
        let error = start(body, Json::Null).result.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let project = project(
        "c = {}\nc['builders'] = [util.BuilderConfig(name = 'b', workernames = ['*'], factory = util.BuildFactory())]\n\
         c['schedulers'] = [schedulers.Custom(name = 's', builderNames = ['b'], rule = lambda ctx: ctx.http('https://x'))]\n",
    );
    let change = Change { id: ChangeId(1), received_at: time::OffsetDateTime::UNIX_EPOCH, new: NewChange::default() };
    let input = RuleInput { changes: vec![(change, true)], ..RuleInput::default() };
    let error = project.policies().schedule("s", input, &Echo).unwrap_err().to_string();
    assert!(error.contains("`http` is for pollers and latent workers"), "{error}");
}

#[test]
fn a_check_says_whether_the_machine_lives() {
    let check = |function: &str| {
        let project = with("pass", "pass", function);
        project.policies().check_instance("w", LatentInput::default(), &Echo).result
    };
    let checked = |good, message: &str| Ok(Checked { good, message: message.into() });
    assert_eq!(check(""), checked(true, ""), "without a function it is good");
    assert_eq!(check("check_instance = lambda ctx: True"), checked(true, ""));
    assert_eq!(check("check_instance = lambda ctx: (False, 'it is gone')"), checked(false, "it is gone"));
    let error = check("check_instance = lambda ctx: None").unwrap_err().to_string();
    assert!(error.contains("`check_instance` must return True, False, or a pair"), "{error}");
}

#[test]
fn a_stop_that_fails_is_told_and_what_it_returns_is_ignored() {
    let stop = |body: &str| {
        let project = with("pass", body, "");
        project.policies().stop_instance(
            "w",
            false,
            LatentInput { state: json!({"id": 1}), ..Default::default() },
            &Echo,
        )
    };
    let ended = stop("return 'anything'");
    assert_eq!((ended.result, ended.state), (Ok(()), json!({"id": 1})));
    let failed = stop("ctx.state['tries'] = 1; fail('it does not answer')");
    assert!(failed.result.unwrap_err().to_string().contains("it does not answer"));
    assert_eq!(failed.state, json!({"id": 1, "tries": 1}));
}

#[test]
fn a_worker_without_functions_is_no_latent_worker_of_its_own() {
    let project = project(
        "c = {}\nc['workers'] = [worker.EC2LatentWorker('w')]\n\
         c['builders'] = [util.BuilderConfig(name = 'b', workernames = ['w'], factory = util.BuildFactory())]\n",
    );
    let input = || LatentInput { state: json!({"id": 1}), ..LatentInput::default() };
    let started = project.policies().start_instance("w", input(), &Echo);
    let error = started.result.unwrap_err().to_string();
    assert!(error.contains("no latent worker of its own named `w`"), "{error}");
    assert_eq!(started.state, json!({"id": 1}));
    assert!(project.policies().stop_instance("w", false, input(), &Echo).result.is_err());
    assert!(project.policies().check_instance("w", input(), &Echo).result.is_err());
}
