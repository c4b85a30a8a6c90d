//! `tidemill try`

use super::follow::Logs;
use super::watch::{self, Outcome};
use super::{Connection, completion, field, property};
use crate::api;
use crate::client::Client;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::sanitize;
use crate::working_copy::{self, Difference, Vc, Wish};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use std::path::PathBuf;
use tidemill_model::Results;

/// Build the changes of your working copy before you commit them.
///
/// Sends the difference between the working copy (git, hg or svn) and what its
/// upstream has, staged or not, to a Try scheduler of the project. The builds check
/// out that revision and apply the difference. Nothing here is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill try --wait                        on all builders that may be tried
  tidemill try -b linux -b mac --wait        on these
  tidemill try --untracked --wait            new files too, also those not yet added
  tidemill try --dryrun                      only show what would be sent
  tidemill try --diff fix.patch --base 4f2a1c --branch main
  tidemill try --list-builders
Exits with the worst result with --wait, and names what failed.")]
pub struct Try {
    /// A builder; may be given again [default: all of the Try scheduler's]
    #[arg(long = "builder", short = 'b', value_name = "BUILDER", add = ArgValueCompleter::new(completion::builders))]
    builders: Vec<String>,
    /// The Try scheduler, where builders alone do not say it
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// New files too that are neither added nor ignored
    #[arg(long, conflicts_with = "diff")]
    untracked: bool,
    /// Send this difference instead of the working copy's; `-` reads it from the standard input
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// With --diff: leading parts of its paths to drop, as in `patch -p`
    #[arg(long, alias = "patchlevel", value_name = "N", requires = "diff")]
    level: Option<u32>,
    /// Folder of the checkout that the difference is of
    #[arg(long, value_name = "FOLDER")]
    subdir: Option<String>,
    /// The revision that the builds begin with [default: the newest that the upstream has]
    #[arg(long, alias = "baserev", value_name = "REVISION")]
    base: Option<String>,
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    #[arg(long, value_name = "NAME")]
    codebase: Option<String>,
    /// A property of the builds; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// For people, beside the builds
    #[arg(long, short = 'C', value_name = "TEXT", default_value = "")]
    comment: String,
    /// Whose work it is [default: as version control knows you]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// The working copy [default: the one around this folder]
    #[arg(long, alias = "topdir", value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// What kind it is [default: what is found]
    #[arg(long, value_name = "KIND")]
    vc: Option<Vc>,
    /// Follow the builds, and exit with the worst result
    #[arg(long, short)]
    wait: bool,
    /// With --wait: give up after so many seconds (exit code 10)
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
    /// Show what would be sent, and send nothing
    #[arg(long, short = 'n', alias = "dry-run")]
    dryrun: bool,
    /// List the Try schedulers and their builders
    #[arg(long, alias = "get-builder-names")]
    list_builders: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Try, out: Output) -> Result<Exit> {
    if args.list_builders {
        return list(&args.connection.client().await?, out).await;
    }
    let difference = difference(&args)?;
    if difference.left_out > 0 {
        let files = if difference.left_out == 1 { "file is" } else { "files are" };
        eprintln!("{} untracked {files} left out; --untracked takes them along", difference.left_out);
    }
    let body = body(&args, &difference);
    if args.dryrun {
        show(&args, &difference, &body, out);
        return Ok(Exit::Success);
    }
    let client = args.connection.client().await?;
    let answer = client.post_once("try", &body, None).await?;
    let requests = requests(&answer)?;
    let names: Vec<String> =
        requests.iter().map(|(name, id)| format!("{} (request {id})", sanitize::line(name))).collect();
    let said = format!("buildset {}: {}", field(&answer, "buildsetid")?, names.join(", "));
    if !args.wait {
        match out.json {
            true => out.document(&answer),
            false => out.line(&said),
        }
        return Ok(Exit::Success);
    }
    eprintln!("{}", out.err().paint(Style::Dim, &said));
    watch::limited(args.timeout, wait(&client, &answer, requests, out)).await
}

fn difference(args: &Try) -> Result<Difference> {
    let mut found = match &args.diff {
        Some(path) => {
            let body = match path.as_os_str() == "-" {
                true => {
                    let mut body = vec![];
                    std::io::Read::read_to_end(&mut std::io::stdin(), &mut body)
                        .doing(|| "read the difference from the standard input".into())?;
                    body
                }
                false => std::fs::read(path).doing(|| format!("read {}", path.display()))?,
            };
            Difference { body, level: args.level.unwrap_or(1), base: args.base.clone(), ..Difference::default() }
        }
        None => {
            let (vc, top) = working_copy::find(&args.dir, args.vc)?;
            let wish = Wish { base: args.base.clone(), untracked: args.untracked };
            working_copy::difference(vc, &top, &wish)?
        }
    };
    if found.body.iter().all(u8::is_ascii_whitespace) {
        let on = found.base.as_deref().map(|b| format!(" against {b}")).unwrap_or_default();
        return Err(Failure::usage(format!("there is nothing to try: no difference{on}")).hint(match found.left_out {
            0 => "a revision as it is is built by `tidemill force`",
            _ => "new files are left out unless you `git add` them, or give --untracked",
        }));
    }
    found.branch = args.branch.clone().or(found.branch);
    found.repository = args.repository.clone().or(found.repository);
    found.subdir = args.subdir.clone().unwrap_or(found.subdir);
    found.who = args.who.clone().unwrap_or(found.who);
    Ok(found)
}

