//! A build in this process, on the working tree, without a master
//! (`tidemill run`).
//!
//! The worker is the real one: it asks a master of one build ([`master`]) on
//! loopback for work, evaluates the project, and runs the steps in a temporary
//! base folder where the tree stands in for the checkout. What it reports is
//! shown as it comes. Guaranteed: when this returns, no process of the build
//! and nothing of the base folder is left.

mod events;
mod headers;
mod lines;
mod master;
mod show;
pub mod target;

use crate::error::{Doing, Failure, Result};
use crate::output::Output;
use events::Events;
use master::Master;
use show::Show;
use std::io;
use std::path::PathBuf;
use target::Target;
use tidemill_model::Results;
use tidemill_model::wire::{Claim, Event, Frame, Stop};
use tidemill_service::Lifecycle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Batches that wait to be shown; beyond that the build waits too.
const WAITING: usize = 16;

/// Most output that waits on disk while nobody reads it.
const SPOOL_MAX: u64 = 1 << 30;

/// The only build of the only session.
const BUILD: i64 = 1;

/// How it ended.
pub struct End {
    pub results: Results,
    pub summary: String,
}

/// Shows what happens; an error means that nobody reads it any more.
trait View: Send {
    fn frame(&mut self, frame: &Frame) -> io::Result<()>;
    /// After all that came at once.
    fn pause(&mut self) -> io::Result<()>;
    fn end(&mut self, end: &End) -> io::Result<()>;
}

/// What came at once, for the one who shows it; none is the end.
type Batch = Option<Vec<Frame>>;

/// Runs the build to its end.
pub async fn build(target: &Target, secrets: PathBuf, headers: bool, out: Output) -> Result<End> {
    let view: Box<dyn View> = match out.json {
        true => Box::new(Events::begin(target, headers)),
        false => Box::new(Show::begin(target, headers, out)),
    };
    let base = tempfile::Builder::new()
        .prefix("tidemill-run-")
        .tempdir()
        .doing(|| format!("make a folder in {}", std::env::temp_dir().display()))?;
    let (sender, batches) = mpsc::channel(WAITING);
    let token = tidemill_service::token::generate(tidemill_service::token::Kind::Worker);
    let master = Master::start(claim(target), target.files.clone(), token.clone(), sender.clone()).await?;
    let settings = tidemill_worker::Settings {
        master: master.url().to_owned(),
        token,
        name: target.worker.clone(),
        base: base.path().to_owned(),
        labels: Default::default(),
        slots: 1,
        spool_max: SPOOL_MAX,
        secrets_dir: Some(secrets),
        tree: Some(target.tree.clone()),
    };
    tidemill_worker::own_process();
    let mut wish = Wish::new()?;
    let unread = CancellationToken::new();
    let told = unread.clone();
    // A terminal that stands still holds up the build and not the signals.
    let shown = tokio::task::spawn_blocking(move || show(view, batches, &told));
    let life = Lifecycle::new();
    let mut worker = tokio::spawn(tidemill_worker::run(settings, life.clone()));
    let outcome = loop {
        tokio::select! {
            outcome = &mut worker => break outcome,
            () = wish.heard() => match wish.count {
                1 => {
                    eprintln!("stopping the build; Ctrl-C again kills it");
                    master.stop(stop("interrupted"));
                }
                _ => life.stop(),
            },
            () = unread.cancelled(), if wish.count == 0 => {
                wish.count = 1;
                master.stop(stop("nobody reads the output"));
            }
        }
    };
    let removed = base.close();
    outcome
        .map_err(|_| Failure::internal("the worker in this process panicked"))?
        .map_err(|error| Failure::internal(format!("the worker in this process: {error}")))?;
    if let Err(error) = removed {
        eprintln!("cannot remove the temporary folder of the build: {error}");
    }
    let ending = async {
        let _ = sender.send(None).await;
        shown.await
    };
    tokio::select! {
        end = ending => end.map_err(|_| Failure::internal("what shows the build panicked")),
        // Nobody reads on: what is left unsaid is that it was killed.
        () = wish.heard() => Ok(killed()),
    }
}

/// Shows all of it, on a thread that may wait for its reader.
fn show(mut view: Box<dyn View>, mut batches: mpsc::Receiver<Batch>, unread: &CancellationToken) -> End {
    let mut end = None;
    while let Some(Some(frames)) = batches.blocking_recv() {
        for frame in &frames {
            if let Frame::Event(Event::BuildFinished { results, summary, .. }) = frame {
                end = Some(End { results: *results, summary: summary.clone() });
            }
        }
        if !unread.is_cancelled() {
            let shown = frames.iter().try_for_each(|frame| view.frame(frame)).and_then(|()| view.pause());
            if shown.is_err() {
                unread.cancel();
            }
        }
    }
    let end = end.unwrap_or_else(killed);
    let _ = view.end(&end);
    end
}

/// Without a word of the worker about its end.
fn killed() -> End {
    End { results: Results::Cancelled, summary: "cancelled: killed".into() }
}

fn stop(reason: &str) -> Stop {
    Stop { build: BUILD, reason: reason.to_owned(), results: Results::Cancelled }
}

fn claim(target: &Target) -> Claim {
    Claim {
        build: BUILD,
        token: tidemill_service::token::random_hex(16),
        attempt: 1,
        builder: target.builder.clone(),
        builder_id: 1,
        number: 0,
        request: 1,
        revision: target.files.hash(),
        properties: target.properties.clone(),
        sourcestamps: vec![target.stamp.clone()],
        reason: target::REASON.into(),
        changes: vec![],
        trusted: true,
        url: String::new(),
    }
}

/// What the person wants by signals.
struct Wish {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    count: u32,
}

impl Wish {
    fn new() -> Result<Wish> {
        let listen = |kind| signal(kind).doing(|| "listen for signals".into());
        Ok(Wish {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            count: 0,
        })
    }

    async fn heard(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        self.count += 1;
    }
}
