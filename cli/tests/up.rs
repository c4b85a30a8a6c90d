//! `tidemill up` with everything real: git, PostgreSQL, master, worker.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);

/// A repository, and a state folder beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(makefile: &str) -> Place {
        let dir = tempfile::Builder::new().prefix("tm-up").tempdir_in("/tmp").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let place = Place { dir };
        std::fs::create_dir(place.repository()).unwrap();
        place.git(&["init", "-q", "-b", "main"]);
        place.commit("Makefile", makefile);
        place
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "safe.directory=*"];
        let status = Command::new("git").args(who).args(arguments).current_dir(self.repository()).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn commit(&self, name: &str, text: &str) {
        std::fs::write(self.repository().join(name), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", &format!("change {name}")]);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        for (name, _) in std::env::vars_os() {
            // Not the address of a database that this test run itself may have.
            if name.to_string_lossy().starts_with("TIDEMILL_") && name != "TIDEMILL_POSTGRES_BIN" {
                command.env_remove(name);
            }
        }
        command.env("TIDEMILL_STATE_HOME", self.dir.path().join("state")).env("XDG_CONFIG_HOME", self.dir.path());
        command.args(arguments).current_dir(self.repository()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn up(&self, arguments: &[&str]) -> Up {
        let mut all = vec!["up", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let mut child = self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        read(child.stdout.take().unwrap(), said.clone());
        read(child.stderr.take().unwrap(), said.clone());
        Up { child, said }
    }

    /// Processes that work in the state folder.
    fn left(&self) -> Vec<String> {
        let marker = self.dir.path().display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let line = read("cmdline");
            let ours = line.contains("tidemill") && read("environ").contains(&marker);
            if line.contains(&marker) || ours {
                found.push(line);
            }
        }
        found
    }
}

fn read(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut all = into.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
        }
    });
}