fn body(args: &Try, difference: &Difference) -> Value {
    let properties: serde_json::Map<String, Value> =
        args.properties.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    let mut body = json!({
        "builders": args.builders,
        "patch": {
            "body": BASE64_STANDARD.encode(&difference.body),
            "level": difference.level,
            "subdir": difference.subdir,
        },
        "comment": args.comment,
        "who": difference.who,
        "properties": properties,
    });
    let optional = [
        ("scheduler", &args.scheduler),
        ("codebase", &args.codebase),
        ("project", &args.project),
        ("revision", &difference.base),
        ("branch", &difference.branch),
        ("repository", &difference.repository),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    body
}

/// What would be sent: the facts as talk, the difference as data.
fn show(args: &Try, difference: &Difference, body: &Value, out: Output) {
    if out.json {
        out.document(body);
        return;
    }
    let none = || "-".to_owned();
    let builders = if args.builders.is_empty() { "all that may be tried".into() } else { args.builders.join(", ") };
    for (name, value) in [
        ("builders", builders),
        ("repository", difference.repository.clone().unwrap_or_else(none)),
        ("branch", difference.branch.clone().unwrap_or_else(|| "(default)".into())),
        ("revision", difference.base.clone().unwrap_or_else(|| "(newest)".into())),
        ("folder", if difference.subdir.is_empty() { none() } else { difference.subdir.clone() }),
        ("level", difference.level.to_string()),
        ("who", if difference.who.is_empty() { none() } else { difference.who.clone() }),
        ("bytes", difference.body.len().to_string()),
    ] {
        eprintln!("{name:<11} {}", sanitize::line(&value));
    }
    match out.terminal {
        true => {
            let mut safe = sanitize::Sanitizer::new(out.colour);
            out.raw((safe.push(&difference.body) + &safe.finish()).as_bytes());
        }
        false => out.raw(&difference.body),
    }
}

/// The requests with the names of their builders.
fn requests(answer: &Value) -> Result<Vec<(String, i64)>> {
    let all = answer["requests"].as_array().into_iter().flatten();
    all.map(|r| Ok((r["buildername"].as_str().unwrap_or_default().to_owned(), field(r, "buildrequestid")?))).collect()
}

/// Follows all builds, one after the other: they run at the same time, so nothing is lost by it.
async fn wait(client: &Client, answer: &Value, requests: Vec<(String, i64)>, out: Output) -> Result<Exit> {
    let mut ended = vec![];
    for (name, id) in requests {
        let outcome = watch::outcome(client, id, Logs::Failed, out).await?;
        let failed = failed_steps(client, &outcome).await;
        ended.push((name, id, outcome, failed));
    }
    let worst = ended.iter().map(|(_, _, o, _)| o.results).reduce(Results::worst).unwrap_or(Results::Success);
    if out.json {
        let builds: Vec<Value> = ended
            .iter()
            .map(|(name, id, o, failed)| {
                json!({
                    "buildername": name, "buildrequestid": id, "buildid": o.build.as_ref().map(|b| b.buildid),
                    "number": o.build.as_ref().map(|b| b.number), "results": o.results.code(), "result": o.results.name(),
                    "failed_steps": failed,
                })
            })
            .collect();
        let document = json!({ "buildsetid": answer["buildsetid"], "results": worst.code(), "result": worst.name(), "builds": builds });
        out.document(&document);
        return Ok(Exit::from(worst));
    }
    if ended.len() > 1 || worst != Results::Success {
        out.line("");
        for (name, _, outcome, failed) in &ended {
            let failed = if failed.is_empty() { String::new() } else { format!("  ({})", failed.join(", ")) };
            out.line(&format!("{}: {}{failed}", sanitize::line(name), out.results(Some(outcome.results))));
        }
    }
    Ok(Exit::from(worst))
}

/// Names of the steps that made a build fail.
async fn failed_steps(client: &Client, outcome: &Outcome) -> Vec<String> {
    let Some(build) = &outcome.build else { return vec![] };
    let steps = api::steps(client, build.buildid).await.unwrap_or_default();
    let bad = |r: Option<Results>| matches!(r, Some(Results::Failure | Results::Exception));
    steps.iter().filter(|s| bad(s.results)).map(|s| sanitize::line(&s.name)).collect()
}

async fn list(client: &Client, out: Output) -> Result<Exit> {
    let schedulers = api::list_raw(client, "try", "schedulers").await?;
    if out.json {
        out.document(&json!({ "schedulers": schedulers }));
        return Ok(Exit::Success);
    }
    let text = |v: &Value| sanitize::line(v.as_str().unwrap_or_default());
    let mut rows = vec![];
    for scheduler in &schedulers {
        for builder in scheduler["builders"].as_array().into_iter().flatten() {
            let note = if scheduler["enabled"] == json!(false) { "disabled" } else { "" };
            rows.push(vec![text(builder), text(&scheduler["name"]), note.to_owned()]);
        }
    }
    if rows.is_empty() {
        eprintln!("The project has no Try scheduler: add schedulers.Try_Userpass(name = \"try\", builderNames = […]).");
    }
    out.table(&["BUILDER", "SCHEDULER", ""], &rows);
    Ok(Exit::Success)
}
