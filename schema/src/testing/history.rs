//! Rows of history by COPY, for tests and benches that need millions of builds
//! that never ran.
//!
//! Only raw tables: what reporting derives from them comes from the code that
//! derives it. The rows are such as the functions of this crate would have left
//! behind when all was over; who makes them up (tests::history) answers for that.

use crate::Result;
use crate::copy::BinaryCopy;
use bytes::{BufMut, BytesMut};
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use sqlx::{AssertSqlSafe, PgConnection};
use std::error::Error;

/// Microseconds since 1970: a timestamptz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

/// Microseconds: an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span(pub i64);

/// The bytes of a uuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line(pub [u8; 16]);

/// JSON as text.
#[derive(Clone, Copy, Debug)]
pub struct JsonText<'a>(pub &'a str);

/// From 1970 to 2000, where Postgres begins to count.
const EPOCH: i64 = 946_684_800_000_000;

impl ToSql for Stamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0 - EPOCH);
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
    to_sql_checked!();
}

impl ToSql for Span {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        out.put_i64(0); // days and months
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::INTERVAL
    }
    to_sql_checked!();
}

impl ToSql for Line {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
    to_sql_checked!();
}

impl ToSql for JsonText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(1); // the version of jsonb's form
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
    to_sql_checked!();
}

/// The hash of a source stamp.
pub fn stamp_hash(stamp: &tidemill_model::SourceStamp) -> Vec<u8> {
    crate::sourcestamps::hash(stamp)
}

/// A row of one table.
pub trait Row {
    /// Place among [`TABLES`].
    const TABLE: usize;
    fn add(&self, copy: &mut BinaryCopy<'static>);
}

/// Declares the tables, each with its row.
macro_rules! tables {
    ($($place:literal $row:ident $table:literal { $first:ident: $first_rust:ty = $first_type:ident $(, $field:ident: $rust:ty = $type:ident)* })*) => {
        $(
            #[doc = concat!("A row of ", $table, ".")]
            pub struct $row<'a> {
                pub $first: $first_rust,
                $(pub $field: $rust,)*
                #[doc(hidden)]
                pub _life: std::marker::PhantomData<&'a ()>,
            }
            impl Row for $row<'_> {
                const TABLE: usize = $place;
                fn add(&self, copy: &mut BinaryCopy<'static>) {
                    copy.row(&[&self.$first $(, &self.$field)*]).expect("each field has the type of its column");
                }
            }
        )*
        /// Target and types, in an order that foreign keys allow.
        const TABLES: &[(&str, &[Type])] = &[
            $((
                concat!($table, " (", stringify!($first) $(, ", ", stringify!($field))*, ")"),
                &[Type::$first_type $(, Type::$type)*],
            ),)*
        ];
    };
}

