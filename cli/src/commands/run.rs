//! `tidemill run`

use super::{completion, property};
use crate::commands::checkconfig::folder;
use crate::error::Result;
use crate::exit::Exit;
use crate::local;
use crate::local::target::{self, Wanted};
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;
use tidemill_service::settings::Layers;

/// Run a builder's steps here, on the working tree, without a master.
///
/// The steps are the worker's own, with all that is not committed yet;
/// `steps.Git` takes the tree as it is. Exits with the build's result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill run                      the only builder of the project
  tidemill run test
  tidemill run release --property sign=yes --dir ci/
  tidemill run test --json | jq -r 'select(.event == \"step_finished\") | .name'

Nothing is checked out, fetched or cleaned; what the commands write stays in the
tree, all else is temporary. Ctrl-C stops the build in order (steps that always
run do), Ctrl-C again kills it.")]
pub struct Run {
    /// Name of the builder; may be left out where the project has one
    #[arg(value_name = "BUILDER", add = ArgValueCompleter::new(completion::project_builders))]
    builder: Option<String>,
    /// The folder of master.star; the tree is the one around it
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What the build is told of its branch [default: the one checked out]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// A property of the build; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Show folder, environment and times of each command too
    #[arg(long)]
    headers: bool,
}

pub async fn run(args: Run, layers: Layers, out: Output) -> Result<Exit> {
    let secrets = secrets(&layers)?;
    let wanted =
        Wanted { builder: args.builder, dir: folder(&args.dir), branch: args.branch, properties: args.properties };
    let Some(target) = target::find(wanted, out)? else { return Ok(Exit::Failure) };
    let end = local::build(&target, secrets, args.headers, out).await?;
    Ok(end.results.into())
}

/// The folder that the worker of this machine takes its secrets from, or one of the person's own.
fn secrets(layers: &Layers) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(tidemill_worker::SECRETS_VARIABLE) {
        return Ok(named.into());
    }
    if let Some(base) = layers.load()?.settings.worker.base {
        return Ok(base.join("secrets"));
    }
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|v| !v.is_empty()).map(PathBuf::from).or(home);
    Ok(config.unwrap_or_else(|| "/etc".into()).join("tidemill/secrets"))
}
