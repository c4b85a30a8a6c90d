//! `tidemill plan`: which steps a build would run, and why not the others.

use super::checkconfig::{folder, show};
use super::property;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::project::asked::Asked;
use crate::project::{apart, files};
use crate::sanitize;
use crate::up::plural;
use serde_json::Value;
use std::path::PathBuf;
use tidemill_lang::plan::{Action, Checkout, Command, Git, Plan, Planned, RenderedStep, Script, Shell, Verdict};
use tidemill_lang::{Report, Severity};
use tidemill_model::SourceStamp;

/// Show which steps a build would run, and with what.
///
/// Each step is taken as successful. Properties that commands would set are not
/// known yet. Secrets show as their names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill plan                     of the only builder
  tidemill plan test
  tidemill plan release --branch v2 --property sign=yes
  tidemill plan test --dir ci/ --json")]
pub struct PlanArgs {
    /// Name of the builder [default: the only one]
    #[arg(value_name = "BUILDER")]
    builder: Option<String>,
    #[command(flatten)]
    build: BuildArgs,
}

/// The build that is meant.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// The folder of master.star
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// The branch to build, as a change would name it
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// The revision to build
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// The repository, where the builder's steps take it from the request
    #[arg(long, value_name = "URL")]
    pub repository: Option<String>,
    /// The codebase of these, where the project has several
    #[arg(long, value_name = "NAME")]
    pub codebase: Option<String>,
    /// A property of the build; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, String)>,
    /// The worker that it runs on [default: the first that the builder names]
    #[arg(long, value_name = "NAME")]
    pub worker: Option<String>,
}

impl BuildArgs {
    pub fn asked(&self, builder: &str, reason: &str) -> Asked {
        Asked {
            builder: builder.to_owned(),
            source: SourceStamp {
                codebase: self.codebase.clone().unwrap_or_default(),
                repository: self.repository.clone().unwrap_or_default(),
                branch: self.branch.clone(),
                revision: self.revision.clone(),
                ..SourceStamp::default()
            },
            properties: self.properties.iter().cloned().collect(),
            worker: self.worker.clone(),
            reason: reason.to_owned(),
        }
    }
}

pub fn run(args: PlanArgs, out: Output) -> Result<Exit> {
    let files = files::from_folder(&folder(&args.build.dir))?;
    let named = args.builder.clone().unwrap_or_default();
    let mut answer = apart::plan(&files, &args.build.asked(&named, "tidemill plan"))?;
    let builders = answer.report.definition.as_ref().map(|d| &d.builders[..]).unwrap_or_default();
    if let (None, [only]) = (&args.builder, builders) {
        answer = apart::plan(&files, &args.build.asked(&only.name, "tidemill plan"))?;
    }
    let Some(planned) = answer.planned else { return broken(&answer.report, out) };
    let Some(plan) = planned.plan else {
        let failure = no_builder(&named, &answer.report);
        return Err(if args.builder.is_some() {
            failure
        } else {
            Failure { message: "name a builder".into(), ..failure }
        });
    };
    let failed = planned.build_runs.is_err() || plan.steps.iter().any(|s| matches!(s.verdict, Verdict::Broken { .. }));
    let exit = if failed { Exit::Failure } else { Exit::Success };
    if out.json {
        let skipped = match &planned.build_runs {
            Ok(runs) => serde_json::json!(!runs),
            Err(_) => serde_json::Value::Null,
        };
        let error = planned.build_runs.err();
        let steps = serde_json::json!(plan.steps);
        let document = serde_json::json!({
            "ok": !failed, "builder": plan.builder, "build_skipped": skipped, "error": error, "steps": steps,
        });
        out.document(&document);
        return Ok(exit);
    }
    match &planned.build_runs {
        Ok(true) => {}
        Ok(false) => out.line(&out.paint(Style::Yellow, "the build would be skipped: do_build_if says no")),
        Err(error) => eprintln!("{}", sanitize::text(error)),
    }
    print(&plan, out);
    Ok(exit)
}

/// A project with errors has no plan.
pub fn broken(report: &Report, out: Output) -> Result<Exit> {
    if out.json {
        out.document(&serde_json::json!({ "ok": false, "diagnostics": report.diagnostics }));
    } else {
        show(&report.diagnostics, out);
        eprintln!("{}", plural(report.count(Severity::Error), "error"));
    }
    Ok(Exit::Failure)
}

pub fn no_builder(name: &str, report: &Report) -> Failure {
    let builders = report.definition.iter().flat_map(|d| &d.builders);
    let names: Vec<String> = builders.map(|b| sanitize::line(&b.name)).collect();
    let near = tidemill_lang::nearest(name, names.iter().map(String::as_str)).filter(|_| !name.is_empty());
    let hint = match (near, &names[..]) {
        (_, []) => "it has none: add one to c[\"builders\"]".to_owned(),
        (Some(near), _) => format!("did you mean {near:?}? Its builders: {}", names.join(", ")),
        (None, _) => format!("its builders: {}", names.join(", ")),
    };
    Failure::not_found(format!("the project has no builder {name:?}")).hint(hint)
}

fn print(plan: &Plan, out: Output) {
    let run = plan.steps.iter().filter(|s| matches!(s.verdict, Verdict::Run(_))).count();
    out.line(&format!("{}: {run} of {} would run", sanitize::line(&plan.builder), plural(plan.steps.len(), "step")));
    for (i, step) in plan.steps.iter().enumerate() {
        one(i + 1, step, out);
    }
}

