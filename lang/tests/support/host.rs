//! A step host for tests: it runs real commands and works on a real folder, and
//! keeps what it was told.
#![allow(dead_code)]

use serde_json::Value as Json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use tidemill_lang::custom::*;
use tidemill_lang::plan::Command;
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{LogKind, TestResult};

pub struct TestHost {
    pub folder: tempfile::TempDir,
    pub logs: RefCell<Vec<Log>>,
    pub properties: RefCell<BTreeMap<String, (Json, String)>>,
    pub statistics: RefCell<Vec<Statistic>>,
    pub urls: RefCell<Vec<(String, String)>>,
    pub tests: RefCell<Vec<(String, TestResult)>>,
    pub progress: RefCell<Vec<(String, f64)>>,
    pub summaries: RefCell<Vec<String>>,
    /// Summaries are due so many more times.
    pub due: Cell<u32>,
    pub stop: Cell<bool>,
    pub commands: RefCell<Vec<Run>>,
    /// Bytes that a command writes instead of running; for speed.
    pub feed: RefCell<Option<Vec<u8>>>,
    /// What was triggered, and the result that this has; without one nothing can be.
    pub triggered: RefCell<Vec<Trigger>>,
    pub triggers: Cell<Option<Results>>,
}

#[derive(Debug)]
pub struct Log {
    pub name: String,
    pub kind: LogKind,
    pub text: String,
    pub finished: bool,
}

impl TestHost {
    pub fn new() -> TestHost {
        TestHost {
            folder: tempfile::tempdir().unwrap(),
            logs: RefCell::default(),
            properties: RefCell::default(),
            statistics: RefCell::default(),
            urls: RefCell::default(),
            tests: RefCell::default(),
            progress: RefCell::default(),
            summaries: RefCell::default(),
            due: Cell::new(u32::MAX),
            stop: Cell::new(false),
            commands: RefCell::default(),
            feed: RefCell::default(),
            triggered: RefCell::default(),
            triggers: Cell::new(None),
        }
    }

    pub fn log(&self, name: &str) -> String {
        self.logs.borrow().iter().find(|l| l.name == name).map(|l| l.text.clone()).unwrap_or_default()
    }

    pub fn property(&self, name: &str) -> Option<Json> {
        self.properties.borrow().get(name).map(|(v, _)| v.clone())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

fn fault(error: &std::io::Error) -> FileReply {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => FileFault::NotFound,
        std::io::ErrorKind::NotADirectory => FileFault::NotADirectory,
        _ => FileFault::Other,
    };
    FileReply::Fault(kind, error.to_string())
}

fn walk(folder: &std::path::Path, base: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.push(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
        if path.is_dir() {
            walk(&path, base, found);
        }
    }
}

/// `*` is any number of characters but `/`; `**` any at all.
fn pattern(glob: &str) -> String {
    let escaped = glob.replace('.', "\\.").replace("**/", "\u{1}").replace('*', "[^/]*").replace('\u{1}', "(.*/)?");
    format!("^{escaped}$")
}

impl StepHost for TestHost {
    fn cancelled(&self) -> bool {
        self.stop.get()
    }

    fn worker(&self) -> WorkerInfo {
        let commands = ["shell", "stat", "glob", "listdir"].map(|c| (c.to_owned(), "3.1".to_owned()));
        WorkerInfo {
            name: "w".into(),
            release: "0.1".into(),
            vocabulary: 2,
            commands: commands.into(),
            system: "posix".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            path_separator: '/',
        }
    }

    fn log_open(&self, name: &str, kind: LogKind) -> Result<LogId, HostError> {
        let mut logs = self.logs.borrow_mut();
        logs.push(Log { name: name.into(), kind, text: String::new(), finished: false });
        Ok(logs.len() as LogId)
    }

