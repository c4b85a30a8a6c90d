//! Policies: what the master asks the project's functions.

mod support;

use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::sync::Arc;
use support::{change, evaluate, project, with_step};
use tidemill_lang::definition::{AccessMode, Collapse};
use tidemill_lang::policies::*;
use tidemill_lang::{Project, Severity};
use tidemill_model::{ChangeId, NewChange, Properties, SourceStamp};

/// A project with the builder `b`, whose configuration gets more arguments.
fn with(functions: &str, arguments: &str, rest: &str) -> Project {
    let text = format!(
        "{functions}\nc = {{}}\nf = util.BuildFactory([steps.ShellCommand(command = \"x\")])\n\
         c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f, {arguments})]\n{rest}\n"
    );
    project(&text)
}

fn request(id: i64, branch: &str, reason: &str) -> RequestView {
    let stamp = SourceStamp { branch: Some(branch.into()), revision: Some(format!("r{id}")), ..Default::default() };
    RequestView {
        id,
        buildset: id,
        builder: "b".into(),
        reason: reason.into(),
        submitted_at_us: id * 1_000_000,
        sources: vec![SourceView { stamp, patch: false, changes: vec![id] }],
        ..Default::default()
    }
}

fn builder(name: &str) -> BuilderView {
    BuilderView { name: name.into(), ..Default::default() }
}

fn worker(name: &str) -> WorkerView {
    WorkerView { name: name.into(), free: 1, ..Default::default() }
}

#[derive(Default)]
struct Host(RefCell<Vec<Query>>);

impl PolicyHost for Host {
    fn query(&self, query: &Query) -> Result<Vec<Json>, String> {
        self.0.borrow_mut().push(query.clone());
        Ok((0..500).map(|i| json!({"number": i, "results": 0})).collect())
    }
}

impl PollHost for Host {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        match request.url.as_str() {
            "https://example.org/tags" => {
                Ok(HttpReply { status: 200, body: "[{\"name\": \"v2\", \"rev\": 7}]".into(), ..Default::default() })
            }
            other => Err(format!("no answer from {other}")),
        }
    }

    fn command(&self, command: &PollCommand) -> Result<PollCommandEnd, String> {
        Ok(PollCommandEnd { rc: 0, stdout: command.argv.join(" "), stderr: String::new() })
    }
}

#[test]
fn requests_of_one_branch_merge_by_a_predicate() {
    let text = "def mergeRequests(builder, req1, req2):\n    return req1.source.branch == req2.source.branch\n";
    let p = with(text, "", "c['mergeRequests'] = mergeRequests");
    assert_eq!(p.definition().collapse, Some(Collapse::Predicate));
    let policies = p.policies();
    assert_eq!(policies.collapse_kind("b"), Collapse::Predicate);
    let older = [request(1, "x", ""), request(2, "y", ""), request(3, "x", "")];
    assert_eq!(policies.collapsible(&builder("b"), &request(9, "x", ""), &older, &NoHost).unwrap(), [1, 3]);
}

#[test]
fn forced_builds_with_different_reasons_stay_apart() {
    let text = "def merge(builder, req1, req2):\n    return req1.source.canBeMergedWith(req2.source) and req1.reason == req2.reason\n";
    let p = with(text, "mergeRequests = merge", "");
    let policies = p.policies();
    let may = |a: &RequestView, b: &RequestView| policies.may_collapse(&builder("b"), a, b, &NoHost).unwrap();
    assert!(may(&request(1, "x", "r"), &request(2, "x", "r")));
    assert!(!may(&request(1, "x", "r"), &request(2, "x", "s")));
    assert!(!may(&request(1, "x", "r"), &request(2, "y", "r")));
}

#[test]
fn a_key_is_asked_once_for_each_request() {
    let p = with(
        "",
        "collapseRequests = util.CollapseKey(lambda builder, r: [r.source.branch, r.reason] if r.reason else None)",
        "",
    );
    let policies = p.policies();
    assert_eq!(policies.collapse_kind("b"), Collapse::Key);
    let key = |r: &RequestView| policies.collapse_key(&builder("b"), r, &NoHost).unwrap();
    assert_eq!(key(&request(1, "x", "why")).as_deref(), Some("[\"x\",\"why\"]"));
    assert_eq!(key(&request(1, "x", "")), None);
    let older = [request(1, "x", "why"), request(2, "x", "not")];
    assert_eq!(policies.collapsible(&builder("b"), &request(9, "x", "why"), &older, &NoHost).unwrap(), [1]);
}

