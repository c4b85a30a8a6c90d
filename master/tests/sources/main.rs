//! Pollers against real programs and real servers of this machine.

mod forges;
mod git;
mod hg;
mod mail;
mod svn;

#[path = "../common/eventually.rs"]
mod eventually;
#[allow(dead_code)]
#[path = "../common/server.rs"]
mod server;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tidemill_lang::definition::{ChangeSourceKind, Declared};
use tidemill_lang::{Limits, Project};
use tidemill_master::pollers::functions::Functions;
use tidemill_master::pollers::{self, Found, Outcome, PollError, World};
use tidemill_model::revision::Files;
use tidemill_service::secrets::Secrets;

/// When polls are, seconds since 1970.
const NOW: i64 = 1_800_000_000;

/// A replica's folder, and a source of a project file.
struct Source {
    cache: tempfile::TempDir,
    secrets: Secrets,
    functions: Functions,
    kind: ChangeSourceKind,
}

impl Source {
    /// `source` is an expression such as `changes.SVNPoller(…)`; `before` comes before it.
    fn of(before: &str, source: &str) -> Source {
        let text = format!(
            "{before}\nc = {{}}\nBuildmasterConfig = c\n\
             c[\"builders\"] = [util.BuilderConfig(name = \"b\", workername = \"w\", factory = util.BuildFactory([]))]\n\
             c[\"change_source\"] = [{source}]\n"
        );
        let project = match Project::evaluate(&Files::single(text), &Limits::default()) {
            Ok(project) => project,
            Err(found) => panic!("{found}"),
        };
        let source = project.definition().change_sources[0].clone();
        Source {
            cache: tempfile::tempdir().unwrap(),
            secrets: Secrets::default(),
            functions: Functions::new(Some(Arc::new(project)), &source.name),
            kind: source.kind,
        }
    }

    fn world(&self) -> World<'_> {
        self.world_with(self.cache.path(), true)
    }

    fn world_with<'a>(&'a self, cache: &'a Path, local: bool) -> World<'a> {
        World { cache, local, secrets: &self.secrets, functions: &self.functions, now_us: NOW * 1_000_000 }
    }

    fn declared(&self) -> &Declared {
        match &self.kind {
            ChangeSourceKind::Declared(declared) => declared,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, cursor: Option<Value>) -> Result<Found, PollError> {
        tidemill_service::install_tls();
        match pollers::declared(self.declared(), cursor, &self.world()).await? {
            Outcome::Found(found) => Ok(found),
            Outcome::NotPolled(why) => panic!("{why:?}"),
        }
    }

    async fn poll(&self, cursor: Option<Value>) -> Found {
        self.ask(cursor).await.unwrap()
    }
}

/// Runs a program that must succeed; what it said.
fn run(program: &str, dir: &Path, args: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HGRCPATH", "")
        .env("HGPLAIN", "1")
        .env("HGUSER", "Ada <ada@example.org>")
        .output()
        .unwrap_or_else(|e| panic!("{program} is installed: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