    fn log_write(&self, log: LogId, _channel: Channel, bytes: &[u8]) -> Result<(), HostError> {
        let mut logs = self.logs.borrow_mut();
        let log = &mut logs[log as usize - 1];
        assert!(!log.finished, "{}", log.name);
        log.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    fn log_finish(&self, log: LogId) -> Result<(), HostError> {
        let log = &mut self.logs.borrow_mut()[log as usize - 1];
        assert!(!std::mem::replace(&mut log.finished, true), "{}", log.name);
        Ok(())
    }

    fn run(&self, run: &Run, sink: &mut Sink<'_>) -> Result<CommandEnd, HostError> {
        self.commands.borrow_mut().push(run.clone());
        if self.stop.get() {
            return Err(HostError::Cancelled);
        }
        let log = run.log.unwrap_or(0);
        let mut give = |channel, bytes: &[u8]| {
            if log > 0 {
                self.log_write(log, channel, bytes)?;
            }
            if run.observed.contains(&log) { sink(Output { log, channel, bytes }) } else { Ok(()) }
        };
        if let Some(bytes) = self.feed.borrow().as_ref() {
            for piece in bytes.chunks(64 << 10) {
                give(Channel::Stdout, piece)?;
            }
            return Ok(CommandEnd { rc: 0, reason: None, elapsed_us: 1 });
        }
        let argv = match &run.shell.command {
            Command::Argv(argv) => argv.clone(),
            Command::Line(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        };
        let dir = self.path(&run.shell.workdir);
        std::fs::create_dir_all(&dir).unwrap();
        let mut process = Process::new(&argv[0]);
        process.args(&argv[1..]).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        for (name, value) in &run.shell.env {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        let Ok(mut child) = process.spawn() else {
            return Ok(CommandEnd { rc: -1, reason: Some("not found".into()), elapsed_us: 0 });
        };
        let mut buffer = [0; 4096];
        let mut out = child.stdout.take().unwrap();
        loop {
            let n = out.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            if let Err(error) = give(Channel::Stdout, &buffer[..n]) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        }
        let mut err = vec![];
        child.stderr.take().unwrap().read_to_end(&mut err).unwrap();
        give(Channel::Stderr, &err)?;
        for (name, file) in &run.shell.logfiles {
            let text = std::fs::read(self.path(&run.shell.workdir).join(&file.path)).unwrap_or_default();
            let id = run.watched[name];
            self.log_write(id, Channel::Stdout, &text)?;
            if run.observed.contains(&id) {
                sink(Output { log: id, channel: Channel::Stdout, bytes: &text })?;
            }
        }
        let status = child.wait().unwrap();
        Ok(CommandEnd { rc: status.code().unwrap_or(-1), reason: None, elapsed_us: 1000 })
    }

    fn file(&self, request: &FileRequest) -> Result<FileReply, HostError> {
        let done = |r: std::io::Result<()>| r.map_or_else(|e| fault(&e), |()| FileReply::Done);
        Ok(match request {
            FileRequest::Stat { path } => match std::fs::symlink_metadata(self.path(path)) {
                Ok(meta) => {
                    use std::os::unix::fs::MetadataExt;
                    FileReply::Stat(FileStat { mode: meta.mode(), size: meta.size(), mtime_us: 0 })
                }
                Err(error) => fault(&error),
            },
            FileRequest::ListDir { path } => match std::fs::read_dir(self.path(path)) {
                Ok(entries) => {
                    let mut names: Vec<_> =
                        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
                    names.sort();
                    FileReply::Names(names)
                }
                Err(error) => fault(&error),
            },
            FileRequest::Glob { pattern: glob } => {
                let mut all = vec![];
                walk(self.folder.path(), self.folder.path(), &mut all);
                let regex = regex::Regex::new(&pattern(glob)).unwrap();
                all.retain(|p| regex.is_match(p));
                all.sort();
                FileReply::Names(all)
            }
            FileRequest::Mkdir { paths } => done(paths.iter().try_for_each(|p| std::fs::create_dir_all(self.path(p)))),
            FileRequest::Rmdir { paths } => {
                for path in paths {
                    let _ = std::fs::remove_dir_all(self.path(path));
                }
                FileReply::Done
            }
            FileRequest::Copy { from, to } => {
                let ok =
                    Process::new("cp").arg("-r").arg(self.path(from)).arg(self.path(to)).status().unwrap().success();
                if ok { FileReply::Done } else { FileReply::Fault(FileFault::Other, "cp failed".into()) }
            }
            FileRequest::Remove { path } => done(std::fs::remove_file(self.path(path))),
            FileRequest::Read { path, max } => match std::fs::read(self.path(path)) {
                Ok(bytes) if bytes.len() as u64 > *max => FileReply::Fault(FileFault::TooLarge, "too large".into()),
                Ok(bytes) => FileReply::Content(bytes),
                Err(error) => fault(&error),
            },
            FileRequest::Write { path, content, .. } => {
                let path = self.path(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                done(std::fs::write(path, content))
            }
            FileRequest::Environment => FileReply::Variables([("HOME".into(), "/home/w".into())].into()),
        })
    }

    fn set_property(&self, name: &str, value: &Json, source: &str) -> Result<(), HostError> {
        self.properties.borrow_mut().insert(name.into(), (value.clone(), source.into()));
        Ok(())
    }

    fn add_url(&self, name: &str, url: &str) -> Result<(), HostError> {
        self.urls.borrow_mut().push((name.into(), url.into()));
        Ok(())
    }

    fn set_statistic(&self, name: &str, value: &Json) -> Result<(), HostError> {
        let new = Statistic { step: "this".into(), name: name.into(), value: value.clone() };
        self.statistics.borrow_mut().push(new);
        Ok(())
    }

    fn statistics(&self) -> Vec<Statistic> {
        self.statistics.borrow().clone()
    }

    fn set_progress(&self, metric: &str, value: f64) -> Result<(), HostError> {
        self.progress.borrow_mut().push((metric.into(), value));
        Ok(())
    }

    fn add_test_result(&self, set: &str, result: &TestResult) -> Result<(), HostError> {
        self.tests.borrow_mut().push((set.into(), result.clone()));
        Ok(())
    }

    fn summary_due(&self) -> bool {
        let left = self.due.get();
        self.due.set(left.saturating_sub(1));
        left > 0
    }

    fn set_summary(&self, text: &str) -> Result<(), HostError> {
        self.summaries.borrow_mut().push(text.into());
        Ok(())
    }

    fn trigger(&self, trigger: &Trigger) -> Result<Results, HostError> {
        self.triggered.borrow_mut().push(trigger.clone());
        self.triggers.get().ok_or_else(|| HostError::Failed("nothing can be triggered here".into()))
    }
}