#[test]
fn without_a_word_compatible_requests_merge_and_false_merges_none() {
    let p = with("", "", "");
    assert_eq!(p.policies().collapse_kind("b"), Collapse::Compatible);
    let p = with("", "", "c['collapseRequests'] = False");
    assert_eq!(p.policies().collapse_kind("b"), Collapse::Never);
    let p = with("", "collapseRequests = True", "c['collapseRequests'] = False");
    assert_eq!(p.policies().collapse_kind("b"), Collapse::Compatible);
}

#[test]
fn builders_are_put_in_order_and_left_out() {
    let text = r#"
def prioritizeBuilders(master, builders):
    ranks = {"finalRelease": 0, "test": 1, "build": 2}
    return sorted([b for b in builders if b.name != "off"], key = lambda b: ranks.get(b.name, 0))
"#;
    let p = with(text, "", "c['prioritizeBuilders'] = prioritizeBuilders");
    assert!(p.definition().prioritize_builders);
    let all = ["build", "test", "off", "other", "finalRelease"].map(builder);
    let order = p.policies().prioritize_builders(&all, &NoHost).unwrap().unwrap();
    assert_eq!(order, ["other", "finalRelease", "test", "build"]);
    assert_eq!(with("", "", "").policies().prioritize_builders(&all, &NoHost).unwrap(), None);
    let p = with("", "", "c['prioritizeBuilders'] = lambda m, bs: ['nope']");
    let error = p.policies().prioritize_builders(&all, &NoHost).unwrap_err();
    assert!(error.to_string().contains("`nope`, which it was not given"), "{error}");
}

#[test]
fn the_release_branch_goes_first() {
    let text = "def nextBuild(bldr, requests):\n    for r in requests:\n        if r.source.branch == 'release':\n            return r\n    return requests[0]\n";
    let p = with(text, "nextBuild = nextBuild", "");
    let policies = p.policies();
    let pick = |all: &[RequestView]| {
        let all: Vec<Arc<RequestView>> = all.iter().cloned().map(Arc::new).collect();
        policies.next_build(&builder("b"), &all, &NoHost).unwrap()
    };
    assert_eq!(pick(&[request(1, "x", ""), request(2, "release", "")]), Pick::One(2));
    assert_eq!(pick(&[request(1, "x", ""), request(2, "y", "")]), Pick::One(1));
    assert_eq!(with("", "", "").policies().next_build(&builder("b"), &[], &NoHost).unwrap(), Pick::NoPolicy);
    let p = with("", "nextBuild = lambda b, rs: None", "");
    assert_eq!(p.policies().next_build(&builder("b"), &[], &NoHost).unwrap(), Pick::Nothing);
    let p = with("", "nextBuild = lambda b, rs: 'x'", "");
    let error = p.policies().next_build(&builder("b"), &[], &NoHost).unwrap_err();
    assert!(
        error.to_string().contains("`nextBuild` must return one of the requests it was given, or None, got string 'x'"),
        "{error}"
    );
    assert_eq!(error.diagnostic().line, 4);
}