tables! {
    0 SourcestampRow "sourcestamps" {
        id: i64 = INT8, hash: &'a [u8] = BYTEA, codebase: &'a str = TEXT, repository: &'a str = TEXT,
        project: &'a str = TEXT, branch: Option<&'a str> = TEXT, revision: Option<&'a str> = TEXT, created_at: Stamp = TIMESTAMPTZ
    }
    1 ChangeRow "changes" {
        id: i64 = INT8, received_at: Stamp = TIMESTAMPTZ, author: &'a str = TEXT, comments: &'a str = TEXT,
        files: &'a [&'a str] = TEXT_ARRAY, branch: Option<&'a str> = TEXT, revision: Option<&'a str> = TEXT,
        repository: &'a str = TEXT, project: &'a str = TEXT, codebase: &'a str = TEXT, when_at: Option<Stamp> = TIMESTAMPTZ,
        parent_ids: &'a [i64] = INT8_ARRAY, sourcestamp_id: i64 = INT8
    }
    2 BuildsetRow "buildsets" {
        id: i64 = INT8, submitted_at: Stamp = TIMESTAMPTZ, reason: &'a str = TEXT, scheduler: &'a str = TEXT,
        complete_at: Stamp = TIMESTAMPTZ, results: i16 = INT2
    }
    3 BuildsetStampRow "buildset_sourcestamps" { buildset_id: i64 = INT8, sourcestamp_id: i64 = INT8 }
    4 BuildsetChangeRow "buildset_changes" { buildset_id: i64 = INT8, change_id: i64 = INT8 }
    5 RequestRow "build_requests" {
        id: i64 = INT8, buildset_id: i64 = INT8, builder_id: i64 = INT8, priority: i32 = INT4, submitted_at: Stamp = TIMESTAMPTZ,
        complete_at: Stamp = TIMESTAMPTZ, results: i16 = INT2, complete_reason: Option<&'a str> = TEXT,
        collapsed_into: Option<i64> = INT8
    }
    6 BuildRow "builds" {
        id: i64 = INT8, builder_id: i64 = INT8, number: i64 = INT8, request_id: i64 = INT8, worker_id: i64 = INT8,
        session_id: i64 = INT8, poll: i64 = INT8, attempt: i32 = INT4, token: &'a str = TEXT, revision_id: i64 = INT8,
        settings_id: i64 = INT8, state: &'a str = TEXT, state_string: &'a str = TEXT, started_at: Stamp = TIMESTAMPTZ,
        complete_at: Stamp = TIMESTAMPTZ, results: i16 = INT2, last_batch: Option<i64> = INT8,
        stop_reason: Option<&'a str> = TEXT, stop_results: Option<i16> = INT2
    }
    7 StepRow "steps" {
        build_id: i64 = INT8, number: i32 = INT4, name: &'a str = TEXT, state_string: &'a str = TEXT, started_at: Stamp = TIMESTAMPTZ,
        complete_at: Stamp = TIMESTAMPTZ, results: i16 = INT2, lock_wait: Option<Span> = INTERVAL
    }
    8 StatisticRow "step_statistics" { build_id: i64 = INT8, step: i32 = INT4, name: &'a str = TEXT, value: f64 = FLOAT8 }
    9 LogRow "logs" {
        build_id: i64 = INT8, number: i32 = INT4, step: i32 = INT4, name: &'a str = TEXT, slug: &'a str = TEXT, kind: &'a str = TEXT,
        complete: bool = BOOL, incomplete: bool = BOOL, bytes: i64 = INT8, lines: i64 = INT8
    }
    10 SuccessRow "build_successes" { builder_id: i64 = INT8, line: Line = UUID, number: i64 = INT8, build_id: i64 = INT8 }
    11 SessionRow "worker_sessions" {
        id: i64 = INT8, worker_id: i64 = INT8, instance: &'a str = TEXT, epoch: i64 = INT8, release: &'a str = TEXT,
        protocol: i32 = INT4, vocabulary: i32 = INT4, slots: i32 = INT4, state: &'a str = TEXT,
        opened_at: Stamp = TIMESTAMPTZ, seen_at: Stamp = TIMESTAMPTZ
    }
    12 LockWaitRow "lock_wait_facts" {
        ended_at: Stamp = TIMESTAMPTZ, since: Stamp = TIMESTAMPTZ, lock_id: i64 = INT8, builder_id: Option<i64> = INT8,
        request_id: Option<i64> = INT8, build_id: Option<i64> = INT8, step: Option<i32> = INT4
    }
    13 DeliveryRow "deliveries" {
        xid: i64 = INT8, event_id: i64 = INT8, at: Stamp = TIMESTAMPTZ, reporter: &'a str = TEXT, generator: i32 = INT4,
        moment: &'a str = TEXT, revision_id: i64 = INT8, mode: &'a str = TEXT, builder_id: Option<i64> = INT8,
        build_id: Option<i64> = INT8, destination_id: i64 = INT8, address: &'a str = TEXT, state: &'a str = TEXT,
        planned_at: Stamp = TIMESTAMPTZ, expires_at: Stamp = TIMESTAMPTZ, attempts: i32 = INT4, ended_at: Option<Stamp> = TIMESTAMPTZ
    }
}

