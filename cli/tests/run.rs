//! `tidemill run`: real repositories, real commands, no server and no database.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEMILL_") {
            command.env_remove(name);
        }
    }
    let home = dir.join(".git/home");
    std::fs::create_dir_all(home.join("tmp")).unwrap();
    command.env("HOME", &home).env("XDG_CONFIG_HOME", home.join("config")).env("TMPDIR", home.join("tmp"));
    command.args(["run"]).args(arguments).current_dir(dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(dir, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let left = std::fs::read_dir(dir.join(".git/home/tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing of the worker is left");
    (status.code(), text(stdout), text(stderr))
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=trunk"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit: a file `kept`, an ignored one, and a project whose builders have these steps.
fn repository(builders: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q"]);
    let builders: String = builders
        .iter()
        .map(|(name, steps)| {
            format!(
                "util.BuilderConfig(name = {name:?}, workernames = [\"*\"], factory = util.BuildFactory([{steps}])),\n"
            )
        })
        .collect();
    let text = format!("c = {{}}\n{HELPERS}\nc[\"builders\"] = [{builders}]\n");
    std::fs::write(dir.path().join("master.star"), text).unwrap();
    std::fs::write(dir.path().join("kept"), "committed\n").unwrap();
    std::fs::write(dir.path().join(".gitignore"), "ignored\n").unwrap();
    std::fs::write(dir.path().join("ignored"), "precious\n").unwrap();
    git(dir.path(), &["add", "-A"]);
    git(dir.path(), &["commit", "-q", "-m", "first"]);
    dir
}

const HELPERS: &str = r#"
def sh(name, line, **options):
    return steps.ShellCommand(name = name, command = line, **options)

def see(self, line):
    if line.startswith("found "):
        self.found += 1

def count(self):
    seen = self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = see, found = 0))
    cmd = self.makeRemoteShellCommand()
    self.runCommand(cmd)
    self.getLog("stdio").finish()
    self.setProperty("count", seen.found, "count")
    self.addStepsAfterCurrentStep([sh("told", util.Interpolate("echo there are %(prop:count)s"))])
    return cmd.results()

Count = util.BuildStep(implementation = count, base = steps.ShellCommand)
count_step = Count(name = "count", command = "echo found a; echo noise; echo found b")

def sneaky(self):
    self.addStepsAfterCurrentStep([steps.RemoveDirectory(name = "late", dir = "build/.")])
    return SUCCESS

Sneaky = util.BuildStep(implementation = sneaky)
sneaky_step = Sneaky(name = "sneaky")

checkout = steps.Git(repourl = util.Interpolate("%(src::repository)s"), mode = "full", method = "clobber")
"#;

/// Whether a process lives. One that is dead and that nobody has asked about yet, as the first process
/// of a container may never do, does not.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|s| !s.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
}

