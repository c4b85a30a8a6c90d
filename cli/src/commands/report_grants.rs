//! `tidemill report grant`, `revoke`, `grants`: who sees projects that are not
//! public in the schema `report`. They write to the database itself, as `migrate`.

use super::migrate::DatabaseUrl;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use tidemill_schema::report_grants::{self, ReportGrant};
use tidemill_schema::{Db, Error};
use tidemill_service::settings::Layers;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, clap::Subcommand)]
pub enum Access {
    /// Let a role of the database, and its members, see a project that is not public
    #[command(after_help = "\
Examples:
  tidemill report grant alice backend
  tidemill report grant release_team --all
The role must be able to read the views too: grant tidemill_reporter to alice")]
    Grant(Grant),
    /// Take back what was granted
    #[command(after_help = "\
Examples:
  tidemill report revoke alice backend
  tidemill report revoke release_team --all")]
    Revoke(Revoke),
    /// List who sees which projects that are not public
    #[command(after_help = "Examples:\n  tidemill report grants\n  tidemill report grants --json")]
    Grants(Grants),
}

#[derive(Debug, clap::Args)]
pub struct Grant {
    #[command(flatten)]
    what: What,
    /// All projects, also those that come later
    #[arg(long, required_unless_present = "project", conflicts_with = "project")]
    all: bool,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
pub struct Revoke {
    #[command(flatten)]
    what: What,
    /// Everything that the role was granted
    #[arg(long, required_unless_present = "project", conflicts_with = "project")]
    all: bool,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
struct What {
    /// A role of the database: of a person, a program, or a group
    role: String,
    /// Name of the project
    project: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Grants {
    #[command(flatten)]
    database: DatabaseUrl,
}

pub async fn run(args: Access, mut layers: Layers, out: Output) -> Result<Exit> {
    match args {
        Access::Grant(Grant { what, database, .. }) => {
            let db = database.connect(&mut layers).await?;
            grant(&db, &what, out).await
        }
        Access::Revoke(Revoke { what, database, .. }) => {
            let db = database.connect(&mut layers).await?;
            revoke(&db, &what, out).await
        }
        Access::Grants(Grants { database }) => {
            let db = database.connect(&mut layers).await?;
            list(&report_grants::report_grants(&db).await?, out);
            Ok(Exit::Success)
        }
    }
}

async fn grant(db: &Db, what: &What, out: Output) -> Result<Exit> {
    let What { role, project } = what;
    let added = report_grants::report_grant_add(db, role, project.as_deref()).await.map_err(|e| unknown(e, role))?;
    let all = report_grants::report_grants(db).await?;
    let reads = all.iter().any(|g| g.role == *role && g.reads);
    if out.json {
        out.document(&serde_json::json!({ "role": role, "project": project, "added": added, "reads": reads }));
    } else {
        let sees = project.as_ref().map_or_else(|| "all projects".to_owned(), |p| format!("project {p}"));
        out.line(&format!("{role} sees {sees}{}", if added { "" } else { ", as before" }));
    }
    if !reads {
        eprintln!(
            "It may not read the views yet: grant tidemill_reporter to \"{role}\" (`tidemill migrate --roles` makes that role)."
        );
    }
    Ok(Exit::Success)
}

async fn revoke(db: &Db, what: &What, out: Output) -> Result<Exit> {
    let What { role, project } = what;
    let removed = report_grants::report_grant_remove(db, role, project.as_deref()).await?;
    let all = report_grants::report_grants(db).await?;
    let still = project.is_some() && all.iter().any(|g| g.role == *role && g.project.is_none());
    if removed == 0 {
        let named = project.as_ref().map_or_else(|| "nothing".to_owned(), |p| format!("no grant of project {p}"));
        let failure = Failure::not_found(format!("{role} has {named}"));
        return Err(failure.hint(if still {
            "it sees all projects: take that back with --all, and grant the single ones"
        } else {
            "`tidemill report grants` lists what is granted; a member of a group has what the group has"
        }));
    }
    if out.json {
        out.document(&serde_json::json!({ "role": role, "project": project, "removed": removed }));
    } else {
        out.line(&format!(
            "{} taken back from {role}",
            crate::up::plural(usize::try_from(removed).unwrap_or(usize::MAX), "grant")
        ));
    }
    if still {
        eprintln!("{role} goes on seeing it: all projects are granted to it too.");
    }
    Ok(Exit::Success)
}

fn unknown(e: Error, role: &str) -> Failure {
    match e {
        Error::NotFound(text) if text.contains("role") => {
            let role = role.replace('"', "\"\"");
            Failure::not_found(text)
                .hint(format!("make it first: create role \"{role}\" login; grant tidemill_reporter to \"{role}\""))
        }
        Error::NotFound(text) => Failure::not_found(text)
            .hint("projects are those of util.Project in the project file; what is of none is seen by all"),
        e => e.into(),
    }
}

fn list(grants: &[ReportGrant], out: Output) {
    if out.json {
        let grants = grants.iter().map(|g| {
            serde_json::json!({
                "role": g.role, "project": g.project, "granted_by": g.granted_by, "role_exists": g.role_exists,
                "granted_at": g.granted_at.format(&Rfc3339).unwrap_or_default(), "reads": g.reads,
            })
        });
        out.document(&serde_json::Value::from(grants.collect::<Vec<_>>()));
        return;
    }
    if grants.is_empty() {
        eprintln!("Nothing is granted: projects that are not public are seen by the owner of the tables only.");
    }
    let rows: Vec<Vec<String>> = grants
        .iter()
        .map(|g| {
            let note = match (g.role_exists, g.reads) {
                (false, _) => "the database has no such role any more",
                (true, false) => "may not read the views",
                (true, true) => "",
            };
            let project = g.project.as_deref().map_or_else(|| "(all projects)".to_owned(), sanitize::line);
            vec![sanitize::line(&g.role), project, sanitize::line(&g.granted_by), note.to_owned()]
        })
        .collect();
    if !rows.is_empty() {
        out.table(&["ROLE", "PROJECT", "GRANTED BY", ""], &rows);
    }
}