#[test]
fn a_policy_asks_the_master_bounded_questions() {
    let text = "def nextBuild(builder, requests):\n    good = [b for b in master_builds(builder)]\n    return requests[len(good) % 2]\ndef master_builds(builder):\n    return []\ndef order(master, builders):\n    rows = master.builds(builder = 'b', limit = 7)\n    return builders if len(rows) == 7 and rows[1].number == 1 else []\n";
    let p = with(text, "", "c['prioritizeBuilders'] = order");
    let host = Host::default();
    assert_eq!(p.policies().prioritize_builders(&[builder("b")], &host).unwrap().unwrap(), ["b"]);
    assert_eq!(host.0.borrow()[0].filters, [("builder".to_owned(), json!("b"))]);
    for (call, word) in [
        ("master.builds(bulder = 'b')", "did you mean `builder`?"),
        ("master.builds(limit = 100000)", "between 1 and 200"),
        ("[master.builds() for i in range(100)]", "20 questions at most"),
    ] {
        let p = with("", "", &format!("c['prioritizeBuilders'] = lambda master, bs: {call}"));
        let error = p.policies().prioritize_builders(&[builder("b")], &host).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_worker_is_chosen_or_refused() {
    let p = with(
        "",
        "nextWorker = lambda b, workers, request: [w for w in workers if w.name.startswith(request.reason)][0], \
         canStartBuild = lambda b, w, r: w.name != 'w2'",
        "",
    );
    let policies = p.policies();
    let all = [worker("w1"), worker("w2")];
    let picked = policies.next_worker(&builder("b"), &all, Some(&Arc::new(request(1, "x", "w2"))), &NoHost).unwrap();
    assert_eq!(picked, Pick::One("w2".into()));
    let can =
        |w: &str| policies.can_start_build(&builder("b"), &worker(w), &Arc::new(request(1, "x", "")), &NoHost).unwrap();
    assert_eq!((can("w1"), can("w2")), (Verdict::Yes, no("", None)));
    let error = policies.next_worker(&builder("b"), &all, Some(&Arc::new(request(1, "x", "zz"))), &NoHost).unwrap_err();
    assert!(error.to_string().contains("master.star:4"), "{error}");
}

fn no(said: &str, wait_seconds: Option<u32>) -> Verdict {
    Verdict::No { said: said.into(), wait_seconds }
}

#[test]
fn a_refusal_may_say_why_and_for_how_long() {
    let p = with(
        "",
        "canStartBuild = lambda b, w, r: {'why': (False, 'the board is\\nout'), 'rest': (False, 'full', 90.5), \
         'yes': (True, 'fine'), 'now': (False, '', 0), 'long': (False, 'never', 1e9), 'none': None, 'list': [], \
         'bad': (False, 7), 'odd': (False, 'x', -1)}[r.reason]",
        "",
    );
    let policies = p.policies();
    let can = |reason: &str| {
        policies.can_start_build(&builder("b"), &worker("w"), &Arc::new(request(1, "x", reason)), &NoHost)
    };
    assert_eq!(can("why").unwrap(), no("the board isout", None));
    assert_eq!(can("rest").unwrap(), no("full", Some(91)));
    assert_eq!(can("yes").unwrap(), Verdict::Yes);
    assert_eq!(can("now").unwrap(), no("", None));
    assert_eq!(can("long").unwrap(), no("never", Some(86_400)));
    assert_eq!((can("none").unwrap(), can("list").unwrap()), (no("", None), no("", None)));
    for wrong in ["bad", "odd"] {
        assert!(can(wrong).unwrap_err().to_string().contains("(False, \"why\", seconds)"));
    }
}

#[test]
fn locks_are_data_or_a_function() {
    let p = with(
        "db = util.MasterLock('db', maxCount = 2)\ncpu = util.WorkerLock('cpu', maxCountForWorker = {'big': 4})",
        "locks = [db.access('counting'), cpu.access('exclusive')]",
        "c['workers'] = [worker.Worker('big', locks = [db.access('counting', count = 2)])]",
    );
    let d = p.definition();
    assert_eq!(d.locks.iter().map(|l| (l.name.as_str(), l.max_count)).collect::<Vec<_>>(), [("db", 2), ("cpu", 1)]);
    assert_eq!(d.locks[1].max_count_for_worker["big"], 4);
    let locks = p.policies().builder_locks(&builder("b"), &worker("big"), &request(1, "x", "")).unwrap();
    let shown: Vec<_> = locks.iter().map(|l| (l.lock.as_str(), l.mode, l.count)).collect();
    assert_eq!(
        shown,
        [("db", AccessMode::Counting, 1), ("cpu", AccessMode::Exclusive, 1), ("db", AccessMode::Counting, 2)]
    );
    let p = with(
        "db = util.MasterLock('db')",
        "locks = lambda b, w, r: [db.access('exclusive')] if r.reason == 'x' else None",
        "c['locks'] = [db]",
    );
    assert!(p.definition().builders[0].policies.locks);
    let locks =
        |reason: &str| p.policies().builder_locks(&builder("b"), &worker("w"), &request(1, "x", reason)).unwrap();
    assert_eq!((locks("x").len(), locks("y").len()), (1, 0));
}

#[test]
fn splitters_tell_branches_and_projects_apart() {
    let split = |function: &str, path: &str| {
        let p = with(
            "",
            "",
            &format!("c['change_source'] = changes.SVNPoller('svn://x', name = 's', split_file = {function})"),
        );
        p.policies().split_file("s", path).unwrap().map(|s| (s.project, s.branch, s.path))
    };
    let some = |project: Option<&str>, branch: Option<&str>, path: &str| {
        Some((project.map(str::to_owned), branch.map(str::to_owned), path.to_owned()))
    };
    let branches = "util.svn.split_file_branches";
    assert_eq!(split(branches, "trunk/a/b"), some(None, None, "a/b"));
    assert_eq!(
        split(branches, "branches/3_3/common-src/amanda.h"),
        some(None, Some("branches/3_3"), "common-src/amanda.h")
    );
    assert_eq!(split(branches, "branches/x"), None);
    assert_eq!(split(branches, "tags/x/y/z"), None);
    let projects = "util.svn.split_file_projects_branches";
    assert_eq!(split(projects, "amanda/trunk/a"), some(Some("amanda"), None, "a"));
    assert_eq!(split(projects, "amanda/branches/x/a"), some(Some("amanda"), Some("branches/x"), "a"));
    assert_eq!(split(projects, "amanda"), None);
    assert_eq!(split("util.svn.split_file_alwaystrunk", "a/b"), some(None, None, "a/b"));
    let own = "lambda path: {'branch': None, 'path': path[6:]} if path.startswith('trunk/') else None";
    assert_eq!(split(own, "trunk/x"), some(None, None, "x"));
    let p = with("", "", "c['change_source'] = changes.SVNPoller('svn://x', name = 's', split_file = lambda p: 5)");
    let error = p.policies().split_file("s", "x").unwrap_err();
    assert!(error.to_string().contains("a dict with `path`, a pair (branch, path), or None, got int 5"), "{error}");
}

#[test]
fn codebases_and_links_come_from_functions_and_templates() {
    let p = with(
        "",
        "",
        "c['codebaseGenerator'] = lambda chdict: {'/r/lib': 'lib'}.get(chdict['repository'], '')\n\
         c['revlink'] = util.RevlinkMatch(['https://example.org/(.*)\\\\.git'], 'https://example.org/\\\\1/commit/%s')",
    );
    let of = |repository: &str| {
        let new = NewChange { repository: repository.into(), ..NewChange::default() };
        p.policies().codebase_of(&new).unwrap()
    };
    assert_eq!((of("/r/lib").as_deref(), of("/r/x").as_deref()), (Some("lib"), Some("")));
    let link = |r: &str| p.policies().revlink("abc", r).unwrap();
    assert_eq!(link("https://example.org/a/b.git").as_deref(), Some("https://example.org/a/b/commit/abc"));
    assert_eq!(link("https://other.org/a.git"), None);
    let p = with("", "", "c['revlink'] = lambda revision, repository: repository + '#' + revision");
    assert_eq!(p.policies().revlink("1", "r").unwrap().as_deref(), Some("r#1"));
}

#[test]
fn a_custom_scheduler_keeps_state_and_makes_buildsets() {
    let text = r#"
def rule(ctx):
    seen = ctx.state.setdefault("seen", 0)
    for c in ctx.changes:
        if c.important:
            seen += 1
            if seen % ctx.attrs.every == 0:
                ctx.addBuildset(changes = [c], reason = "number %d" % seen, properties = {"n": seen}, priority = 3)
    ctx.state["seen"] = seen
    ctx.wakeAt(ctx.now + 60)
"#;
    let p = with(
        text,
        "",
        "c['schedulers'] = [schedulers.Custom(name = 's', builderNames = ['b'], rule = rule, attrs = {'every': 2})]",
    );
    let numbered = |id: i64| {
        let mut c = change(NewChange::default());
        c.id = ChangeId(id);
        c
    };
    let input = RuleInput {
        now_us: 5_000_000,
        state: json!({"seen": 1}),
        changes: vec![(numbered(11), true), (numbered(12), false), (numbered(13), true)],
        ..Default::default()
    };
    let out = p.policies().schedule("s", input, &NoHost).unwrap();
    assert_eq!(out.state, json!({"seen": 3}));
    assert_eq!(out.wake_at_us, Some(65_000_000));
    assert_eq!(out.buildsets.len(), 1);
    assert_eq!((out.buildsets[0].changes.as_slice(), out.buildsets[0].priority), ([11].as_slice(), Some(3)));
    let p = with(
        "",
        "",
        "c['schedulers'] = [schedulers.Custom(name = 's', builderNames = ['b'], rule = lambda ctx: ctx.addBuildset(builderNames = ['x']))]",
    );
    let error = p.policies().schedule("s", RuleInput::default(), &NoHost).unwrap_err();
    assert!(error.to_string().contains("`x`, which does not exist"), "{error}");
}

#[test]
fn a_custom_scheduler_goes_on_with_the_sources_and_properties_of_what_finished() {
    let text = r#"
def rule(ctx):
    for f in ctx.finished:
        ctx.addBuildset(sourcestamps = f.sourcestamps, properties = {"of": f.buildset, "p": f.properties["p"]})
"#;
    let p = with(
        text,
        "",
        "c['schedulers'] = [schedulers.Triggerable(name = 'up', builderNames = ['b']), schedulers.Custom(name = 's', builderNames = ['b'], rule = rule, upstream = ['up'])]",
    );
    let stamp = SourceStamp { codebase: "lib".into(), revision: Some("r".into()), ..Default::default() };
    let mut properties = Properties::new();
    properties.set("p", "v", "test");
    let finished = FinishedView {
        buildset: 7,
        scheduler: "up".into(),
        sourcestamps: vec![stamp.clone()],
        properties,
        ..Default::default()
    };
    let out =
        p.policies().schedule("s", RuleInput { finished: vec![finished], ..Default::default() }, &NoHost).unwrap();
    assert_eq!(out.buildsets[0].sourcestamps, [stamp]);
    assert_eq!(json!(out.buildsets[0].properties), json!({"of": 7, "p": "v"}));
}

#[test]
fn a_custom_poller_reaches_outside_and_keeps_state() {
    let text = r#"
def poll(ctx):
    for tag in ctx.http("https://example.org/tags").data:
        if tag["name"] not in ctx.state.get("known", []):
            who = ctx.command(["git", "who"]).stdout
            ctx.addChange(author = who, revision = tag["rev"], branch = tag["name"], files = ["a"], properties = {"p": ctx.attrs.p})
            ctx.state["known"] = ctx.state.get("known", []) + [tag["name"]]
"#;
    let p = with(
        text,
        "",
        "c['change_source'] = changes.PollingChangeSource(name = 's', poll = poll, attrs = {'p': 1}, project = 'x')",
    );
    let host = Host::default();
    let out = p.policies().poll("s", PollInput { now_us: 0, state: Json::Null }, &host).unwrap();
    assert_eq!(out.state, json!({"known": ["v2"]}));
    let c = &out.changes[0];
    assert_eq!(
        (c.author.as_str(), c.revision.as_deref(), c.branch.as_deref(), c.project.as_str()),
        ("git who", Some("7"), Some("v2"), "x")
    );
    assert_eq!(c.properties.get("p"), Some(&json!(1)));
    let again = p.policies().poll("s", PollInput { now_us: 0, state: out.state }, &host).unwrap();
    assert!(again.changes.is_empty());
    let p = with(
        "",
        "",
        "c['change_source'] = changes.PollingChangeSource(name = 's', poll = lambda ctx: ctx.http('https://down'))",
    );
    let error = p.policies().poll("s", PollInput::default(), &host).unwrap_err();
    assert!(error.to_string().contains("no answer from https://down"), "{error}");
}

#[test]
fn builders_and_priorities_of_a_scheduler_may_be_functions() {
    let p = with(
        "",
        "",
        "c['schedulers'] = [schedulers.SingleBranchScheduler(name = 's', builderNames = lambda changes: ['b'] if changes else [], \
         priority = lambda builders, changes: len(changes) * 10)]",
    );
    assert!(p.definition().schedulers[0].builders_function);
    let one = [change(NewChange::default())];
    assert_eq!(p.policies().scheduler_builders("s", &one).unwrap(), ["b"]);
    assert!(p.policies().scheduler_builders("s", &[]).unwrap().is_empty());
    assert_eq!(p.policies().scheduler_priority("s", &["b".into()], &one).unwrap(), 10);
}

#[test]
fn a_policy_that_does_not_end_or_grows_is_stopped() {
    for (body, word) in [
        ("[x for x in range(50000000)]", "too many steps"),
        ("'x' * 2000000000", "would be too large"),
        ("[0] * 2000000000", "would be too large"),
        ("1 << 2000000000", "would be too large"),
    ] {
        let p = with("", &format!("nextBuild = lambda b, rs: {body}"), "");
        let begin = std::time::Instant::now();
        let error = p.policies().next_build(&builder("b"), &[], &NoHost).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(begin.elapsed().as_secs() < 30);
    }
}

#[test]
fn what_no_part_runs_yet_is_taken_with_a_warning() {
    let p = with("", "", "c['services'] = [reporters.PushoverNotifier(userKey = 'a', apiToken = util.Secret('mail'))]");
    let warnings: Vec<_> =
        p.warnings().iter().filter(|w| w.severity == Severity::Warning).map(|w| w.message.as_str()).collect();
    assert_eq!(warnings, ["reporters.PushoverNotifier is accepted but not run by this release"]);
    assert_eq!(p.definition().services[0].args["apiToken"], json!({"$secret": "mail"}));
    assert_eq!(p.definition().secrets, ["mail"]);
}

#[test]
fn a_builder_may_be_a_dict_with_the_old_names() {
    let text = "f = util.BuildFactory([steps.ShellCommand(command = 'x')])\nc = {}\nc['builders'] = [{'name': 'old', 'slavename': 'bot1', 'builddir': 'old-dir', 'factory': f}]\n";
    let p = project(text);
    let b = &p.definition().builders[0];
    assert_eq!((b.name.as_str(), b.workernames.as_slice()), ("old", ["bot1".to_owned()].as_slice()));
    assert_eq!(b.folders.builddir.as_deref(), Some("old-dir"));
    assert!(p.warnings()[0].message.contains("`slavename` of c[\"builders\"][0] is an old name of `workernames`"));
    let wrong = evaluate("f = util.BuildFactory([])\nc = {'builders': [{'name': 'x', 'fctory': f}]}\n").unwrap_err();
    assert!(wrong.to_string().contains("unknown key `fctory`"), "{wrong}");
}

#[test]
fn a_workdir_may_depend_on_the_repository() {
    let text = format!(
        "def workdir(stamps):\n    return util.hash.sha1(stamps[0].repository)[:8]\n{}",
        with_step("").replace("util.BuildFactory([])", "util.BuildFactory([steps.ShellCommand(command = 'x'), steps.ShellCommand(command = 'x', workdir = 'own')], workdir = workdir)")
    );
    let p = project(&text);
    let folder = |i: usize| match p.steps("b").unwrap()[i].render(&support::context()).unwrap().action {
        tidemill_lang::plan::Action::Shell(shell) => shell.workdir,
        other => panic!("{other:?}"),
    };
    assert_eq!((folder(0).len(), folder(1).as_str()), (8, "own"));
}

#[test]
fn a_revision_that_changes_nothing_shows_no_change_and_another_shows_its_fields() {
    let text = |n: i32, other: &str| {
        format!(
            "def decide(step):\n    return {other}\nc = {{}}\nf = util.BuildFactory([steps.ShellCommand(command = 'x', doStepIf = decide, timeout = {n})])\nc['builders'] = [util.BuilderConfig(name = n, workernames = ['*'], factory = f) for n in ['a', 'b']]\n"
        )
    };
    let old = project(&text(5, "True"));
    let moved = project(&format!("# a comment\n\n{}", text(5, "True")));
    assert!(moved.definition().diff(old.definition()).is_empty());
    let changed = project(&text(6, "True")).definition().diff(old.definition());
    assert_eq!(changed.changed.len(), 2);
    assert_eq!(changed.changed[0].fields[0].field, "step_defs.shell.args.timeout");
    let function = project(&text(5, "False")).definition().diff(old.definition());
    assert_eq!(function.changed[0].fields[0].field, "digest");
    let more = text(5, "True")
        .replace("[steps.ShellCommand(", "[steps.ShellCommand(name = 'first', command = 'y'), steps.ShellCommand(");
    let added = project(&more).definition().diff(old.definition());
    let fields: Vec<_> = added.changed[0].fields.iter().map(|f| (f.field.as_str(), f.old.is_some())).collect();
    assert_eq!(fields, [("step_defs.first", false), ("steps", true)]);
    let fewer = project(&text(5, "True").replace("['a', 'b']", "['a', 'c']")).definition().diff(old.definition());
    assert_eq!((fewer.added.len(), fewer.removed.len()), (1, 1));
}
