//! What a plan needs to know of builds, buildsets, requests and workers: a page at once.

use crate::Result;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{Results, SourceStamp};

/// Builds before one that are looked at for what it was before.
const HISTORY: i32 = 20;
/// Most changes whose authors are told.
const CHANGES_MAX: i32 = 200;

/// What is looked up only where some reporter wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Who is interested: authors of the changes, owners.
    pub people: bool,
    /// What builds of the same sources were before.
    pub line: bool,
}

/// A build and what stands around it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildFacts {
    pub build: i64,
    pub number: i64,
    pub builder_id: i64,
    pub builder: String,
    pub tags: Vec<String>,
    pub project: String,
    /// None while it runs.
    pub results: Option<Results>,
    pub buildset: i64,
    pub request: i64,
    pub scheduler: String,
    pub stamps: Vec<SourceStamp>,
    /// Results of the builds before it in its builder, newest first, without RETRY;
    /// none of one that has not ended (D-54).
    pub history: Vec<Option<Results>>,
    /// The same of the last build of the same codebases, repositories and branches, if wanted.
    pub line_previous: Option<Results>,
    /// The same of the last one whose result is a verdict on what was built: SUCCESS, WARNINGS or FAILURE.
    pub line_verdict: Option<Results>,
    /// Authors of its changes since the last good one of the same sources, if wanted; none twice.
    pub authors: Vec<String>,
    /// Properties `owner` and `owners` (D-55), if wanted.
    pub owners: Vec<String>,
    /// The property `got_revision`: what was checked out, by codebase where there are several.
    pub got_revision: Option<Value>,
}

impl BuildFacts {
    /// What was checked out of a codebase.
    pub fn got_revision(&self, codebase: &str) -> Option<&str> {
        match self.got_revision.as_ref()? {
            Value::String(revision) => Some(revision),
            all => all.get(codebase)?.as_str(),
        }
    }

    /// Of the build before it.
    pub fn previous(&self) -> Option<Results> {
        self.history.first().copied().flatten()
    }

    pub fn branches(&self) -> impl Iterator<Item = Option<&str>> {
        self.stamps.iter().map(|s| s.branch.as_deref())
    }
}

/// Facts of builds that exist, in no order.
pub async fn builds(c: &mut PgConnection, ids: &[i64], wanted: Wanted) -> Result<Vec<BuildFacts>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows = sqlx::query!(
        r#"select b.id, b.number, b.builder_id, u.name, u.tags, u.project, b.results, b.request_id,
                  r.buildset_id, s.scheduler,
                  buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>",
                  array(select p.results from builds p
                         where p.builder_id = b.builder_id and p.number < b.number
                           and (p.results is null or p.results <> 5)
                         order by p.number desc limit $4::int) as "history!: Vec<Option<i16>>",
                  l.previous as "previous?", l.verdict as "verdict?",
                  coalesce(w.authors, '{}') as "authors!: Vec<String>",
                  coalesce(o.owners, '{}') as "owners!: Vec<String>",
                  (select p.value from build_properties p
                    where p.build_id = b.id and p.name = 'got_revision') as got_revision
             from unnest($1::bigint[]) x(id)
             join builds b on b.id = x.id
             join builders u on u.id = b.builder_id
             join build_requests r on r.id = b.request_id
             join buildsets s on s.id = r.buildset_id
             left join lateral (
                  select (array_agg(k.results order by k.number desc))[1] as previous,
                         (array_agg(k.results order by k.number desc) filter (where k.results in (0, 1, 2)))[1] as verdict
                    from (select p.results, p.number, p.request_id from builds p
                           where p.builder_id = b.builder_id and p.number < b.number
                             and p.results is not null and p.results <> 5
                           order by p.number desc limit 5 * $4::int) k
                    join build_requests q on q.id = k.request_id
                   where $3 and b.results is not null
                     and buildset_line(q.buildset_id) = buildset_line(r.buildset_id)) l on $3
             left join lateral (
                  select array_agg(distinct h.author) as authors
                    from unnest(build_changes(b.id, $5)) k(id) join changes h on h.id = k.id
                   where $2 and h.author <> '') w on $2
             left join lateral (
                  select array_agg(distinct e.owner) as owners
                    from (select v.value -> 0 as owner
                            from jsonb_each(s.properties) v where v.key in ('owner', 'owners')
                           union all
                          select p.value from build_properties p
                           where p.build_id = b.id and p.name in ('owner', 'owners')) v
                   cross join lateral jsonb_array_elements_text(
                        case jsonb_typeof(v.owner) when 'array' then v.owner else jsonb_build_array(v.owner) end) e(owner)
                   where e.owner <> '') o on $2"#,
        ids,
        wanted.people,
        wanted.line,
        HISTORY,
        CHANGES_MAX
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| BuildFacts {
            build: r.id,
            number: r.number,
            builder_id: r.builder_id,
            builder: r.name,
            tags: r.tags,
            project: r.project,
            results: result(r.results),
            buildset: r.buildset_id,
            request: r.request_id,
            scheduler: r.scheduler,
            stamps: r.stamps.0,
            history: r.history.into_iter().map(result).collect(),
            line_previous: result(r.previous),
            line_verdict: result(r.verdict),
            authors: r.authors,
            owners: r.owners,
            got_revision: r.got_revision,
        })
        .collect())
}

