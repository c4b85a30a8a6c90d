//! What changes on disk while `up` runs: the project's files, and the upstream
//! of a mirror.

use super::apply::{Applied, Project, Source, plural, unbuilt};
use crate::commands::reconfig;
use crate::output::{Output, Style};
use crate::project::git::Target;
use std::sync::Arc;
use std::time::Duration;
use tidemill_service::Backoff;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_millis(700);
/// A remote repository is asked less often than a disk.
const FETCH: Duration = Duration::from_secs(5);

/// Applies the project again whenever its files differ, and tells the outcome; `told` where it has reporters.
pub async fn project(mut project: Project, out: Output, told: Arc<Notify>, end: CancellationToken) {
    let mut source = project.source.clone();
    loop {
        tokio::select! {
            _ = end.cancelled() => return,
            _ = tokio::time::sleep(LOOK) => {}
        }
        let now = match project.files() {
            Ok(files) => files,
            // An editor that writes by renaming leaves a moment without the file.
            Err(_) => continue,
        };
        if project.source != source {
            source.clone_from(&project.source);
            if let Source::Written(path) = &source {
                out.line(&format!("the project file is now {path}"));
            }
        }
        if project.tried.as_ref() == Some(&now) {
            continue;
        }
        match project.apply().await {
            Ok(applied) => {
                tell(&applied, out);
                if applied.tells() {
                    told.notify_one();
                }
            }
            Err(f) => {
                eprintln!("{}", out.err().paint(Style::Red, "the project is not changed, the last good one stays:"));
                eprintln!("{f}");
            }
        }
    }
}

/// Most lines of what changed; `tidemill config diff` has the rest.
const SHOWN: usize = 20;

/// What an applied revision changes, as `tidemill reconfig` shows it.
fn tell(applied: &Applied, out: Output) {
    let revision = applied.revision;
    out.line(&format!("{} as revision {revision} {}", out.paint(Style::Green, "project applied"), applied.summary));
    if let Some(why) = unbuilt(&applied.definition) {
        eprintln!("{why}");
    }
    let Some(changes) = &applied.changes else { return };
    if changes.is_empty() {
        return out.line("nothing that is defined changes");
    }
    let more = reconfig::show_first(changes, SHOWN, out);
    if more > 0 {
        let lines = plural(more, "more line");
        out.line(&out.paint(
            Style::Dim,
            &format!("… {lines}: `tidemill config diff A {revision}`, A from `tidemill config list`"),
        ));
    }
}

/// Keeps a mirror up to date.
pub async fn upstream(target: Target, out: Output, end: CancellationToken) {
    if target.upstream.is_none() {
        return;
    }
    let mut backoff = Backoff::new(FETCH, Duration::from_secs(60));
    let mut wait = FETCH;
    let mut told = false;
    loop {
        tokio::select! {
            _ = end.cancelled() => return,
            _ = tokio::time::sleep(wait) => {}
        }
        let fetching = target.clone();
        let done = tokio::task::spawn_blocking(move || fetching.fetch()).await;
        match done {
            Ok(Err(f)) => {
                if !std::mem::replace(&mut told, true) {
                    eprintln!("{}", out.err().paint(Style::Yellow, &format!("cannot fetch, trying on: {}", f.message)));
                }
                wait = backoff.wait();
            }
            _ => {
                if std::mem::take(&mut told) {
                    eprintln!("fetching works again");
                }
                backoff.reset();
                wait = FETCH;
            }
        }
    }
}
