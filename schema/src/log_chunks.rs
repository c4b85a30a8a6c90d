//! Log chunks: storing them, reading any range, and the partitions they live in.
//!
//! Chunks are partitioned by log id, which rises with time. Partitions are made
//! ahead, always [`AHEAD`] of them, so that no insert ever waits for DDL; the
//! maintenance loop calls [`partitions_ensure`], which does nothing when enough
//! lie ahead.

use crate::{Db, Error, Result, run_tx};
use bytes::Bytes;
use sqlx::PgConnection;
use tidemill_model::LogId;
use tidemill_model::log::Chunk;

/// Log ids in one partition: some days of a busy cluster.
const SPAN: i64 = 1_000_000;
/// Partitions that lie ahead of the newest log.
pub const AHEAD: i64 = 3;

/// Makes missing partitions; returns how many lie ahead now.
pub async fn partitions_ensure(db: &Db) -> Result<i64> {
    let newest = sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "x!" from logs"#).fetch_one(db.pool()).await?;
    let current = newest / SPAN;
    let have = partitions(db).await?;
    for n in (current..=current + AHEAD).filter(|n| !have.contains(n)) {
        partition_create(db, n).await?;
    }
    Ok(partitions(db).await?.into_iter().filter(|n| *n > current).count() as i64)
}

/// Makes the partition of this log, which came sooner than was thought.
pub async fn partition_ensure(db: &Db, log: i64) -> Result<()> {
    partition_create(db, log / SPAN).await
}

async fn partitions(db: &Db) -> Result<Vec<i64>> {
    let names = sqlx::query_scalar!(
        r#"select c.relname as "name!" from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'log_chunks'::regclass"#
    )
    .fetch_all(db.pool())
    .await?;
    Ok(names.iter().filter_map(|n| n.strip_prefix("log_chunks_")?.parse().ok()).collect())
}

async fn partition_create(db: &Db, n: i64) -> Result<()> {
    run_tx!(db, "log_chunks.partition", |c| create(c, n).await)
}

async fn create(c: &mut PgConnection, n: i64) -> Result<()> {
    sqlx::query!("select log_chunks_partition($1, $2)", n, SPAN).execute(c).await?;
    Ok(())
}

/// A chunk for a log, named as its worker does.
#[derive(Clone, Debug)]
pub struct NewChunk {
    pub build: i64,
    pub log: u32,
    pub chunk: Chunk,
}

/// Stores chunks of many builds with one statement. Returns the ids of the logs
/// that grew. A chunk that is already there is left as it is.
pub(crate) async fn chunks_insert(c: &mut PgConnection, chunks: &[NewChunk]) -> Result<Vec<i64>> {
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    let builds: Vec<i64> = chunks.iter().map(|n| n.build).collect();
    let numbers: Vec<i32> = chunks.iter().map(|n| n.log as i32).collect();
    let first_bytes: Vec<i64> = chunks.iter().map(|n| n.chunk.first_byte as i64).collect();
    let bytes: Vec<i32> = chunks.iter().map(|n| n.chunk.bytes as i32).collect();
    let first_lines: Vec<i64> = chunks.iter().map(|n| n.chunk.first_line as i64).collect();
    let lines: Vec<i32> = chunks.iter().map(|n| n.chunk.lines as i32).collect();
    let crcs: Vec<i64> = chunks.iter().map(|n| n.chunk.crc() as i64).collect();
    let data: Vec<&[u8]> = chunks.iter().map(|n| n.chunk.data.as_ref()).collect();
    let grown = sqlx::query!(
        r#"with put as (
             insert into log_chunks (log_id, first_byte, bytes, first_line, lines, crc, data)
             select l.id, u.first_byte, u.bytes, u.first_line, u.lines, u.crc, u.data
               from unnest($1::bigint[], $2::int[], $3::bigint[], $4::int[], $5::bigint[], $6::int[], $7::bigint[], $8::bytea[])
                    u(build_id, number, first_byte, bytes, first_line, lines, crc, data)
              cross join lateral (
                   select k.id from logs k where k.build_id = u.build_id and k.number = u.number limit 1) l
             on conflict (log_id, first_byte) do nothing
             returning log_id
         )
         select log_id as "log_id!", count(*) as "n!" from put group by log_id"#,
        &builds,
        &numbers,
        &first_bytes,
        &bytes,
        &first_lines,
        &lines,
        &crcs,
        &data as &[&[u8]],
    )
    .fetch_all(c)
    .await?;
    Ok(grown.into_iter().map(|g| g.log_id).collect())
}

/// A stored chunk.
#[derive(Clone, Debug)]
pub struct Stored {
    pub first_byte: i64,
    pub bytes: i32,
    pub first_line: i64,
    pub lines: i32,
    pub data: Bytes,
}

/// Chunks that hold bytes at or after `from`, at most `limit`, in order: one
/// index probe.
pub async fn chunks_from_byte(c: &mut PgConnection, log: LogId, from: i64, limit: i64) -> Result<Vec<Stored>> {
    let rows = sqlx::query!(
        r#"select first_byte, bytes, first_line, lines, data from log_chunks
            where log_id = $1
              and first_byte >= coalesce((select first_byte from log_chunks
                                           where log_id = $1 and first_byte <= $2 order by first_byte desc limit 1), 0)
              and first_byte + bytes > $2
            order by first_byte limit $3"#,
        log.0,
        from,
        limit
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Stored {
            first_byte: r.first_byte,
            bytes: r.bytes,
            first_line: r.first_line,
            lines: r.lines,
            data: r.data.into(),
        })
        .collect())
}

/// The offset of the chunk that holds the beginning of line `line` (from 0).
/// Chunks rise in both bytes and lines, so a descending walk over the key that
/// stops at the first match reads few rows for the tail; for the middle it is
/// a binary search over the key.
pub async fn chunk_of_line(c: &mut PgConnection, log: LogId, line: i64) -> Result<i64> {
    let last = sqlx::query_scalar!(
        "select first_byte from log_chunks where log_id = $1 order by first_byte desc limit 1",
        log.0
    )
    .fetch_optional(&mut *c)
    .await?
    .unwrap_or(0);
    // Invariant: the chunk found for `low` begins at or before the line.
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let probe = sqlx::query!(
            "select first_byte, first_line from log_chunks where log_id = $1 and first_byte <= $2
              order by first_byte desc limit 1",
            log.0,
            middle
        )
        .fetch_optional(&mut *c)
        .await?
        .ok_or_else(|| Error::Inconsistent(format!("log {} lost its first chunk", log.0)))?;
        // `<`: a line that begins exactly at a chunk may end a line of the chunk before.
        if probe.first_line < line {
            low = middle;
        } else {
            high = probe.first_byte - 1;
        }
    }
    Ok(low.max(0))
}