/// Every file below the repository with its bytes, the index too.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![];
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if path.ends_with(".git/home") => {}
                true => folders.push(path),
                false => all.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_build_sees_what_is_not_committed_and_git_leaves_the_tree_as_it_is() {
    let steps = r#"checkout, sh("see", util.Interpolate("cat kept new ignored; echo at %(prop:got_revision)s %(prop:branch)s as %(prop:workername)s %(prop:flag)s"))"#;
    let dir = repository(&[("test", steps)]);
    let head = git(dir.path(), &["rev-parse", "HEAD"]);
    std::fs::write(dir.path().join("kept"), "changed\n").unwrap();
    std::fs::write(dir.path().join("new"), "new\n").unwrap();
    let before = snapshot(dir.path());
    let (code, out, err) = run(dir.path(), &["--property", "flag=on"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("changed\nnew\nprecious\n"), "{out}");
    assert!(out.contains(&format!("at {head} trunk as local on\n")), "{out}");
    assert!(out.starts_with("test  ") && out.contains("dirty: 2 files not committed"), "{out}");
    assert!(out.contains("the working tree as it is") && out.contains("changes that are not committed"), "{out}");
    assert!(out.lines().last().unwrap().starts_with("success"), "{out}");
    assert!(!out.contains("environment:"), "short by default: {out}");
    assert!(before == snapshot(dir.path()), "nothing in the tree has changed, the index neither");
    git(dir.path(), &["checkout", "-q", "--", "kept"]);
    std::fs::remove_file(dir.path().join("new")).unwrap();
    let (_, out, _) = run(dir.path(), &["test", "--branch", "other", "--headers", "-p", "flag=x"]);
    assert!(out.contains("  clean\n") && out.contains(" other as local x") && out.contains("environment:"), "{out}");
}

#[test]
fn a_failing_step_shows_its_output_gives_the_exit_code_and_what_always_runs_runs() {
    let steps = r#"sh("bad", "echo out; echo err >&2; exit 3", haltOnFailure = True), sh("never", "echo n-ever"),
        sh("left out", "true", doStepIf = False), sh("always", "echo al-ways", alwaysRun = True)"#;
    let dir = repository(&[("test", steps)]);
    let (code, out, err) = run(dir.path(), &["test"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("out\n") && out.contains("err\n") && out.contains("exit code 3"), "{out}");
    assert!(out.contains("── bad: failure") && out.contains("\nal-ways\n") && !out.contains("\nn-ever"), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("failure") && last.contains("bad"), "{last}");
}

#[test]
fn a_step_with_locks_runs_without_them_and_says_so() {
    let steps = r#"sh("deploy", "echo de-ployed", locks = [util.MasterLock("production").access("exclusive")])"#;
    let dir = repository(&[("test", steps)]);
    let (code, out, err) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("de-ployed\n"), "{out}");
    assert!(err.contains("(production): `tidemill run` takes none"), "{err}");
}

#[test]
fn a_custom_step_runs_with_its_observer_and_adds_steps() {
    let dir = repository(&[("test", r#"count_step, sh("skipped", "true", doStepIf = False)"#)]);
    let (code, out, err) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("there are 2\n"), "{out}");
    assert!(out.contains("── skipped: skipped") && out.contains("doStepIf"), "{out}");
}

#[test]
fn a_trigger_starts_nothing_says_so_and_the_build_goes_on() {
    let steps = r#"steps.Trigger(schedulerNames = ["package"], waitForFinish = True), sh("after", "echo after")"#;
    let dir = repository(&[("b", steps)]);
    let mut text = std::fs::read_to_string(dir.path().join("master.star")).unwrap();
    text.push_str("c[\"schedulers\"] = [schedulers.Triggerable(name = \"package\", builderNames = [\"b\"])]\n");
    std::fs::write(dir.path().join("master.star"), text).unwrap();
    let (code, out, err) = run(dir.path(), &["b"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let all = out + &err;
    assert!(all.contains("`tidemill run` starts no other builds: package would be triggered"), "{all}");
    assert!(all.contains("skipped") && all.contains("after"), "{all}");
}

#[test]
fn nothing_removes_or_replaces_the_tree_not_even_a_step_that_comes_later() {
    let (tree, repository_) =
        (r#"steps.RemoveDirectory(dir = "build")"#, r#"steps.RemoveDirectory(dir = "build/.git")"#);
    let over = r#"steps.MakeDirectory(dir = "x"), steps.CopyDirectory(src = "x", dest = "build")"#;
    let svn = r#"steps.SVN(repourl = "svn://example.org/x")"#;
    for steps in [tree, repository_, over, svn, "sneaky_step"] {
        let dir = repository(&[("test", steps)]);
        let before = snapshot(dir.path());
        let (code, out, err) = run(dir.path(), &["test"]);
        assert_eq!(code, Some(4), "{steps}: {out}{err}");
        assert!(
            out.contains("working tree") && out.contains("leave the step out here") | out.contains("Leave"),
            "{out}"
        );
        assert!(before == snapshot(dir.path()), "{steps}");
    }
    let inside = r#"steps.RemoveDirectory(dir = "build/out"), steps.MakeDirectory(dir = "build/out")"#;
    let dir = repository(&[("test", inside)]);
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("out/old"), "").unwrap();
    let (code, out, _) = run(dir.path(), &["test"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(dir.path().join("out").is_dir() && !dir.path().join("out/old").exists(), "what is built in it is not kept");
}

#[test]
fn the_tree_stands_where_the_git_step_would_check_out() {
    let steps = r#"steps.Git(repourl = "https://example.org/x.git", workdir = "src"), sh("see", "pwd; cat kept", workdir = "src"),
        sh("beside", "pwd", workdir = "other")"#;
    let dir = repository(&[("test", steps)]);
    let (code, out, err) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let top = dir.path().canonicalize().unwrap();
    assert!(out.contains(&format!("\n{}\ncommitted\n", top.display())), "{out}");
    assert!(!dir.path().join("other").exists() && !dir.path().join("src").exists(), "{out}");
}

#[test]
fn an_interrupt_ends_all_processes_and_runs_what_always_runs() {
    let steps = r#"sh("hang", "sleep 1000 & echo pid $! ; setsid sleep 1000 & echo pid $! ; echo ready; wait"),
        sh("always", "echo al-ways", alwaysRun = True), sh("never", "echo n-ever")"#;
    let dir = repository(&[("test", steps)]);
    let mut child = command(dir.path(), &["test"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut out: Vec<String> = vec![];
    while out.last().is_none_or(|l| l != "ready") {
        out.push(lines.next().expect("it says that it is ready"));
    }
    let pids: Vec<i32> = out.iter().filter_map(|l| l.strip_prefix("pid ")).map(|p| p.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{out:?}");
    let alive = |pid: &i32| alive(&pid.to_string());
    assert!(pids.iter().all(alive));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT).unwrap();
    out.extend(lines);
    assert_eq!(child.wait().unwrap().code(), Some(5), "{out:?}");
    assert!(!pids.iter().any(alive), "the one in a session of its own too");
    let out = out.join("\n");
    assert!(out.contains("\nal-ways\n") && !out.contains("\nn-ever"), "{out}");
    assert!(out.lines().last().unwrap().starts_with("cancelled"), "{out}");
    assert_eq!(std::fs::read_dir(dir.path().join(".git/home/tmp")).unwrap().count(), 0);
}

#[test]
fn a_second_interrupt_kills_what_always_runs_too() {
    let steps = r#"sh("hang", "echo ready; sleep 1000"), sh("stubborn", "echo pid $$; sleep 1000", alwaysRun = True)"#;
    let dir = repository(&[("test", steps)]);
    let mut child = command(dir.path(), &["test"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut pid = None;
    for line in lines {
        if line == "ready" || line.starts_with("pid ") {
            pid = line.strip_prefix("pid ").map(str::to_owned);
            let me = nix::unistd::Pid::from_raw(child.id() as i32);
            nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGINT).unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let pid = pid.expect("the step that always runs has begun");
    assert!(!alive(&pid));
}

#[test]
fn a_reader_that_goes_away_stops_the_build() {
    let dir = repository(&[("test", r#"sh("talk", "echo pid $$; while :; do echo more; sleep 0.01; done")"#)]);
    let mut child = command(dir.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.find_map(|l| l.strip_prefix("pid ").map(str::to_owned)).unwrap();
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(!alive(&pid));
}

#[test]
fn a_reader_that_stands_still_holds_up_neither_a_stop_nor_the_end() {
    let dir = repository(&[("test", r#"sh("talk", "echo pid $$; exec yes")"#)]);
    let mut child = command(dir.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.find_map(|l| l.strip_prefix("pid ").map(str::to_owned)).unwrap();
    let me = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGTERM).unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(talk.next().unwrap().contains("stopping the build"));
    // From here on nothing is read: the second kills the build, the third waits for no reader.
    while child.try_wait().unwrap().is_none() {
        let _ = nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGTERM);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(!alive(&pid));
    assert_eq!(std::fs::read_dir(dir.path().join(".git/home/tmp")).unwrap().count(), 0);
}

#[test]
fn an_unknown_builder_is_told_with_the_nearest_and_several_are_listed() {
    let dir = repository(&[("test", r#"sh("a", "true")"#), ("release", r#"sh("a", "true")"#)]);
    let (code, out, err) = run(dir.path(), &["tset"]);
    assert_eq!((code, out.as_str()), (Some(7), ""));
    assert!(err.contains("did you mean \"test\"") && err.contains("test, release"), "{err}");
    let (code, _, err) = run(dir.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("2 builders") && err.contains("test, release"), "{err}");
    std::fs::write(dir.path().join("master.star"), "c = {}\nx = y\n").unwrap();
    let (code, _, err) = run(dir.path(), &["test"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("master.star:2:5"), "{err}");
}

#[test]
fn every_line_of_json_is_an_object_and_the_last_has_the_result() {
    let dir = repository(&[("test", r#"checkout, sh("say", "printf 'a\\344b\\n'; echo e >&2; exit 1"), count_step"#)]);
    let (code, out, err) = run(dir.path(), &["--json"]);
    assert_eq!(code, Some(1), "{err}");
    let events: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|e| e["event"] == kind).collect::<Vec<_>>();
    assert_eq!(events[0]["event"], "build_started");
    assert_eq!((&events[0]["builder"], &events[0]["uncommitted"]), (&"test".into(), &0.into()));
    let names: Vec<&str> = of("step_finished").iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["git", "say", "count", "told"]);
    let text = |channel: &str| -> String {
        let said = of("log").into_iter().filter(|e| e["step"] == 2 && e["channel"] == channel);
        said.map(|e| e["text"].as_str().unwrap()).collect()
    };
    assert_eq!((text("stdout").as_str(), text("stderr").as_str()), ("a\u{fffd}b\n", "e\n"));
    assert!(of("property_set").iter().any(|e| e["name"] == "count" && e["value"] == 2), "{out}");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["results"], &last["results_text"]),
        (&"build_finished".into(), &2.into(), &"failure".into())
    );
}

#[test]
fn a_secret_comes_from_the_persons_folder_and_a_missing_one_says_where_to_put_it() {
    let dir = repository(&[(
        "test",
        r#"sh("use", util.Interpolate("test %(secret:key)s = hunter2 && echo it is %(secret:key)s"))"#,
    )]);
    let (code, out, _) = run(dir.path(), &[]);
    assert_eq!(code, Some(4), "{out}");
    let file = dir.path().join(".git/home/config/tidemill/secrets/key");
    assert!(out.contains(&file.display().to_string()) && out.contains("0600"), "{out}");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "hunter2\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, out, _) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("it is <secret key>") && !out.contains("it is hunter2"), "{out}");
}

#[test]
fn without_a_project_file_one_is_guessed_and_without_a_repository_the_folder_is_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".git")).unwrap();
    let folder = dir.path().join("plain");
    std::fs::create_dir(&folder).unwrap();
    let (code, _, err) = run(&folder, &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("tidemill init"), "{err}");
    std::fs::write(folder.join("Makefile"), "all:\n\t@echo ma-king\ntest check:\n\t@echo tes-ting\n").unwrap();
    let (code, out, err) = run(&folder, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("Makefile") && out.contains("ma-king") && out.contains("no commit"), "{out}{err}");
}
