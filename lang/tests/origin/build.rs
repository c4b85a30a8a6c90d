//! Runs the steps of a builder in order, with real commands in a folder of its
//! own: as a worker does, without a master.

use crate::host::{Log, TestHost};
use tidemill_lang::custom::{AddAt, Run, RunError, StepHost};
use tidemill_lang::plan::{Action, BuildContext, Command};
use tidemill_lang::{Project, Step};
use tidemill_model::wire::LogKind;
use tidemill_model::{Results, SourceStamp};

/// A build that ended.
pub struct Build {
    pub host: TestHost,
    pub ctx: BuildContext,
    pub steps: Vec<Played>,
    pub results: Results,
}

/// A step that ran.
pub struct Played {
    pub name: String,
    pub results: Results,
    pub summary: Option<String>,
    pub build_summary: Option<String>,
    /// What went wrong where it is an exception.
    pub error: String,
    pub logs: Vec<Log>,
    /// Its commands.
    pub runs: Vec<Run>,
}

impl Played {
    #[track_caller]
    pub fn log(&self, name: &str) -> &str {
        let names = || self.logs.iter().map(|l| &l.name).collect::<Vec<_>>();
        let found = self.logs.iter().find(|l| l.name == name);
        &found.unwrap_or_else(|| panic!("`{}` has no log {name}, but {:?}: {}", self.name, names(), self.error)).text
    }

    pub fn argv(&self, command: usize) -> Vec<String> {
        match &self.runs[command].shell.command {
            Command::Argv(argv) => argv.clone(),
            Command::Line(line) => vec![line.clone()],
        }
    }
}

/// A build of the first number, on the worker `w`, of one source stamp.
pub fn context(project: &Project, builder: &str) -> BuildContext {
    let mut ctx = BuildContext {
        builder: builder.into(),
        number: 1,
        worker: "w".into(),
        reason: "somebody asked".into(),
        sourcestamps: vec![SourceStamp {
            branch: Some("main".into()),
            revision: Some("abc".into()),
            repository: "https://example.org/r.git".into(),
            ..SourceStamp::default()
        }],
        ..BuildContext::default()
    };
    let definition = project.definition().builders.iter().find(|b| b.name == builder).expect("the builder is there");
    for (name, value) in definition.default_properties.iter().chain(&definition.properties) {
        ctx.properties.set(name, value.clone(), "Builder");
    }
    ctx
}

impl Build {
    #[track_caller]
    pub fn of(project: &Project, builder: &str) -> Build {
        Build::with(project, builder, context(project, builder), TestHost::new())
    }

    #[track_caller]
    pub fn with(project: &Project, builder: &str, ctx: BuildContext, host: TestHost) -> Build {
        let mut build = Build { host, ctx, steps: vec![], results: Results::Success };
        let mut left: Vec<Step> = project.steps(builder).expect("the builder is there").to_vec();
        let mut halted = false;
        while !left.is_empty() {
            let step = left.remove(0);
            if halted && !step.always_run() {
                continue;
            }
            let (played, halts, added) = build.play(&step);
            halted |= halts;
            build.steps.push(played);
            let (now, last): (Vec<_>, Vec<_>) = added.into_iter().partition(|(at, _)| *at == AddAt::AfterCurrent);
            left.splice(0..0, now.into_iter().flat_map(|(_, steps)| steps));
            left.extend(last.into_iter().flat_map(|(_, steps)| steps));
        }
        build
    }

    #[track_caller]
    pub fn step(&self, name: &str) -> &Played {
        let names = || self.steps.iter().map(|s| &s.name).collect::<Vec<_>>();
        self.steps.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no step {name} in {:?}", names()))
    }

    /// Names and results, in order.
    pub fn outcome(&self) -> Vec<(&str, Results)> {
        self.steps.iter().map(|s| (s.name.as_str(), s.results)).collect()
    }

    pub fn names(&self) -> Vec<&str> {
        self.steps.iter().map(|s| s.name.as_str()).collect()
    }

    #[track_caller]
    fn play(&mut self, step: &Step) -> (Played, bool, Vec<(AddAt, Vec<Step>)>) {
        let rendered = step.render(&self.ctx).unwrap_or_else(|e| panic!("{e}"));
        let mut played = Played {
            name: rendered.name.clone(),
            results: Results::Success,
            summary: None,
            build_summary: None,
            error: String::new(),
            logs: vec![],
            runs: vec![],
        };
        let mut added = vec![];
        let host = &self.host;
        match &rendered.action {
            Action::Script(_) => match step.run(&rendered, &self.ctx, host) {
                Ok(end) => {
                    played.results = end.results;
                    played.summary = end.summary;
                    played.build_summary = end.build_summary;
                    added = end.added.into_iter().map(|a| (a.at, a.steps)).collect();
                }
                Err(RunError::Failed(error)) => {
                    played.results = Results::Exception;
                    played.error = error.to_string();
                }
                Err(other) => panic!("{other}"),
            },
            Action::Shell(shell) => {
                let log = host.log_open("stdio", LogKind::Stdio).unwrap();
                let run = Run { shell: shell.clone(), log: Some(log), ..Run::default() };
                let end = host.run(&run, &mut |_| Ok(())).unwrap();
                host.log_finish(log).unwrap();
                let other = if end.rc == 0 { Results::Success } else { Results::Failure };
                played.results = shell.decode_rc.get(&end.rc).copied().unwrap_or(other);
            }
            Action::SetProperty { property, value } => host.set_property(property, value, "SetProperty").unwrap(),
            other => panic!("no example runs {other:?}"),
        }
        played.logs = std::mem::take(&mut *host.logs.borrow_mut());
        played.runs = std::mem::take(&mut *host.commands.borrow_mut());
        for (name, (value, source)) in host.properties.borrow().iter() {
            self.ctx.properties.set(name, value.clone(), source.clone());
        }
        let flags = &rendered.flags;
        let part = match played.results {
            Results::Failure if flags.flunk_on_failure => Results::Failure,
            Results::Failure if flags.warn_on_failure => Results::Warnings,
            Results::Warnings if flags.flunk_on_warnings => Results::Failure,
            Results::Warnings if flags.warn_on_warnings => Results::Warnings,
            Results::Failure | Results::Warnings | Results::Skipped => Results::Success,
            other => other,
        };
        self.results = self.results.worst(part);
        self.ctx.results = Some(self.results);
        let halts = match played.results {
            Results::Failure => flags.halt_on_failure,
            Results::Success | Results::Warnings | Results::Skipped => false,
            _ => true,
        };
        (played, halts, added)
    }
}
