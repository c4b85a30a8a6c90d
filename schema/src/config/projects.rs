//! Projects that a revision defines: who may see them in reports.

use super::WantedProject;
use crate::Result;
use crate::changes::clean;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// What is no longer defined becomes inactive, and stays as visible as it was: its
/// history is still there.
pub async fn projects(c: &mut PgConnection, wanted: &[WantedProject]) -> Result<()> {
    // Two of one name are one, which is public if both are.
    let mut all: BTreeMap<&str, (String, bool)> = BTreeMap::new();
    for project in wanted {
        let (description, public) = all.entry(&project.name).or_insert((String::new(), true));
        *description = clean(&project.description);
        *public &= project.public;
    }
    let names: Vec<String> = all.keys().map(|n| (*n).to_owned()).collect();
    let (descriptions, public): (Vec<String>, Vec<bool>) = all.into_values().unzip();
    sqlx::query!("update projects set active = false where active and name <> all($1)", &names)
        .execute(&mut *c)
        .await?;
    sqlx::query!(
        "with w as (select * from unnest($1::text[], $2::text[], $3::bool[]) u(name, description, public)
         ), changed as (
             update projects p set active = true, description = w.description, public = w.public
               from w
              where p.name = w.name and (p.active, p.description, p.public) is distinct from (true, w.description, w.public)
         )
         insert into projects (name, description, public)
         select name, description, public from w where not exists (select from projects p where p.name = w.name)",
        &names,
        &descriptions,
        &public
    )
    .execute(c)
    .await?;
    Ok(())
}
