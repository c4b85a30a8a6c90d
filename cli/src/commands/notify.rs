//! `tidemill notify`: sends what the project's reporters say, and shows what was sent.

use super::Connection;
use super::migrate::{DatabaseUrl, resolve};
use crate::api;
use crate::client::Client;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemill_schema::notices::Way;
use tidemill_service::Lifecycle;
use tidemill_service::settings::Layers;

/// What is being sent may take so long to end after the first SIGTERM.
const GRACE: Duration = Duration::from_secs(60);

/// Send notices: mail, IRC, HTTP, statuses on forges.
///
/// Who is told what stands in the project file, in c["services"]. Any number of
/// notifiers may run on one database; without a list, one sends all kinds.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  TIDEMILL_DATABASE_URL=postgres://me@db/ci tidemill notify
  tidemill notify mail irc                       only these, another process sends the rest
  tidemill notify test mail --to me@example.org
  tidemill notify deliveries --failed
Every option can stand in tidemill.toml, section [notify]."
)]
pub struct Notify {
    #[command(subcommand)]
    pub command: Option<NotifyCommand>,
    /// mail, irc, http (webhooks), forge (statuses of commits) [default: all]
    #[arg(value_name = "KIND", value_parser = way)]
    kinds: Vec<Way>,
    /// Folder with the values of secrets, a file each
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<std::path::PathBuf>,
    /// The address that people use, for links where the project file has no buildbotURL
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Subcommand)]
pub enum NotifyCommand {
    Test(Test),
    Deliveries(Deliveries),
    Retry(Retry),
}

/// Send a notice that only tries whether it arrives, and wait for the answer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill notify test mail --to me@example.org\n  tidemill notify test irc --to '#builds'\n  tidemill notify test GitHubStatusPush --to https://github.com/owner/name@COMMIT"
)]
pub struct Test {
    /// Name of the reporter in the project file; mail or irc if there is one of that kind
    #[arg(value_name = "REPORTER")]
    reporter: String,
    /// Who is told; the reporter's own address if not given
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Seconds to wait for the other side's answer
    #[arg(long, value_name = "N", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    connection: Connection,
}

/// List notices: to whom, when, with which answer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill notify deliveries\n  tidemill notify deliveries --failed --json\n  tidemill notify deliveries --reporter MailNotifier --limit 20"
)]
pub struct Deliveries {
    /// Those that were given up or grew too old
    #[arg(long)]
    failed: bool,
    /// Those that wait to be sent
    #[arg(long, conflicts_with = "failed")]
    waiting: bool,
    /// Of this reporter
    #[arg(long, value_name = "NAME")]
    reporter: Option<String>,
    /// About this build
    #[arg(long, value_name = "ID")]
    build: Option<i64>,
    /// So many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

/// Send again what was given up, by the active configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill notify retry 1201 1202\n  tidemill notify retry --all\n  tidemill notify retry --waiting     the mail server is up again"
)]
pub struct Retry {
    /// Ids of deliveries
    #[arg(value_name = "ID", required_unless_present_any = ["all", "waiting"], conflicts_with_all = ["all", "waiting"])]
    ids: Vec<i64>,
    /// All that were given up
    #[arg(long, conflicts_with = "waiting")]
    all: bool,
    /// Not those that were given up: what waits for another try is tried now
    #[arg(long)]
    waiting: bool,
    #[command(flatten)]
    connection: Connection,
}

fn way(text: &str) -> Result<Way, String> {
    Way::named(text).ok_or_else(|| "kinds are mail, irc, http and forge".to_owned())
}

/// The daemon.
pub async fn run(args: Notify, mut layers: Layers) -> Result<Exit> {
    layers.flag("notify.secrets_dir", args.secrets_dir.as_ref().map(|d| d.display()), "--secrets-dir");
    layers.flag("notify.public_url", args.public_url, "--public-url");
    layers.flag("database.url", args.database.url, "--database");
    let settings = layers.load()?.settings;
    tidemill_service::telemetry::init(settings.log.format, "info");
    let notify = settings.notify;
    let public_url = notify.public_url.or(settings.master.public_url);
    let settings = tidemill_notifiers::Settings {
        database_url: resolve(&layers)?,
        max_connections: settings.database.max_connections,
        ways: if args.kinds.is_empty() { Way::ALL.to_vec() } else { args.kinds },
        public_url: public_url.unwrap_or_else(|| format!("http://{}", settings.master.listen)),
        secrets_dir: notify.secrets_dir.or(settings.master.secrets_dir),
        each: usize::try_from(notify.each).unwrap_or(8).max(1),
        most: usize::try_from(notify.most).unwrap_or(64).max(1),
        again: Duration::from_secs(notify.again_seconds.clamp(1, 3600)),
        term: Duration::from_secs(notify.lease_seconds.max(3)),
        local_addresses: notify.local_addresses,
    };
    let life = Lifecycle::new();
    life.watch_signals(GRACE).doing(|| "listen for signals".into())?;
    tidemill_notifiers::run(settings, life).await.map_err(|e| Failure::new(Exit::Unreachable, e.to_string()))?;
    Ok(Exit::Success)
}