/// Rows of all tables, waiting to be sent.
pub struct Copies(Vec<Option<BinaryCopy<'static>>>);

impl Default for Copies {
    fn default() -> Self {
        Copies(TABLES.iter().map(|_| None).collect())
    }
}

impl Copies {
    pub fn add<R: Row>(&mut self, row: &R) {
        row.add(self.0[R::TABLE].get_or_insert_with(|| BinaryCopy::new(TABLES[R::TABLE].1)));
    }

    /// Sends what waits; returns how many rows.
    pub async fn send(&mut self, c: &mut PgConnection) -> Result<u64> {
        let mut rows = 0;
        for (place, (target, _)) in TABLES.iter().enumerate() {
            if let Some(copy) = self.0[place].take() {
                rows += copy.send(c, target).await?;
            }
        }
        Ok(rows)
    }
}

/// What stands in the database before the first build, such as the masters would have written it.
pub struct Ground {
    /// Ids of workers and of destinations, in the order of their names as given.
    pub workers: Vec<i64>,
    pub destinations: Vec<i64>,
    pub epoch: i64,
}

/// Workers (name and labels) and destinations (kind and name).
pub async fn ground(
    c: &mut PgConnection,
    workers: &[(String, String)],
    destinations: &[(&str, &str)],
) -> Result<Ground> {
    let mut made = Ground { workers: Vec::new(), destinations: Vec::new(), epoch: 1 };
    for (name, labels) in workers {
        let id = sqlx::query_scalar::<_, i64>(
            "insert into workers (name, labels) values ($1, $2::text::jsonb) returning id",
        )
        .bind(name)
        .bind(labels)
        .fetch_one(&mut *c)
        .await?;
        made.workers.push(id);
    }
    for (kind, name) in destinations {
        let id = sqlx::query_scalar::<_, i64>("insert into destinations (kind, name) values ($1, $2) returning id")
            .bind(kind)
            .bind(name)
            .fetch_one(&mut *c)
            .await?;
        made.destinations.push(id);
    }
    made.epoch = sqlx::query_scalar("select epoch from cluster").fetch_one(c).await?;
    Ok(made)
}

/// Partitions of the months from the first to the last of these moments.
pub async fn months(c: &mut PgConnection, table: &str, from: Stamp, until: Stamp) -> Result<()> {
    sqlx::query(
        "select facts_partition($1, m) from generate_series(date_trunc('month', to_timestamp($2 / 1e6), 'UTC'),
                                                            to_timestamp($3 / 1e6), interval '1 month') m",
    )
    .bind(table)
    .bind(from.0)
    .bind(until.0)
    .execute(c)
    .await?;
    Ok(())
}

/// Sets the sequences behind what was copied, and looks at the tables as autovacuum would have.
pub async fn settle(c: &mut PgConnection) -> Result<()> {
    let identities: Vec<(String, String)> = sqlx::query_as(
        "select t::text, pg_get_serial_sequence(t::text, 'id')
           from unnest(array['sourcestamps', 'changes', 'buildsets', 'build_requests', 'builds', 'worker_sessions']) t",
    )
    .fetch_all(&mut *c)
    .await?;
    for (table, sequence) in identities {
        let statement = format!("select setval('{sequence}', coalesce((select max(id) from {table}), 0) + 1, false)");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *c).await?;
    }
    sqlx::query(
        "select setval(('build_number_' || u.id)::regclass, coalesce((select max(b.number) from builds b where b.builder_id = u.id), 0) + 1, false)
           from builders u",
    )
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// Statistics and visibility of all tables, as autovacuum would have made them.
pub async fn vacuum(c: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("vacuum analyze").execute(c).await?;
    Ok(())
}

/// What retention would have taken: the rows of builds, with their buildsets; facts and sums stay.
pub async fn forget_builds(c: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(
        "truncate builds, steps, step_statistics, logs, build_successes, build_requests, buildset_sourcestamps,
                  buildset_changes, buildsets cascade",
    )
    .execute(c)
    .await?;
    Ok(())
}
