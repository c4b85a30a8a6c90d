//! The course of `tidemill up`, from nothing to the page, and back.

use super::apply::{Applied, Project, Source, longest_timer, plural, unbuilt, worker_names};
use super::database::Database;
use super::first::{self, Known, Newest};
use super::follow::Follower;
use super::notifier::Notifier;
use super::state::{self, State};
use super::stop::Stop;
use super::supervise::{Plan, Supervised};
use super::{Up, listen, watch};
use crate::client::Client;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::locate::{self, Location, Pointer, write_secret};
use crate::output::{Output, Style};
use crate::project::git::{Target, is_url};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_schema::Db;
use tidemill_service::settings::{Layers, Settings};
use tidemill_service::token;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A master that is not ready by then has a fault that waiting does not cure.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// So many early ends of the master are no accident.
const ENDS_MAX: u32 = 4;

/// Secrets and addresses of ours that children do not need. Each gets its own.
const NOT_INHERITED: [&str; 5] = [
    "TIDEMILL_TOKEN",
    "TIDEMILL_MASTER",
    "TIDEMILL_DATABASE_URL",
    "TIDEMILL_DATABASE_URL_FILE",
    "TIDEMILL_WORKER_TOKEN",
];

pub async fn up(args: Up, layers: Layers, out: Output) -> Result<Exit> {
    let stop = Stop::on_signals().doing(|| "listen for signals".into())?;
    let settings = layers.load()?.settings;
    let (state, target) = open(&args)?;
    greet(&args, &target, &state, out);

    let database = tokio::select! {
        database = database(&args, &settings, &state, out) => database?,
        _ = stop.now.cancelled() => return Ok(Exit::Cancelled),
    };
    let mut running = Running::default();
    let site = Site {
        args: &args,
        settings: &settings,
        state: &state,
        target: &target,
        database: &database,
        stop: &stop,
        out,
    };
    let outcome = run(&site, &mut running).await;
    if outcome.is_err() {
        // Nothing was promised yet that would be worth waiting for.
        stop.now.cancel();
    }
    running.end(&stop, out).await;
    database.end().await?;
    out.line(&out.paint(Style::Dim, "stopped"));
    outcome
}

/// What is to be ended, in this order.
#[derive(Default)]
struct Running {
    pointer: Option<Pointer>,
    tasks: CancellationToken,
    workers: Vec<Supervised>,
    follower: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
    master: Option<Supervised>,
    notifier: Option<Notifier>,
}

impl Running {
    async fn end(mut self, stop: &Stop, out: Output) {
        self.tasks.cancel();
        stop.drain.cancel();
        if !self.workers.is_empty() && !stop.now.is_cancelled() {
            eprintln!("{}", out.err().paint(Style::Dim, "finishing what runs; Ctrl-C stops it at once"));
        }
        let mut workers: Vec<_> = self.workers.drain(..).map(|w| Box::pin(w.end(&stop.now))).collect();
        for worker in &mut workers {
            worker.await;
        }
        if let Some(notifier) = self.notifier.take() {
            notifier.end(&stop.now).await;
        }
        if let Some((end, task)) = self.follower.take() {
            end.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
        }
        if let Some(pointer) = &self.pointer {
            locate::remove_pointer(pointer);
        }
        if let Some(master) = self.master.take() {
            master.end(&stop.now).await;
        }
    }
}

/// Finds what to build and takes its state folder.
fn open(args: &Up) -> Result<(State, Target)> {
    if is_url(&args.target) {
        let name = args.target.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or("project");
        let dir = match &args.state_dir {
            Some(dir) => dir.clone(),
            None => state::default_dir(name.trim_end_matches(".git"), &[&args.target])?,
        };
        let state = State::open(dir)?;
        let target = Target::remote(&args.target, &state.path("mirror.git"))?;
        return Ok((state, target));
    }
    let target = Target::local(Path::new(&args.target))?;
    let project = target.project.as_ref().map(|p| p.display().to_string()).unwrap_or_else(|| target.repository.clone());
    // One written later at the top belongs to the same state.
    let dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None => state::default_dir(&target.name, &[&target.repository, &project])?,
    };
    Ok((State::open(dir)?, target))
}