/// What asks a master.
pub async fn ask(command: NotifyCommand, out: Output) -> Result<Exit> {
    match command {
        NotifyCommand::Test(args) => test(args, out).await,
        NotifyCommand::Deliveries(args) => deliveries(args, out).await,
        NotifyCommand::Retry(args) => retry(args, out).await,
    }
}

async fn test(args: Test, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let body = json!({ "reporter": args.reporter, "to": args.to });
    let asked: Value = client.post("deliveries/test", &body).await?;
    let id = asked["message_id"].as_str().unwrap_or_default().to_owned();
    let found = answered(&client, &id, Duration::from_secs(args.wait)).await?;
    if out.json {
        out.document(&json!({ "delivery": found }));
    } else if let Some(found) = &found {
        out.line(&row(found).join("  "));
    }
    match found.as_ref().and_then(|f| f["state"].as_str()) {
        Some("sent") => Ok(Exit::Success),
        Some("parked") => Err(Failure::new(Exit::Failure, "the other side refused it")
            .hint("what it said is shown above; correct the reporter, then try again")),
        Some(_) => Err(Failure::new(Exit::Failure, format!("not sent within {} s", args.wait))
            .hint("its state is on the page /notices; it is tried on")),
        None => Err(Failure::new(Exit::Failure, format!("nobody planned it within {} s", args.wait))
            .hint("is a notifier running? `tidemill notify`, beside the database")),
    }
}

/// The delivery once it has ended, or as it stands when the time is over.
async fn answered(client: &Client, message_id: &str, patience: Duration) -> Result<Option<Value>> {
    let begun = Instant::now();
    loop {
        let path = format!("deliveries?message_id={message_id}");
        let found = api::list_raw(client, &path, "deliveries").await?.into_iter().next();
        let open = found.as_ref().is_none_or(|f| matches!(f["state"].as_str(), Some("due" | "sending")));
        if !open || begun.elapsed() >= patience {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn deliveries(args: Deliveries, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let mut path = format!("deliveries?order=-deliveryid&limit={}", args.limit);
    if args.failed {
        path += "&state__eq=parked&state__eq=expired";
    }
    if args.waiting {
        path += "&state__eq=due&state__eq=sending";
    }
    if let Some(reporter) = &args.reporter {
        path += &format!("&reporter={}", tidemill_model::pages::segment(reporter));
    }
    if let Some(build) = args.build {
        path += &format!("&buildid={build}");
    }
    let raw = api::list_raw(&client, &path, "deliveries").await?;
    if out.json {
        out.document(&json!({ "deliveries": raw }));
        return Ok(Exit::Success);
    }
    if raw.is_empty() {
        eprintln!("No notices fit.");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = raw.iter().map(row).collect();
    out.table(&["ID", "STATE", "REPORTER", "TO", "ABOUT", "ANSWER"], &rows);
    Ok(Exit::Success)
}

async fn retry(args: Retry, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let body = match (args.all, args.waiting) {
        (true, _) => json!({ "all": true }),
        (_, true) => json!({ "waiting": true }),
        _ => json!({ "deliveryids": args.ids }),
    };
    let answer: Value = client.post("deliveries/retry", &body).await?;
    if out.json {
        out.document(&answer);
    } else {
        let due = answer["due"].as_array().map_or(0, Vec::len);
        out.line(&format!("{due} notices are due again"));
    }
    let left: Vec<String> = answer["left"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if left.is_empty() {
        return Ok(Exit::Success);
    }
    Err(Failure::new(Exit::Failure, format!("left as they are: {}", left.join(", "))).hint(
        "only notices that were given up or grew too old are sent again: see `tidemill notify deliveries --failed`",
    ))
}

fn row(d: &Value) -> Vec<String> {
    let text = |name: &str| sanitize::line(d[name].as_str().unwrap_or_default());
    let about = match d["buildid"].as_i64() {
        Some(build) => format!("build {build} {}", text("mode")),
        None => format!("{} {}", text("moment"), text("mode")),
    };
    vec![
        d["deliveryid"].to_string(),
        text("state"),
        text("reporter"),
        text("address"),
        about.trim().to_owned(),
        text("answer"),
    ]
}
