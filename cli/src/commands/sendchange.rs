//! `tidemill sendchange`

use super::{Connection, field, property};
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use tidemill_model::{NewChange, Properties};

/// Announce a change to the schedulers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill sendchange --repository https://host/x.git --branch main --revision 4f2a1c --author me src/a.c
  git log -1 --format=%B | tidemill sendchange --comments - --branch main
  git diff-tree -rz --no-commit-id --name-only HEAD | tidemill sendchange --files-from - --branch main
Exits 0 only when the change is stored. With --idempotency-key it may be sent again: it is stored once.")]
pub struct SendChange {
    /// Paths that the change touches
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// One more path; may be given again
    #[arg(long = "file", value_name = "FILE")]
    more_files: Vec<String>,
    /// A file with more paths, each ended by NUL or a newline; `-` is the standard input
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    #[arg(long, short = 'W', alias = "who", value_name = "NAME", default_value = "")]
    author: String,
    #[arg(long, value_name = "NAME")]
    committer: Option<String>,
    /// The message; `-` reads it from the standard input
    #[arg(long, short = 'c', value_name = "TEXT", default_value = "")]
    comments: String,
    /// A file with the message
    #[arg(long, short = 'F', alias = "logfile", value_name = "FILE", conflicts_with = "comments")]
    comments_from: Option<PathBuf>,
    #[arg(long, short = 'b', value_name = "BRANCH")]
    branch: Option<String>,
    #[arg(long, short = 'r', value_name = "REVISION")]
    revision: Option<String>,
    #[arg(long, short = 'R', value_name = "URL", default_value = "")]
    repository: String,
    #[arg(long, short = 'P', value_name = "NAME", default_value = "")]
    project: String,
    #[arg(long, value_name = "NAME", default_value = "")]
    codebase: String,
    #[arg(long, short = 'C', value_name = "NAME")]
    category: Option<String>,
    /// Where the change can be looked at
    #[arg(long, value_name = "URL")]
    revlink: Option<String>,
    /// When it was made, seconds since 1970
    #[arg(long, short = 'w', value_name = "SECONDS")]
    when: Option<i64>,
    /// A property for the builds; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// The change is stored once for each such text, however often it is sent
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: SendChange, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let stdin = |what: &'static str| move || format!("read {what} from the standard input");
    let from_stdin = args.files_from.as_deref() == Some(Path::new("-"));
    if from_stdin && args.comments == "-" {
        return Err(Failure::usage("--comments - and --files-from - cannot both read the standard input"));
    }
    let comments = match (args.comments.as_str(), &args.comments_from) {
        ("-", _) => std::io::read_to_string(std::io::stdin()).doing(stdin("the message"))?,
        (_, Some(path)) => text_of(&std::fs::read(path).doing(|| format!("read {}", path.display()))?),
        (_, None) => args.comments,
    };
    let mut files = args.files;
    files.extend(args.more_files);
    if let Some(path) = &args.files_from {
        let mut listed = Vec::new();
        match from_stdin {
            true => {
                std::io::stdin().read_to_end(&mut listed).doing(stdin("paths"))?;
            }
            false => listed = std::fs::read(path).doing(|| format!("read {}", path.display()))?,
        }
        files.extend(paths(&listed));
    }
    let when = match args.when {
        None => None,
        Some(s) => Some(
            time::OffsetDateTime::from_unix_timestamp(s)
                .map_err(|_| Failure::usage(format!("--when {s} is no time")))?,
        ),
    };
    let mut properties = Properties::new();
    for (name, value) in args.properties {
        properties.set(name, value, "Change");
    }
    let change = NewChange {
        author: args.author,
        committer: args.committer,
        comments,
        files,
        branch: args.branch,
        revision: args.revision,
        repository: args.repository,
        project: args.project,
        codebase: args.codebase,
        category: args.category,
        revlink: args.revlink,
        when,
        properties,
        outsider: None,
    };
    let answer: Value = client.post_once("changes", &change, args.idempotency_key.as_deref()).await?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&format!("change {}", field(&answer, "changeid")?)),
    }
    Ok(Exit::Success)
}

/// Paths ended by NUL, or by newlines where there is no NUL. What is no UTF-8 is replaced.
fn paths(listed: &[u8]) -> Vec<String> {
    let end = if listed.contains(&0) { 0 } else { b'\n' };
    listed.split(|b| *b == end).filter(|p| !p.is_empty()).map(text_of).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_end_by_nul_or_by_newlines() {
        assert_eq!(paths(b"a b\0c\nd\0"), ["a b", "c\nd"]);
        assert_eq!(paths(b"a b\nc\n"), ["a b", "c"]);
        assert_eq!(paths(b""), Vec::<String>::new());
    }
}