/// A buildset, and the last build of each of its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildsetFacts {
    pub buildset: i64,
    pub results: Option<Results>,
    pub scheduler: String,
    pub stamps: Vec<SourceStamp>,
    /// Builds, by request; a request that ended without one has none.
    pub builds: Vec<i64>,
}

pub async fn buildsets(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<BuildsetFacts>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows = sqlx::query!(
        r#"select s.id, s.results, s.scheduler, buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>",
                  array(select m.id
                          from build_requests r
                         cross join lateral (select b.id from builds b where b.request_id = r.id
                                              order by b.attempt desc limit 1) m
                         where r.buildset_id = s.id order by r.id) as "builds!: Vec<i64>"
             from unnest($1::bigint[]) x(id) join buildsets s on s.id = x.id"#,
        ids
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| BuildsetFacts {
            buildset: r.id,
            results: result(r.results),
            scheduler: r.scheduler,
            stamps: r.stamps.0,
            builds: r.builds,
        })
        .collect())
}

/// A request that was made, or that ended without a build.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFacts {
    pub request: i64,
    pub buildset: i64,
    /// The builder that its builds appear under.
    pub builder_id: i64,
    pub builder: String,
    pub tags: Vec<String>,
    pub scheduler: String,
    pub stamps: Vec<SourceStamp>,
    /// Set where it is over.
    pub results: Option<Results>,
    /// It never had a build.
    pub unbuilt: bool,
}

pub async fn requests(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<RequestFacts>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows = sqlx::query!(
        r#"select r.id, r.buildset_id, u.id as builder_id, u.name, u.tags, s.scheduler, r.results,
                  buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>",
                  not exists (select from builds b where b.request_id = r.id) as "unbuilt!"
             from unnest($1::bigint[]) x(id)
             join build_requests r on r.id = x.id
             join builders u on u.id = coalesce(virtual_of(r.virtual_id), r.builder_id)
             join buildsets s on s.id = r.buildset_id"#,
        ids
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| RequestFacts {
            request: r.id,
            buildset: r.buildset_id,
            builder_id: r.builder_id,
            builder: r.name,
            tags: r.tags,
            scheduler: r.scheduler,
            stamps: r.stamps.0,
            results: result(r.results),
            unbuilt: r.unbuilt,
        })
        .collect())
}

/// Names of workers.
pub async fn workers(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows = sqlx::query!("select id, name from workers where id = any($1)", ids).fetch_all(c).await?;
    Ok(rows.into_iter().map(|r| (r.id, r.name)).collect())
}

fn result(code: Option<i16>) -> Option<Results> {
    code.and_then(|code| Results::try_from(code).ok())
}
