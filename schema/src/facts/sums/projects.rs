//! Which project a build counts for in sums that several builders share.
//!
//! Who may not see a project must not see its part of a sum either: so a private one
//! has its own. That is decided when a build's fact is stored.

use crate::Result;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};

/// The builder that a build appears under, and the one that was asked: another one if
/// the first is virtual.
pub type Builders = (i64, i64);

#[derive(Clone, Debug, Default)]
pub struct Project {
    pub name: String,
    /// One that is not public: that of the builder, or of the one that was asked.
    pub private: Option<String>,
}

impl Project {
    /// Where it counts among the totals: empty is what all see.
    pub fn of_totals(&self) -> &str {
        self.private.as_deref().unwrap_or_default()
    }

    /// Where it counts by project.
    pub fn shown_as(&self) -> &str {
        self.private.as_deref().unwrap_or(&self.name)
    }
}

pub type Projects = HashMap<Builders, Project>;

pub async fn projects(c: &mut PgConnection, of: impl IntoIterator<Item = Builders>) -> Result<Projects> {
    let of: BTreeSet<Builders> = of.into_iter().collect();
    let (own, asked): (Vec<i64>, Vec<i64>) = of.into_iter().unzip();
    let rows = sqlx::query!(
        r#"select u.own as "own!", u.asked as "asked!", o.project,
                  (select p.name from projects p
                    where not p.public and p.name in (o.project, a.project)
                    order by p.name <> o.project limit 1) as private
             from unnest($1::bigint[], $2::bigint[]) u(own, asked)
            cross join lateral (select k.project from builders k where k.id = u.own offset 0) o
            cross join lateral (select k.project from builders k where k.id = u.asked offset 0) a"#,
        &own,
        &asked
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| ((r.own, r.asked), Project { name: r.project, private: r.private })).collect())
}
