//! The commands, one file each.

pub mod builders;
pub mod builds;
pub mod cancel;
pub mod checkconfig;
pub mod completion;
pub mod config;
pub mod direct;
pub mod doc;
pub mod follow;
pub mod force;
pub mod init;
pub mod locks;
pub mod log;
pub mod logstream;
pub mod lsp;
pub mod master;
pub mod migrate;
pub mod notify;
pub mod pause;
pub mod plan;
pub mod reconfig;
pub mod report;
pub mod report_facts;
pub mod report_grants;
pub mod requests;
pub mod run;
pub mod schedulers;
pub mod sendchange;
pub mod settings;
pub mod sources;
pub mod token;
pub mod try_builds;
pub mod user;
pub mod watch;
pub mod worker;
pub mod workers;

use crate::client::Client;
use crate::error::{Failure, Result};

/// Where to find a master.
#[derive(Debug, clap::Args)]
pub struct Connection {
    /// Address of any master [default: the running `tidemill up`, else http://127.0.0.1:8480]
    #[arg(long, value_name = "URL", env = "TIDEMILL_MASTER")]
    pub master: Option<String>,
    /// Ask the database itself, without a running master; alone it is the one of the settings
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub database: Option<String>,
}

impl Connection {
    pub async fn client(&self) -> Result<Client> {
        match &self.database {
            Some(url) => direct::client(url).await,
            None => Client::find(self.master.as_deref().filter(|m| !m.is_empty())),
        }
    }
}

/// `NAME=VALUE`; the value is text.
pub fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

/// A field that must be in an answer.
pub fn field(answer: &serde_json::Value, name: &str) -> Result<i64> {
    answer[name].as_i64().ok_or_else(|| Failure::internal(format!("the master's answer has no {name}: {answer}")))
}
