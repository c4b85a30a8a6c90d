//! Facts of what was over before anybody followed the event stream.
//!
//! A sweep over builds by their ids, which rise as builds start, folds them in the order
//! of their ends: one that ended waits until all that may have ended before it were read.
//! The place is a row (`facts.backfill` of event_readers: `id` is the next build, `xid`
//! the next request), which commits with what was stored; a sweep that was cut off goes
//! on there, and passes over what it stored. The row goes when it is done, and until then
//! the stream is not followed, so that newer builds find their lines as they were.

use super::{READER, lock, store};
use crate::{Db, Result, run_tx};
use sqlx::PgConnection;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use time::{Duration, OffsetDateTime};

const PLACE: &str = "facts.backfill";
/// Builds that are looked at, at once, and of which facts are stored in a transaction.
const READ: i64 = 5_000;
const PAGE: usize = 1_000;
/// Requests of one transaction.
const REQUESTS: i64 = 1_000;
/// By how much the starts of builds may differ from the order of their ids.
const SKEW: Duration = Duration::MINUTE;

/// What a sweep remembers from page to page. Lost, it reads again what it held.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Where the row stood when this was its memory; none while a transaction is at it.
    at: Option<i64>,
    next: i64,
    /// Builds that are over, by their ends.
    waiting: BinaryHeap<Reverse<(OffsetDateTime, i64)>>,
    /// All that ended before this were read.
    read_to: Option<OffsetDateTime>,
    /// All were read.
    end: bool,
}

/// Stores all facts that are missing of builds from this id on, and of all requests: page
/// by page until none is left. Returns how many of builds. What runs is left to those who
/// follow the stream. Masters may do so meanwhile.
pub async fn facts_backfill(db: &Db, from: i64) -> Result<u64> {
    run_tx!(db, "facts.backfill.begin", |c| wish(c, from).await)?;
    let mut sweep = Sweep::default();
    let mut stored = 0;
    while let Some(builds) = page(db, &mut sweep).await? {
        stored += builds as u64;
    }
    Ok(stored)
}

/// Asks whoever follows the stream to sweep, from this build on.
pub async fn wish(c: &mut PgConnection, from: i64) -> Result<()> {
    sqlx::query!(
        "insert into event_readers as r (name, xid, id) values ($1, 0, $2)
         on conflict (name) do update set xid = 0, id = least(r.id, excluded.id)",
        PLACE,
        from
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Makes sure that what is over now will be swept and that what ends from now on is
/// followed, if nobody ever did.
async fn begin(db: &Db) -> Result<()> {
    let known = sqlx::query_scalar!(r#"select exists (select from event_readers where name = $1) as "x!""#, READER)
        .fetch_one(db.pool())
        .await?;
    if known {
        return Ok(());
    }
    run_tx!(db, "facts.begin", |c| begin_at(c).await)
}

async fn begin_at(c: &mut PgConnection) -> Result<()> {
    lock(c).await?;
    let made = sqlx::query!(
        "insert into event_readers (name, xid, id) select $1, tidemill_horizon(), 0 on conflict do nothing",
        READER
    )
    .execute(&mut *c)
    .await?;
    if made.rows_affected() == 1 { wish(c, 0).await } else { Ok(()) }
}

/// The next page of a sweep; none if there is no sweep to do, or another replica is at it.
pub async fn page(db: &Db, sweep: &mut Sweep) -> Result<Option<usize>> {
    begin(db).await?;
    let there = sqlx::query_scalar!(r#"select exists (select from event_readers where name = $1) as "x!""#, PLACE)
        .fetch_one(db.pool())
        .await?;
    if !there {
        return Ok(None);
    }
    let done = run_tx!(db, "facts.backfill", |c| turn(c, sweep).await)?;
    let Some((stored, at)) = done else { return Ok(None) };
    // Only now: what was taken from its memory is stored.
    sweep.at = at;
    Ok(Some(stored))
}

/// How many facts of builds it stored, and where the row stands then.
async fn turn(c: &mut PgConnection, sweep: &mut Sweep) -> Result<Option<(usize, Option<i64>)>> {
    lock(c).await?;
    let place = sqlx::query!("select xid as request, id from event_readers where name = $1 for update", PLACE)
        .fetch_optional(&mut *c)
        .await?;
    let Some(place) = place else { return Ok(None) };
    // Also where the transaction before this one failed, and nobody knows what it took.
    if sweep.at.take() != Some(place.id) {
        *sweep = Sweep { next: place.id, ..Sweep::default() };
    }
    let builds = sweep.builds(c).await?;
    let requests = requests_after(c, place.request).await?;
    let stored = store(c, &builds, &requests).await?;
    let request = requests.last().map_or(place.request, |last| last + 1);
    if sweep.end && sweep.waiting.is_empty() && requests.is_empty() {
        sqlx::query!("delete from event_readers where name = $1", PLACE).execute(c).await?;
        return Ok(Some((stored, None)));
    }
    let id = sweep.place();
    sqlx::query!("update event_readers set xid = $2, id = $3 where name = $1", PLACE, request, id).execute(c).await?;
    Ok(Some((stored, Some(id))))
}

impl Sweep {
    /// The next builds in the order of their ends.
    async fn builds(&mut self, c: &mut PgConnection) -> Result<Vec<i64>> {
        let mut page = self.take(PAGE);
        while page.len() < PAGE && !self.end {
            self.read(c).await?;
            page.extend(self.take(PAGE - page.len()));
        }
        Ok(page)
    }

    fn take(&mut self, most: usize) -> Vec<i64> {
        let mut taken = vec![];
        while taken.len() < most
            && let Some(Reverse((ended, build))) = self.waiting.peek().copied()
            && (self.end || self.read_to.is_some_and(|to| ended < to))
        {
            self.waiting.pop();
            taken.push(build);
        }
        taken
    }

    async fn read(&mut self, c: &mut PgConnection) -> Result<()> {
        let rows = sqlx::query!(
            r#"select b.id, b.started_at, b.complete_at,
                      (select f.build_id from build_facts f
                        where f.build_id = b.id and f.complete_at = b.complete_at limit 1) is not null as "known!"
                 from builds b where b.id >= $1 order by b.id limit $2"#,
            self.next,
            READ
        )
        .fetch_all(c)
        .await?;
        self.end = (rows.len() as i64) < READ;
        for row in rows {
            self.next = row.id + 1;
            self.read_to = Some(row.started_at - SKEW);
            if let Some(ended) = row.complete_at.filter(|_| !row.known) {
                self.waiting.push(Reverse((ended, row.id)));
            }
        }
        Ok(())
    }

    /// Before it nothing is left.
    fn place(&self) -> i64 {
        self.waiting.iter().map(|Reverse((_, build))| *build).min().unwrap_or(self.next)
    }
}

/// Requests from this id on that are over, and the last that was looked at.
async fn requests_after(c: &mut PgConnection, from: i64) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!("select id from build_requests where id >= $1 order by id limit $2", from, REQUESTS)
        .fetch_all(c)
        .await?)
}
