//! Tokens that are made beside the database and handed out once.

use super::migrate::DatabaseUrl;
use crate::error::Result;
use crate::exit::Exit;
use crate::locate::write_secret;
use crate::output::Output;
use std::path::PathBuf;
use tidemill_schema::Db;
use tidemill_service::settings::Layers;

/// Whose token, and where it goes.
#[derive(Debug, clap::Args)]
pub struct NewToken {
    pub name: String,
    /// Write the token there (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseUrl,
}

impl NewToken {
    pub async fn connect(&self, layers: &mut Layers) -> Result<Db> {
        self.database.connect(layers).await
    }

    /// Hands the token to the person, once.
    pub fn give(&self, secret: &str, out: Output) -> Result<Exit> {
        let name = &self.name;
        match &self.token_file {
            Some(path) => {
                write_secret(path, secret)?;
                if out.json {
                    out.document(&serde_json::json!({ "name": name, "token_file": path }));
                } else {
                    out.line(&format!("the token of {name} is in {}", path.display()));
                }
            }
            None if out.json => out.document(&serde_json::json!({ "name": name, "token": secret })),
            None => {
                out.line(secret);
                eprintln!("This is the token of {name}. It is shown only now; a former one no longer works.");
            }
        }
        Ok(Exit::Success)
    }
}