struct Up {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Up {
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn until(&mut self, what: &str, good: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !good(&self.said()) {
            let over = begun.elapsed() > PATIENCE || self.child.try_wait().unwrap().is_some();
            assert!(!over, "no {what} in:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn says(&mut self, text: &str) {
        self.until(text, |said| said.contains(text));
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // After a failed assertion: twice, so that builds stop too.
        for _ in 0..2 {
            if matches!(self.child.try_wait(), Ok(None)) {
                self.signal(nix::sys::signal::Signal::SIGTERM);
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const GOOD: &str = "all:\n\t@echo building\n\ntest:\n\t@echo testing\n";

#[test]
fn up_once_exits_with_the_result_of_the_newest_commit_and_leaves_nothing_running() {
    let place = Place::new(GOOD);
    let first = place.run(&["up", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    assert!(text(&first).contains("make (Makefile)"), "it says what was guessed: {}", text(&first));
    assert_eq!(place.left(), Vec::<String>::new());

    place.commit("Makefile", "all:\n\t@echo building\n\ntest:\n\t@echo the reason; exit 1\n");
    let second = place.run(&["up", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(text(&second).contains("│ the reason"), "the end of the failing log is shown: {}", text(&second));
    assert_eq!(text(&second).matches("  began on").count(), 1, "the commit is built once: {}", text(&second));
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn up_builds_each_new_commit_and_applies_the_project_when_it_changes() {
    let place = Place::new(GOOD);
    let mut up = place.up(&[]);
    up.says("make #1  success");

    let again = place.run(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    assert!(text(&again).contains(&format!("process {}", up.child.id())), "{}", text(&again));

    place.commit("a.txt", "1");
    up.until("second build", |said| said.matches("  success  ").count() >= 2);

    // Commands find the running master, and may act on it.
    let forced = place.run(&["force", "make", "--watch"]);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced));
    assert!(text(&forced).contains("testing"), "{}", text(&forced));
    let log = place.run(&["log", "make/latest", "test"]);
    assert_eq!(String::from_utf8_lossy(&log.stdout), "testing\n", "a pipe gets the exact bytes");
    assert_eq!(place.run(&["watch", "make/99999"]).status.code(), Some(7));

    assert!(place.run(&["init"]).status.success());
    up.says("the project file is now");
    let file = place.repository().join("master.star");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("\"make\"", "\"other\"").replace("c[\"title\"]", "c[\"titel\"]")).unwrap();
    up.says("the last good one stays");
    up.says("did you mean `title`");
    assert!(!text(&place.run(&["builders"])).contains("other"));
    std::fs::write(&file, good.replace("name = \"make\"", "name = \"other\"").replace("[\"make\"]", "[\"other\"]"))
        .unwrap();
    up.says("1 builder: other");
    // As `tidemill reconfig` shows it.
    up.says("+ builder other");
    up.says("- builder make");
    std::fs::write(
        &file,
        good.replace("name = \"make\"", "name = \"other\", description = \"now\"").replace("[\"make\"]", "[\"other\"]"),
    )
    .unwrap();
    up.says("as revision");
    up.says("~ builder other");
    up.says("description: \"\" -> \"now\"");
    assert!(text(&place.run(&["builders"])).contains("other"));

    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end().code(), Some(0), "{}", up.said());
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn ctrl_c_lets_the_running_build_finish_and_a_second_one_stops_it() {
    let place = Place::new("all:\n\t@echo ready; while [ ! -e /tmp/tm-up-never ]; do sleep 0.1; done\n");
    let mut up = place.up(&[]);
    up.says("git: success");
    up.signal(nix::sys::signal::Signal::SIGINT);
    up.says("finishing what runs");
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end().code(), Some(0), "{}", up.said());
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn what_is_killed_comes_back_and_the_build_goes_on() {
    let place = Place::new("all:\n\t@for i in 1 2 3 4 5 6 7 8; do echo line $$i; sleep 0.7; done\n");
    let mut up = place.up(&[]);
    up.says("git: success");
    let child = |up: &Up, what: &str| -> i32 {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = all.filter_map(|e| e.file_name().to_string_lossy().parse::<i32>().ok());
        pids.find(|pid| {
            let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            read("cmdline").contains(what) && read("stat").split(' ').nth(3) == Some(&up.child.id().to_string())
        })
        .unwrap_or_else(|| panic!("no {what}"))
    };
    for what in ["master\0--listen", "postgres\0-D"] {
        let pid = child(&up, what);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    up.says("starting it again");
    up.says("PostgreSQL runs again");
    up.says("make #1  success");
    let log = place.run(&["log", "make/1", "build"]);
    let wanted: String = (1..=8).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&log.stdout), wanted);
    up.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(up.end().code(), Some(0));
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn a_project_of_ones_own_without_a_change_source_is_watched_all_the_same() {
    let place = Place::new(GOOD);
    let project = "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"mine\", workernames = [\"box\"], \
                   factory = util.BuildFactory([steps.ShellCommand(name = \"hello\", command = [\"true\"])]))]\n\
                   c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", \
                   change_filter = util.ChangeFilter(branch = \"main\"), builderNames = [\"mine\"])]\n";
    std::fs::create_dir(place.repository().join("ci")).unwrap();
    place.commit("ci/master.star", project);
    let output = place.run(&["up", "ci", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("no change source"), "{}", text(&output));
    assert!(text(&output).contains("began on box"), "the local worker has the name that is wanted: {}", text(&output));
}

#[test]
fn a_project_that_builds_no_commit_is_said_to_and_no_commit_is_called_built() {
    let place = Place::new(GOOD);
    let project = "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"mine\", workernames = [\"*\"], \
                   factory = util.BuildFactory([steps.ShellCommand(name = \"hello\", command = [\"true\"])]))]\n";
    place.commit("master.star", project);
    let mut up = place.up(&[]);
    up.says("It has no scheduler, so no commit is built by itself");
    up.says("is known to the schedulers; waiting");
    // By the clock alone no commit is built when it comes.
    let nightly = "c[\"schedulers\"] = [schedulers.Nightly(name = \"n\", hour = 3, builderNames = [\"mine\"])]\n";
    std::fs::write(place.repository().join("master.star"), format!("{project}{nightly}")).unwrap();
    up.says("None of its schedulers builds a commit when it comes");
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end().code(), Some(0), "{}", up.said());
    let mut up = place.up(&[]);
    up.says("was seen before and no scheduler built it");
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end().code(), Some(0), "{}", up.said());
    assert!(!up.said().contains("was built before") && !up.said().contains("Building the newest"), "{}", up.said());
    let output = place.run(&["up", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("no scheduler of the project builds commits"), "{}", text(&output));
}

#[test]
fn a_project_that_gets_a_reporter_gets_a_notifier() {
    let place = Place::new("test:\n\tfalse\n");
    let project = |services: &str| {
        format!(
            "c = {{}}\nc[\"schedulers\"] = [schedulers.AnyBranchScheduler(name = \"all\", builderNames = [\"b\"])]\n\
             c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = util.BuildFactory([\n\
             steps.ShellCommand(command = [\"false\"])]))]\n{services}"
        )
    };
    place.commit("master.star", &project(""));
    let mut up = place.up(&[]);
    up.says("Page:");
    // Nobody listens there: the notice waits, and says why.
    let mail = "c[\"services\"] = [reporters.MailNotifier(\"ci@example.org\", relayhost = \"127.0.0.1\", smtpPort = 1, \
                extraRecipients = [\"team@example.org\"])]\n";
    place.commit("master.star", &project(mail));
    up.says("a notifier sends what they say");
    let begun = Instant::now();
    loop {
        let rows = text(&place.run(&["notify", "deliveries", "--json"]));
        if rows.contains("team@example.org") && rows.contains("127.0.0.1:1") && rows.contains("refused") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{rows}");
        std::thread::sleep(Duration::from_millis(200));
    }
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert!(up.end().success());
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn a_repository_elsewhere_is_mirrored_and_its_new_commits_are_built() {
    let place = Place::new(GOOD);
    let url = format!("file://{}", place.repository().display());
    let mut up = place.up(&[&url]);
    up.says("make #1  success");
    place.commit("a.txt", "1");
    up.until("second build", |said| said.matches("  success  ").count() >= 2);
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end().code(), Some(0), "{}", up.said());
}

/// All of it without privileges.
#[test]
fn a_normal_user_can_run_it() {
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    let (true, Some(nobody)) = (nix::unistd::Uid::effective().is_root(), nobody) else { return };
    let place = Place::new(GOOD);
    let program = place.dir.path().join("tidemill");
    std::fs::copy(env!("CARGO_BIN_EXE_tidemill"), &program).unwrap();
    let own = |path: &Path| nix::unistd::chown(path, Some(nobody.uid), Some(nobody.gid)).unwrap();
    own(place.dir.path());
    let output = Command::new("setpriv")
        .args([format!("--reuid={}", nobody.uid), format!("--regid={}", nobody.gid), "--clear-groups".into()])
        .arg(&program)
        .args(["up", "--once", "--listen", "127.0.0.1:0"])
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_STATE_HOME")
        .env("HOME", place.dir.path())
        .env("XDG_CONFIG_HOME", place.dir.path())
        .current_dir(place.repository())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(place.dir.path().join(".local/state/tidemill").is_dir());
    assert_eq!(place.left(), Vec::<String>::new());
}