fn greet(args: &Up, target: &Target, state: &State, out: Output) {
    eprintln!(
        "Building {}  {}",
        out.err().paint(Style::Bold, &target.shown),
        out.err().paint(Style::Dim, &format!("state in {}", state.dir.display()))
    );
    let uncommitted = target.uncommitted();
    if uncommitted > 0 && !args.once {
        eprintln!(
            "Commits are built: {} with uncommitted changes will be built once committed.",
            plural(uncommitted, "file")
        );
    } else if uncommitted > 0 {
        eprintln!("The newest commit is built, without the uncommitted changes in {}.", plural(uncommitted, "file"));
    }
}

async fn database(args: &Up, settings: &Settings, state: &State, out: Output) -> Result<Database> {
    let given = match &args.database {
        Some(url) => Some(url.clone()),
        None => settings.database.resolve()?,
    };
    match given {
        Some(_) if args.upgrade_database => {
            Err(Failure::usage("--upgrade-database is for the private PostgreSQL only")
                .hint("leave out --database (and database.url)"))
        }
        Some(url) => Ok(Database::given(url)),
        None => Database::private(state.path("postgres"), args.upgrade_database, out).await,
    }
}

/// What everything of one `up` has to do with.
struct Site<'a> {
    args: &'a Up,
    settings: &'a Settings,
    state: &'a State,
    target: &'a Target,
    database: &'a Database,
    stop: &'a Stop,
    out: Output,
}

/// Starts all there is, and returns when it is to end.
async fn run(site: &Site<'_>, running: &mut Running) -> Result<Exit> {
    let Site { args, settings, state, target, database, stop, out } = *site;
    let began = time::OffsetDateTime::now_utc().unix_timestamp();
    let db = Db::connect(&database.url, 2).await?;
    let report = tidemill_sql::migrate(&db).await?;
    if report.applied > 0 {
        eprintln!("{}", out.err().paint(Style::Dim, &format!("applied {}", plural(report.applied, "migration"))));
    }

    let address = listen::choose(args.listen, settings.master.listen, &state.path("address")).await?;
    let url = listen::reach(address);
    let token_file = control_token(state, &db, address.ip().is_loopback()).await?;
    let token = std::fs::read_to_string(&token_file).doing(|| format!("read {}", token_file.display()))?;
    let git = git_environment(state, target)?;
    let mut plan = master_plan(state, database, address, &token_file);
    plan.environment.extend(git.clone());
    running.master = Some(Supervised::start(plan, out));
    let client =
        Client::new(Location { url: url.clone(), token: Some(token.trim().to_owned()), origin: "tidemill up" })?;
    ready(&client, running.master.as_ref(), stop).await?;

    let mut project = Project::new(target.clone(), client.clone());
    let applied = project.apply().await.map_err(|f| match f.exit {
        Exit::Failure => f.hint("correct it and run `tidemill up` again; `tidemill checkconfig` checks it alone"),
        _ => f,
    })?;
    explain(&project.source, &applied);

    let names = worker_names(&applied.definition);
    let slots = args.workers.or(settings.worker.slots).unwrap_or_else(processors);
    for name in &names {
        let mut plan = worker_plan(state, &db, name, &url, slots, settings.worker.spool_max_bytes).await?;
        plan.environment.extend(git.clone());
        running.workers.push(Supervised::start(plan, out));
    }
    db.pool().close().await;

    let pointer = Pointer { url: url.clone(), token_file, pid: std::process::id() };
    match locate::write_pointer(&pointer) {
        Ok(()) => running.pointer = Some(pointer),
        Err(f) => eprintln!("Other commands will need --master {url} and TIDEMILL_TOKEN: {f}"),
    }
    let page = settings.master.public_url.clone().unwrap_or_else(|| url.clone());
    out.line(&format!("{}  {page}", out.paint(Style::Bold, "Page:")));

    let told = Arc::new(Notify::new());
    let plan = notifier_plan(state, database, &page);
    running.notifier = Some(Notifier::when(told.clone(), running.tasks.clone(), plan, out));
    if applied.tells() {
        told.notify_one();
    }

    let follower = Follower::new(client.clone(), out).await?;
    let end = CancellationToken::new();
    running.follower = Some((end.clone(), tokio::spawn(follower.run(end))));
    tokio::spawn(watch::upstream(target.clone(), out, running.tasks.clone()));
    let patience = longest_timer(&applied.definition);
    tokio::spawn(watch::project(project, out, told, running.tasks.clone()));

    let newest = tokio::select! {
        newest = first::announce(&client, target, args.once, began) => newest?,
        _ = stop.drain.cancelled() => return Ok(Exit::Cancelled),
    };
    let takes = unbuilt(&applied.definition).is_none();
    if args.once {
        return once(newest, takes, &client, patience, stop).await;
    }
    eprintln!("{}", greeting(&newest, takes, &short(&target.head()?.revision)));
    stop.drain.cancelled().await;
    Ok(Exit::Success)
}

