//! `tidemill report`: questions of history, asked of a master or of a database.
//!
//! A database is asked directly and only read, so that it may be a read replica,
//! and the role one that may read nothing but the schema `report`.

use super::report_facts::{self, Facts};
use super::report_grants::{self, Access};
use super::{Connection, completion, property};
use crate::api;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use clap::ValueEnum;
use clap_complete::ArgValueCompleter;
use futures_util::StreamExt;
use nix::libc;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::Db;
use tidemill_service::settings::Layers;
use tidemill_sql::format::{Format, from_json, report_json, text};
use tidemill_sql::report::{Bounds, Error, Report, Reports, Table, Values, run as run_report};
use time::OffsetDateTime;

/// Most rows of a report that a database is asked for.
const ROWS: usize = 10_000;

/// Ask history: health, trends, waits, costs, flaky tests, who broke and who fixed.
///
/// Without a name: list the reports.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  tidemill report
  tidemill report builder-health --since 14d
  tidemill report slowest-steps --builder linux --format csv --out steps.csv
  tidemill report builder-trend --set every=day --format svg --out trend.svg
  tidemill report costs --sql
  TIDEMILL_DATABASE_URL=postgres://tidemill_reporter@replica/ci tidemill report costs --database
Times are how far back (28d, 12h, 2 weeks), days (2026-01-31) or moments (2026-01-31 12:00), UTC."
)]
pub struct ReportArgs {
    #[command(subcommand)]
    beside: Option<Beside>,
    /// Which report
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(completion::reports))]
    name: Option<String>,
    /// How far back
    #[arg(long, value_name = "TIME", requires = "name")]
    since: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", requires = "name")]
    until: Option<String>,
    /// Only this builder
    #[arg(long, requires = "name", add = ArgValueCompleter::new(completion::builders))]
    builder: Option<String>,
    /// Only this branch
    #[arg(long, requires = "name")]
    branch: Option<String>,
    /// Only builders of this project
    #[arg(long, requires = "name")]
    project: Option<String>,
    /// Only this worker
    #[arg(long, requires = "name")]
    worker: Option<String>,
    /// Most rows
    #[arg(long, value_name = "N", requires = "name")]
    limit: Option<u32>,
    /// Any other parameter of the report; may be given again
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = property, requires = "name")]
    set: Vec<(String, String)>,
    /// How the answer is written
    #[arg(long, value_enum, requires = "name")]
    format: Option<Written>,
    /// Show the query instead of asking it
    #[arg(long, conflicts_with = "format", requires = "name")]
    sql: bool,
    /// Write to a file
    #[arg(long, value_name = "FILE", requires = "name")]
    out: Option<PathBuf>,
    /// Folder of own reports, with --database [default: reports.folder of the settings]
    #[arg(long, value_name = "DIR", requires = "database")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// What is no question.
#[derive(Debug, clap::Subcommand)]
enum Beside {
    #[command(flatten)]
    Access(Access),
    #[command(flatten)]
    Facts(Facts),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Written {
    Table,
    Csv,
    Json,
    Md,
    Svg,
}

impl ReportArgs {
    fn given(&self) -> Vec<(&str, String)> {
        let common = [
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("builder", self.builder.clone()),
            ("branch", self.branch.clone()),
            ("project", self.project.clone()),
            ("worker", self.worker.clone()),
            ("limit", self.limit.map(|n| n.to_string())),
        ];
        let common = common.into_iter().filter_map(|(name, value)| Some((name, value?)));
        common.chain(self.set.iter().map(|(name, value)| (name.as_str(), value.clone()))).collect()
    }

    fn written(&self, out: Output) -> (&'static str, Format) {
        match self.format {
            _ if self.sql => ("sql", Format::Sql),
            None if out.json => ("json", Format::Json),
            None | Some(Written::Table) => ("table", Format::Table),
            Some(Written::Csv) => ("csv", Format::Csv),
            Some(Written::Json) => ("json", Format::Json),
            Some(Written::Md) => ("md", Format::Markdown),
            Some(Written::Svg) => ("svg", Format::Svg),
        }
    }
}

pub async fn run(mut args: ReportArgs, layers: Layers, out: Output) -> Result<Exit> {
    match args.beside.take() {
        Some(Beside::Access(command)) => return report_grants::run(command, layers, out).await,
        Some(Beside::Facts(command)) => return report_facts::run(command, layers, out).await,
        None => {}
    }
    let Some(name) = args.name.clone() else { return list(&args, layers, out).await };
    let (format_name, format) = args.written(out);
    let text = match args.connection.database.is_some() {
        true => direct(&args, &name, format, layers, out).await?,
        false => by_api(&args, &name, format_name, format, out).await?,
    };
    match &args.out {
        Some(file) => {
            std::fs::write(file, &text).doing(|| format!("write {}", file.display()))?;
            eprintln!("Written to {}", file.display());
        }
        // What names hold that strangers gave is not for a terminal to obey.
        None if out.terminal => out.raw(sanitize::text(&text).as_bytes()),
        None => out.raw(text.as_bytes()),
    }
    Ok(Exit::Success)
}

async fn by_api(args: &ReportArgs, name: &str, format_name: &str, format: Format, out: Output) -> Result<String> {
    let client = args.connection.client().await?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in args.given() {
        query.append_pair(name, &value);
    }
    // A table is made here, as wide as this terminal.
    let asked = if format == Format::Table { "json" } else { format_name };
    let path = format!("reports/{}?{}", api::segment(name), query.append_pair("format", asked).finish());
    let mut bytes =
        client.bytes(&path).await.map_err(|f| f.hint_for(Exit::NotFound, "`tidemill report` lists them"))?;
    let mut body = Vec::new();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(&piece?);
    }
    let mut body = String::from_utf8_lossy(&body).into_owned();
    match format {
        Format::Table => {
            let answer: Value = serde_json::from_str(&body).unwrap_or_default();
            let table = from_json(&answer)
                .ok_or_else(|| Failure::internal("the master's answer is no report: is it of a fitting release?"))?;
            Ok(table_text(args, &table, out))
        }
        Format::Json => {
            body.push('\n');
            Ok(body)
        }
        _ => Ok(body),
    }
}