fn one(number: usize, step: &Planned, out: Output) {
    let name = sanitize::line(&step.name);
    let origin = out.paint(Style::Dim, &format!("{} {}", step.kind, step.location));
    let hidden = if step.hidden { " (hidden)" } else { "" };
    let (verdict, style, details) = match &step.verdict {
        Verdict::Run(rendered) => ("run", Style::Green, details(rendered)),
        Verdict::Skipped { reason, .. } => ("skip", Style::Yellow, vec![sanitize::line(reason)]),
        Verdict::Broken { error } => ("broken", Style::Red, sanitize::text(error).lines().map(str::to_owned).collect()),
    };
    let verdict = out.paint(style, verdict);
    out.line(&format!("{number:>3}. {verdict} {}{hidden}  {origin}", out.paint(Style::Bold, &name)));
    for line in details {
        out.line(&format!("       {line}"));
    }
}

/// What a step would do, a line each.
fn details(step: &RenderedStep) -> Vec<String> {
    let mut lines = match &step.action {
        Action::Shell(shell) => of_shell(shell),
        Action::Git(git) => of_git(git),
        Action::Svn(svn) => of_checkout(&svn.checkout),
        Action::Mercurial(hg) => of_checkout(&hg.checkout),
        Action::SetProperty { property, value } => vec![format!("{property} = {value}")],
        Action::Script(script) if step.kind == "steps.Trigger" => of_trigger(script),
        Action::Script(script) => of_script(script),
    };
    if step.flags.always_run {
        lines.push("runs also after a failure".into());
    }
    if !step.locks.is_empty() {
        let names: Vec<&str> = step.locks.iter().map(|l| l.lock.as_str()).collect();
        lines.push(format!("holds {}", names.join(", ")));
    }
    lines.iter().map(|l| sanitize::line(l)).collect()
}

fn of_shell(shell: &Shell) -> Vec<String> {
    let mut lines = vec![format!("$ {}", command(&shell.command)), format!("in {}", shell.workdir)];
    if !shell.env.is_empty() {
        let set = shell.env.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={}", quoted(value)),
            None => format!("without {name}"),
        });
        lines.push(format!("env {}", set.collect::<Vec<_>>().join(" ")));
    }
    lines
}

fn of_git(git: &Git) -> Vec<String> {
    let url = if git.repourl.is_empty() { "the request's repository" } else { &git.repourl };
    let branch = git.branch.as_ref().map(|b| format!(", branch {b}")).unwrap_or_default();
    vec![format!("{url}{branch} into {}", git.workdir)]
}

fn of_checkout(checkout: &Checkout) -> Vec<String> {
    let url = if checkout.repourl.is_empty() { "the request's repository" } else { &checkout.repourl };
    let branch = checkout.default_branch.as_ref().map(|b| format!(", branch {b}")).unwrap_or_default();
    vec![format!("{url}{branch} into {}", checkout.workdir)]
}

fn of_script(script: &Script) -> Vec<String> {
    let mut lines: Vec<String> = script
        .shell
        .iter()
        .filter(|s| !matches!(&s.command, Command::Argv(argv) if argv.is_empty()))
        .map(|s| format!("$ {}", command(&s.command)))
        .collect();
    lines.extend(script.attrs.iter().filter(|(_, v)| !v.is_null()).map(|(name, value)| format!("{name} = {value}")));
    lines
}

/// Which schedulers a trigger would fire.
fn of_trigger(script: &Script) -> Vec<String> {
    let names = match script.attrs.get("schedulerNames") {
        Some(Value::Array(items)) => items.iter().map(scheduler).collect::<Vec<_>>().join(", "),
        Some(one) => scheduler(one),
        None => String::new(),
    };
    let waits = script.attrs.get("waitForFinish") == Some(&Value::Bool(true));
    let mut lines = vec![format!("triggers {names}{}", if waits { ", and waits for the builds" } else { "" })];
    let rest = script
        .attrs
        .iter()
        .filter(|(name, v)| !v.is_null() && !["schedulerNames", "waitForFinish"].contains(&name.as_str()));
    lines.extend(rest.map(|(name, value)| format!("{name} = {value}")));
    lines
}

/// Its name, which may stand in a dict.
fn scheduler(target: &Value) -> String {
    let name = target.get("name").or(target.get("sched_name")).unwrap_or(target);
    name.as_str().map_or_else(|| name.to_string(), str::to_owned)
}

/// As a shell would take it.
fn command(command: &Command) -> String {
    match command {
        Command::Argv(argv) => argv.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" "),
        Command::Line(line) => line.clone(),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%<> ".contains(c);
    let spaced = word.contains([' ', '<', '>']) && !word.starts_with("<secret ");
    match !word.is_empty() && word.chars().all(plain) && !spaced {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_would_take_it() {
        let argv = ["make", "-j4", "CC=a b", "it's", ""].map(str::to_owned).to_vec();
        assert_eq!(command(&Command::Argv(argv)), r"make -j4 'CC=a b' 'it'\''s' ''");
        assert_eq!(command(&Command::Line("make | tee x".into())), "make | tee x");
    }
}