/// What becomes of the newest commit.
fn greeting(newest: &Newest, takes: bool, revision: &str) -> String {
    match newest {
        Newest::Announced(_) if takes => format!("Building the newest commit {revision}"),
        Newest::Announced(_) => format!("The newest commit {revision} is known to the schedulers; waiting"),
        Newest::Known(Known::Built) => format!("The newest commit {revision} was built before; waiting for the next"),
        Newest::Known(Known::Waits) => format!("The newest commit {revision} waits to be built"),
        Newest::Known(Known::Left) => format!(
            "The newest commit {revision} was seen before and no scheduler built it; `tidemill force BUILDER` does. \
             Waiting for the next"
        ),
    }
}

async fn once(newest: Newest, takes: bool, client: &Client, patience: Duration, stop: &Stop) -> Result<Exit> {
    let Newest::Announced(first) = newest else { return Ok(Exit::Skipped) };
    if !takes {
        return Err(Failure::new(Exit::Skipped, "no scheduler of the project builds commits, so nothing is built")
            .hint("add a schedulers.SingleBranchScheduler to c[\"schedulers\"]; `tidemill run BUILDER` needs none"));
    }
    eprintln!("Building the newest commit {}", short(first.revision()));
    let results = first.result(client, patience, &stop.drain).await?;
    Ok(Exit::from(results))
}

/// The token with which this machine's people control the master. Loopback has
/// the local token; a master on the network asks for a user's.
async fn control_token(state: &State, db: &Db, loopback: bool) -> Result<PathBuf> {
    let (path, secret) = match loopback {
        true => (state.path("local-token"), token::generate(token::Kind::Local)),
        false => (state.path("user-token"), tidemill_schema::tokens::user_token_create(db, "up").await?),
    };
    write_secret(&path, &secret)?;
    Ok(path)
}

/// For a repository of another user, see [`Target::trusting_config`].
fn git_environment(state: &State, target: &Target) -> Result<Option<(String, String)>> {
    let Some(text) = target.trusting_config() else { return Ok(None) };
    let path = state.path("gitconfig");
    std::fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    Ok(Some(("GIT_CONFIG_GLOBAL".to_owned(), path.display().to_string())))
}

fn master_plan(state: &State, database: &Database, address: std::net::SocketAddr, token_file: &Path) -> Plan {
    let mut environment = vec![
        // Not an argument: it may hold a password, and the process list is for all.
        ("TIDEMILL_DATABASE_URL".to_owned(), database.url.clone()),
        ("TIDEMILL_MASTER_CACHE_DIR".to_owned(), state.path("cache").display().to_string()),
    ];
    if address.ip().is_loopback() {
        environment.push(("TIDEMILL_MASTER_LOCAL_TOKEN_FILE".to_owned(), token_file.display().to_string()));
    }
    Plan {
        name: "master".into(),
        arguments: vec!["master".into(), "--listen".into(), address.to_string()],
        environment,
        without: NOT_INHERITED.map(str::to_owned).to_vec(),
        log: state.path("master.log"),
        lock: None,
    }
}

