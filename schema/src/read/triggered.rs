//! Who triggered whom, for pages.

use crate::Result;
use sqlx::PgConnection;
use tidemill_model::Results;

/// The build that a buildset came from.
#[derive(Clone, Debug)]
pub struct Parent {
    pub buildername: String,
    pub number: i64,
    /// How it calls the relation.
    pub relationship: String,
}

/// A request that a build made, with its newest build.
#[derive(Clone, Debug)]
pub struct Child {
    pub scheduler: String,
    pub requestid: i64,
    pub buildername: String,
    pub waited_for: bool,
    pub complete: bool,
    pub results: Option<Results>,
    /// Number and words of its newest build.
    pub build: Option<(i64, String)>,
}

/// The parent of a buildset, if a build made it.
pub async fn parent(c: &mut PgConnection, buildset: i64) -> Result<Option<Parent>> {
    let row = sqlx::query!(
        "select u.name, b.number, s.parent_relationship
           from buildsets s join builds b on b.id = s.parent_build_id join builders u on u.id = b.builder_id
          where s.id = $1",
        buildset
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Parent {
        buildername: r.name,
        number: r.number,
        relationship: r.parent_relationship.unwrap_or_else(|| "Triggered from".into()),
    }))
}

/// What a build triggered, oldest first.
pub async fn children(c: &mut PgConnection, build: i64, limit: i64) -> Result<Vec<Child>> {
    let rows = sqlx::query!(
        r#"select s.scheduler, r.id, u.name, r.waited_for, r.complete_at is not null as "complete!", r.results,
                  b.number as "number?", b.state_string as "state_string?"
             from buildsets s
             join build_requests r on r.buildset_id = s.id
             join builders u on u.id = r.builder_id
             left join lateral (select k.number, k.state_string from builds k
                                 where k.request_id = r.id order by k.id desc limit 1) b on true
            where s.parent_build_id = $1 order by r.id limit $2"#,
        build,
        limit
    )
    .fetch_all(c)
    .await?;
    let children = rows.into_iter().map(|r| Child {
        scheduler: r.scheduler,
        requestid: r.id,
        buildername: r.name,
        waited_for: r.waited_for,
        complete: r.complete,
        results: r.results.and_then(|code| Results::try_from(code).ok()),
        build: r.number.map(|n| (n, r.state_string.unwrap_or_default())),
    });
    Ok(children.collect())
}
