//! Buildsets as schedulers hear of them: that one was made and that one is over,
//! each once, in the order of the event stream, up to the horizon, so that none
//! that commits late is missed. That one is over may be told first: a transaction
//! gets its place in the order when it begins to write.

use crate::Result;
use crate::changes::Cursor;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::HashMap;
use tidemill_model::{BuildsetId, Properties, SourceStamp};

/// A buildset that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Where the stream tells of it.
    pub at: Cursor,
    pub buildset: BuildsetId,
    pub scheduler: String,
    pub results: i16,
    pub sourcestamps: Vec<SourceStamp>,
    pub properties: Properties,
}

/// A buildset that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub at: Cursor,
    pub buildset: BuildsetId,
    pub scheduler: String,
}

/// What a reader got.
#[derive(Debug, Default)]
pub struct Page {
    /// Those of the schedulers asked for.
    pub finished: Vec<Finished>,
    /// The same of those made.
    pub made: Vec<Made>,
    /// Everything up to here was looked at; none if nothing was there.
    pub end: Option<Cursor>,
    /// As many entries were looked at as allowed: there may be more.
    pub full: bool,
    /// Committed ones above the horizon wait.
    pub more_above_horizon: bool,
}

/// Buildsets of these schedulers that were made or finished after `after`, oldest first.
pub async fn finished_after(c: &mut PgConnection, after: Cursor, schedulers: &[String], limit: i64) -> Result<Page> {
    // Before the entries: what commits between the two statements is left for later.
    let horizon = sqlx::query_scalar!(r#"select tidemill_horizon() as "x!""#).fetch_one(&mut *c).await?;
    let entries = sqlx::query!(
        r#"select xid, id, (data ->> 'bsid')::bigint as "buildset!", kind = 'buildsets.new' as "new!" from events
            where kind in ('buildsets.new', 'buildsets.complete') and (xid, id) > ($1, $2) and xid < $3
            order by xid, id limit $4"#,
        after.xid,
        after.id,
        horizon,
        limit
    )
    .fetch_all(&mut *c)
    .await?;
    let more_above_horizon = sqlx::query_scalar!(
        r#"select exists (select 1 from events where kind in ('buildsets.new', 'buildsets.complete') and xid >= $1) as "x!""#,
        horizon
    )
    .fetch_one(&mut *c)
    .await?;
    let at = |e: &(i64, i64)| Cursor { xid: e.0, id: e.1 };
    let places: HashMap<i64, (i64, i64)> =
        entries.iter().filter(|e| !e.new).map(|e| (e.buildset, (e.xid, e.id))).collect();
    let ids: Vec<i64> = places.keys().copied().collect();
    let mut finished = Vec::new();
    if !ids.is_empty() && !schedulers.is_empty() {
        let rows = sqlx::query!(
            r#"select id, scheduler, results as "results!", properties as "properties: Json<Properties>",
                      buildset_stamps(id) as "stamps!: Json<Vec<SourceStamp>>"
                 from buildsets where id = any($1) and scheduler = any($2) and results is not null"#,
            &ids,
            schedulers
        )
        .fetch_all(&mut *c)
        .await?;
        finished.extend(rows.into_iter().map(|r| Finished {
            at: at(&places[&r.id]),
            buildset: BuildsetId(r.id),
            scheduler: r.scheduler,
            results: r.results,
            sourcestamps: r.stamps.0,
            properties: r.properties.0,
        }));
        finished.sort_by_key(|f| f.at);
    }
    let begun: Vec<&_> = entries.iter().filter(|e| e.new).collect();
    let mut made = Vec::new();
    if !begun.is_empty() && !schedulers.is_empty() {
        let ids: Vec<i64> = begun.iter().map(|e| e.buildset).collect();
        let rows = sqlx::query!(
            "select id, scheduler from buildsets where id = any($1) and scheduler = any($2)",
            &ids,
            schedulers
        )
        .fetch_all(&mut *c)
        .await?;
        let of: HashMap<i64, String> = rows.into_iter().map(|r| (r.id, r.scheduler)).collect();
        made.extend(begun.iter().filter_map(|e| {
            let scheduler = of.get(&e.buildset)?.clone();
            Some(Made { at: Cursor { xid: e.xid, id: e.id }, buildset: BuildsetId(e.buildset), scheduler })
        }));
    }
    let end = entries.last().map(|e| Cursor { xid: e.xid, id: e.id });
    Ok(Page { finished, made, end, full: entries.len() as i64 == limit, more_above_horizon })
}