async fn direct(args: &ReportArgs, name: &str, format: Format, layers: Layers, out: Output) -> Result<String> {
    let reports = load(args, &layers)?;
    let report = reports.find(name).ok_or_else(|| {
        let broken = reports.broken.iter().find(|b| b.file.ends_with(&format!("{name}.sql")));
        match broken {
            Some(broken) => Failure::usage(broken.to_string()),
            None => Failure::not_found(format!("there is no report `{name}`")).hint("`tidemill report` lists them"),
        }
    })?;
    let given = args.given();
    let given = given.iter().map(|(name, value)| (*name, value.as_str()));
    let values = Values::read(&report.head.parameters, given, OffsetDateTime::now_utc()).map_err(|wrong| {
        let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        Failure::usage(said.join("; "))
    })?;
    if format == Format::Sql {
        return Ok(report.sql_to_copy(&values));
    }
    let table = answer(args, report, &values, layers).await?;
    let text = format.write(report, &values, &table, None);
    Ok(match format {
        Format::Table => table_text(args, &table, out),
        Format::Json => text + "\n",
        _ => text,
    })
}

async fn answer(args: &ReportArgs, report: &Arc<Report>, values: &Values, mut layers: Layers) -> Result<Table> {
    let url = args.connection.database.as_deref().filter(|url| !url.is_empty());
    layers.flag("database.url", url, "--database");
    let seconds = layers.load()?.settings.reports.timeout_seconds.max(1);
    let url = super::migrate::resolve(&layers)?;
    let db = Db::connect_people(&url, 1)?;
    let bounds = Bounds { rows: ROWS, time: Duration::from_secs(seconds) };
    run_report(&db, report, values, bounds).await.map_err(|e| match e {
        Error::Database(e) => e.into(),
        Error::NoViews | Error::Refused(_) => Failure::new(Exit::Refused, e.to_string()),
        Error::TooSlow(_) => {
            Failure::new(Exit::Timeout, e.to_string()).hint("TIDEMILL_REPORTS_TIMEOUT_SECONDS gives it more")
        }
        Error::Sql { .. } if report.built_in => Failure::internal(e.to_string()),
        e => Failure::usage(e.to_string()),
    })
}

/// What a terminal shows; notes for a person go beside it.
fn table_text(args: &ReportArgs, table: &Table, out: Output) -> String {
    if table.rows.is_empty() {
        eprintln!("Nothing fits: try a longer time (--since), or fewer filters.");
    }
    text(table, width().filter(|_| out.terminal && args.out.is_none()))
}

fn load(args: &ReportArgs, layers: &Layers) -> Result<Reports> {
    let folder = match &args.folder {
        Some(folder) => Some(folder.clone()),
        None => layers.load()?.settings.reports.folder,
    };
    Ok(Reports::load(folder.as_deref()))
}

async fn list(args: &ReportArgs, layers: Layers, out: Output) -> Result<Exit> {
    let (reports, broken): (Vec<Value>, Vec<String>) = match args.connection.database.is_some() {
        true => {
            let found = load(args, &layers)?;
            let reports = found.reports.iter().map(|r| report_json(r)).collect();
            (reports, found.broken.iter().map(ToString::to_string).collect())
        }
        false => {
            let answer: Value = args.connection.client().await?.get("reports").await?;
            let broken = answer["meta"]["broken"].as_array().into_iter().flatten();
            let broken = broken.filter_map(|b| b.as_str().map(str::to_owned)).collect();
            (answer["reports"].as_array().cloned().unwrap_or_default(), broken)
        }
    };
    for file in &broken {
        eprintln!("{}", sanitize::line(file));
    }
    if out.json {
        out.document(&json!({ "reports": reports }));
        return Ok(Exit::Success);
    }
    let word = |report: &Value, name: &str| sanitize::line(report[name].as_str().unwrap_or_default());
    let mut rows: Vec<Vec<String>> = reports
        .iter()
        .map(|r| {
            let parameters = r["parameters"].as_array().into_iter().flatten();
            let names: Vec<String> = parameters.map(|p| word(p, "name")).collect();
            vec![word(r, "group"), word(r, "name"), word(r, "question"), names.join(" ")]
        })
        .collect();
    rows.sort();
    out.table(&["GROUP", "REPORT", "QUESTION", "PARAMETERS"], &rows);
    Ok(Exit::Success)
}

/// How wide the terminal is, if the standard output is one.
fn width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills the struct, which lives until it has returned.
    let known = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) } == 0;
    Some(usize::from(size.ws_col)).filter(|width| known && *width >= 20)
}