fn notifier_plan(state: &State, database: &Database, page: &str) -> Plan {
    let mut environment = vec![("TIDEMILL_DATABASE_URL".to_owned(), database.url.clone())];
    if std::env::var_os("TIDEMILL_NOTIFY_PUBLIC_URL").is_none() {
        environment.push(("TIDEMILL_NOTIFY_PUBLIC_URL".to_owned(), page.to_owned()));
    }
    Plan {
        name: "notifier".into(),
        arguments: vec!["notify".into()],
        environment,
        without: NOT_INHERITED.map(str::to_owned).to_vec(),
        log: state.path("notifier.log"),
        lock: None,
    }
}

async fn worker_plan(state: &State, db: &Db, name: &str, url: &str, slots: u32, spool: u64) -> Result<Plan> {
    let folder = state.folder("workers")?.join(name);
    std::fs::create_dir_all(&folder).doing(|| format!("create {}", folder.display()))?;
    let token_file = state.path(&format!("workers/{name}.token"));
    // The old token stays if it is good: a worker of an earlier `up` may use it.
    let old = std::fs::read_to_string(&token_file).unwrap_or_default();
    if !enrolled(db, name, old.trim()).await? {
        write_secret(&token_file, &tidemill_schema::workers::worker_enrol(db, name).await?)?;
    }
    let settings = [
        ("MASTER", url.to_owned()),
        ("NAME", name.to_owned()),
        ("BASE", folder.display().to_string()),
        ("SLOTS", slots.to_string()),
        ("TOKEN_FILE", token_file.display().to_string()),
        ("SPOOL_MAX_BYTES", spool.to_string()),
    ];
    Ok(Plan {
        name: format!("worker {name}"),
        arguments: vec!["worker".into()],
        environment: settings.map(|(k, v)| (format!("TIDEMILL_WORKER_{k}"), v)).to_vec(),
        without: NOT_INHERITED.map(str::to_owned).to_vec(),
        log: state.path(&format!("worker-{name}.log")),
        lock: Some(folder.join("lock")),
    })
}

async fn enrolled(db: &Db, name: &str, secret: &str) -> Result<bool> {
    let mut c = db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
    let found = tidemill_schema::workers::worker_by_token(&mut c, secret).await?;
    Ok(found.is_some_and(|(_, owner)| owner == name))
}

async fn ready(client: &Client, master: Option<&Supervised>, stop: &Stop) -> Result<()> {
    let begun = Instant::now();
    let log = || master.map(|m| m.plan.log.clone()).unwrap_or_default();
    loop {
        if client.ready().await {
            return Ok(());
        }
        let ends = master.map_or(0, Supervised::ends);
        if ends >= ENDS_MAX || begun.elapsed() > READY_WITHIN {
            return Err(Failure::internal(format!(
                "the master does not come up. The end of {}:\n{}",
                log().display(),
                state::tail(&log(), 10)
            )));
        }
        tokio::select! {
            _ = stop.drain.cancelled() => return Err(Failure::new(Exit::Cancelled, "stopped before the master was ready")),
            _ = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

fn explain(source: &Source, applied: &Applied) {
    match source {
        Source::Written(path) => {
            eprintln!("The project file is {path} {}", applied.summary);
            if applied.poller_added {
                eprintln!("It has no change source, so this repository is watched: every new commit, on every branch.");
            }
            if let Some(why) = unbuilt(&applied.definition) {
                eprintln!("{why}");
            }
        }
        Source::Guessed(found) if found.is_empty() => {
            eprintln!(
                "There is no master.star, and nothing in the repository tells how it is tested: it is only checked out."
            );
            eprintln!("`tidemill init` writes a first master.star to put your commands in.");
        }
        Source::Guessed(found) => {
            eprintln!("There is no master.star; from what is there, this is built: {}", found.join(", "));
            eprintln!("`tidemill init` writes that down as master.star, to be changed.");
        }
    }
}

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

fn short(revision: &str) -> String {
    revision.chars().take(12).collect()
}
