//! `tidemill settings`

use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use tidemill_service::settings::Layers;

/// Show the process settings. Secrets are never shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill settings
  tidemill settings --origin        and where each value comes from
Defaults < tidemill.toml < TIDEMILL_SECTION_KEY < flags.")]
pub struct SettingsArgs {
    /// Where each value comes from
    #[arg(long)]
    origin: bool,
}

pub fn run(args: SettingsArgs, layers: &Layers, out: Output) -> Result<Exit> {
    let shown = layers.load()?.shown;
    if out.json {
        out.document(&serde_json::json!({ "settings": shown }));
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|s| {
            let mut row = vec![s.key.to_owned(), s.value.clone().unwrap_or_else(|| "-".into())];
            row.push(if args.origin { s.origin.clone() } else { s.help.to_owned() });
            row
        })
        .collect();
    out.table(&["SETTING", "VALUE", if args.origin { "FROM" } else { "WHAT IT IS" }], &rows);
    Ok(Exit::Success)
}
