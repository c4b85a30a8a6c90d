//! [claim-floor, claim-depth, claim-snapshot] The claim path alone, against the
//! database, without HTTP.

use crate::{Line, Size};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tidemill_model::revision::Files;
use tidemill_model::wire::{BatchHead, Claim, Event, Frame, Held, Hello};
use tidemill_model::{BuilderId, BuildsetId, Results, SessionId};
use tidemill_schema::claims::{Payloads, Waiting, claim_builds};
use tidemill_schema::config::{Wanted, WantedBuilder, revision_activate, revision_insert};
use tidemill_schema::ingest::{Batch, batches_store};
use tidemill_schema::leases::leases_renew;
use tidemill_schema::requests::{NewBuildset, buildset_insert, requests_insert_bulk};
use tidemill_schema::{Db, run_tx, sessions, workers};
use tidemill_tests::Cluster;

const TERM: Duration = Duration::from_secs(60);
const BATCH: u32 = 100;

/// A database with so many builders, and a session.
pub(crate) struct Setup {
    pub(crate) t: Cluster,
    session: SessionId,
    pub(crate) buildset: BuildsetId,
    builders: Vec<i64>,
    pub(crate) lanes: Vec<i64>,
    poll: u64,
    newest: i64,
    payloads: Payloads,
    /// The claim loop keeps one too.
    connection: PoolConnection<Postgres>,
}

pub(crate) async fn setup(builders: usize) -> Setup {
    setup_in(Cluster::with(true, 60).await, builders).await
}

/// The same in a database where something may be already.
pub(crate) async fn setup_in(t: Cluster, builders: usize) -> Setup {
    let wanted = Wanted {
        builders: (0..builders)
            .map(|i| WantedBuilder { name: format!("b{i}"), any_worker: true, ..WantedBuilder::default() })
            .collect(),
        ..Wanted::default()
    };
    let files = Files::single("# bench");
    run_tx!(t.db, "bench", |c| {
        let id = revision_insert(c, &files, &serde_json::json!({}), 1, "", "bench").await?;
        revision_activate(c, id, &wanted).await
    })
    .expect("activated");
    let token = workers::worker_enrol(&t.db, "w").await.expect("enrolled");
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        name: "w".into(),
        instance: "w".into(),
        release: "bench".into(),
        vocabulary: tidemill_model::wire::VOCABULARY,
        slots: 1000,
        info: BTreeMap::new(),
        labels: Default::default(),
    };
    let session = run_tx!(t.db, "bench", |c| {
        let (id, _) = workers::worker_by_token(c, &token).await?.expect("just enrolled");
        sessions::session_open(c, id, &hello, 1, TERM).await
    })
    .expect("opened");
    let set = run_tx!(t.db, "bench", |c| buildset_insert(c, &NewBuildset::default()).await).expect("a buildset");
    sqlx::query("update buildsets set complete_at = null, results = null where id = $1")
        .bind(set.buildset.0)
        .execute(t.db.pool())
        .await
        .expect("open");
    let builders = sqlx::query_scalar("select id from builders where active order by id")
        .fetch_all(t.db.pool())
        .await
        .expect("ids");
    let lanes = sqlx::query_scalar("select id from lanes order by id").fetch_all(t.db.pool()).await.expect("ids");
    let connection = t.db.pool().acquire().await.expect("a connection");
    Setup {
        t,
        session,
        buildset: set.buildset,
        builders,
        lanes,
        poll: 0,
        newest: 0,
        payloads: Payloads::default(),
        connection,
    }
}

impl Setup {
    fn db(&self) -> &Db {
        &self.t.db
    }

    /// All on the first lane.
    pub(crate) async fn enqueue_first(&self, n: usize) {
        for part in (0..n).step_by(5_000) {
            let builder = BuilderId(self.builders[0]);
            let count = (n - part).min(5_000);
            run_tx!(self.t.db, "bench", |c| requests_insert_bulk(c, self.buildset, builder, count).await)
                .expect("queued");
        }
    }

    /// Builds a second of the first lane, claimed and finished, over so many rounds.
    pub(crate) async fn cycles(&mut self, lane: i64, rounds: usize) -> f64 {
        let started = Instant::now();
        let mut n = 0;
        for _ in 0..rounds {
            let (claims, _) = self.claim(&[(lane, 0)], BATCH).await;
            n += claims.len();
            let batches: Vec<Batch> = claims
                .iter()
                .map(|c| Batch {
                    head: BatchHead {
                        session: self.session.0,
                        build: c.build,
                        token: c.token.clone(),
                        batch: 1,
                        sent_at_us: 0,
                    },
                    frames: vec![Frame::Event(Event::BuildFinished {
                        results: Results::Success,
                        summary: String::new(),
                        at_us: 0,
                    })],
                })
                .collect();
            batches_store(self.db(), &batches).await.expect("finished");
        }
        n as f64 / started.elapsed().as_secs_f64()
    }

    pub(crate) async fn enqueue(&self, n: usize) {
        for part in (0..n).step_by(5_000) {
            let count = (n - part).min(5_000);
            let builder = BuilderId(self.builders[(part / 5_000) % self.builders.len()]);
            run_tx!(self.t.db, "bench", |c| requests_insert_bulk(c, self.buildset, builder, count).await)
                .expect("queued");
        }
    }

    /// One request on each of so many lanes, by one statement, as a scheduler of many builders would.
    async fn enqueue_lanes(&self, lanes: &[i64]) {
        sqlx::query(
            "with s as (insert into buildsets (reason) values ('bench') returning id), made as (
                 insert into build_requests (buildset_id, builder_id)
                 select s.id, l.builder_id from s, unnest($1::bigint[]) u(lane) join lanes l on l.id = u.lane
                 returning id, builder_id, buildset_id)
             insert into request_queue (lane, request_id, buildset_id)
             select l.id, m.id, m.buildset_id from made m join lanes l on l.builder_id = m.builder_id and l.priority = 0",
        )
        .bind(lanes)
        .execute(self.db().pool())
        .await
        .expect("queued");
    }

    pub(crate) async fn claim(&mut self, lanes: &[(i64, i64)], n: u32) -> (Vec<Claim>, HashMap<i64, i64>) {
        self.poll += 1;
        let waiting = [Waiting { session: self.session, poll: self.poll, free: n, newest: self.newest }];
        let mut claimed =
            claim_builds(&mut self.connection, &mut self.payloads, &waiting, lanes, TERM).await.expect("claimed");
        let claims = claimed.by_session.remove(&self.session).unwrap_or_default();
        self.newest = claims.iter().map(|c| c.build).max().unwrap_or(self.newest).max(self.newest);
        (claims, claimed.lanes)
    }
}

/// Claims a second in batches, from a queue that holds enough.
pub(crate) async fn claim_rate(s: &mut Setup, batches: usize) -> f64 {
    let mut low = 0;
    let lane = s.lanes[0];
    let started = Instant::now();
    let mut n = 0;
    for _ in 0..batches {
        let (claims, lanes) = s.claim(&[(lane, low)], BATCH).await;
        assert_eq!(claims.len(), BATCH as usize, "the queue holds enough");
        low = lanes.get(&lane).copied().unwrap_or(low);
        n += claims.len();
    }
    n as f64 / started.elapsed().as_secs_f64()
}

/// A statement that deletes a queue row and inserts three rows with as many
/// index entries as the claim does, in the same batches.
async fn bare_rate(s: &Setup, batches: usize) -> f64 {
    sqlx::raw_sql(
        "create table if not exists floor_queue (lane bigint, ticket bigint, request_id bigint, attempt int, primary key (lane, ticket));
         create index if not exists floor_queue_request on floor_queue (request_id);
         create table if not exists floor_build (like builds including defaults including constraints including identity);
         create unique index if not exists floor_build_1 on floor_build (id);
         create unique index if not exists floor_build_2 on floor_build (builder_id, number);
         create index if not exists floor_build_3 on floor_build (session_id, id);
         create index if not exists floor_build_4 on floor_build (request_id);
         create table if not exists floor_lease (like leases including constraints);
         create unique index if not exists floor_lease_1 on floor_lease (build_id);
         create table if not exists floor_event (like events including defaults including identity);
         create unique index if not exists floor_event_1 on floor_event (xid, id);
         create sequence if not exists floor_number;",
    )
    .execute(s.db().pool())
    .await
    .expect("tables");
    sqlx::query("insert into floor_queue select 1, nextval('floor_number'), i, 1 from generate_series(1, $1) i")
        .bind((batches as i32 + 1) * BATCH as i32)
        .execute(s.db().pool())
        .await
        .expect("queued");
    let mut c = s.db().pool().acquire().await.expect("a connection");
    let started = Instant::now();
    for _ in 0..batches {
        let rows = sqlx::query(
            "with q as (
                 delete from floor_queue where lane = 1 and ticket = any(array(
                     select ticket from floor_queue where lane = 1 order by ticket for update skip locked limit $1))
                 returning request_id
             ), b as (
                 insert into floor_build (builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id, settings_id)
                 select 1, nextval('floor_number'), request_id, 1, 1, 1, 1, '0123456789abcdef0123456789abcdef', 1, 1 from q
                 returning id, token
             ), l as (
                 insert into floor_lease (build_id, session_id, token, expires_at, builder_id)
                 select id, 1, token, now() + interval '60 seconds', 1 from b
             ), e as (
                 insert into floor_event (kind, builder_id, build_id, data)
                 select 'builds.new', 1, id, '{\"number\": 1, \"buildrequestid\": 1}' from b
             )
             select id, token from b",
        )
        .bind(BATCH as i32)
        .fetch_all(&mut *c)
        .await
        .expect("claimed");
        assert_eq!(rows.len(), BATCH as usize);
    }
    (batches * BATCH as usize) as f64 / started.elapsed().as_secs_f64()
}

pub async fn floor(size: Size) -> Vec<Line> {
    let batches = size.pick(20, 150);
    let mut s = setup(1).await;
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    // In turns, so that both see the same machine.
    for _ in 0..size.pick(2, 5) {
        s.enqueue(batches * BATCH as usize).await;
        ours.push(claim_rate(&mut s, batches).await);
        bare.push(bare_rate(&s, batches).await);
    }
    let median = |v: &mut Vec<f64>| crate::meter::percentile(v, 0.5);
    vec![Line::rate(
        "claim-floor",
        "claims in batches of 100, one claimer, against the bare statement",
        median(&mut ours),
        "claims/s",
        median(&mut bare),
    )]
}

pub async fn depth(size: Size) -> Vec<Line> {
    let batches = size.pick(5, 40);
    let deep = size.pick(50_000, 1_000_000);
    let mut s = setup(1).await;
    let mut shallow = Vec::new();
    for _ in 0..size.pick(4, 20) {
        s.enqueue(1_000).await;
        shallow.push(claim_rate(&mut s, 10).await);
    }
    s.enqueue(deep).await;
    // What the million's insertion left to write is not what is measured.
    for statement in ["vacuum analyze", "checkpoint"] {
        sqlx::raw_sql(statement).execute(s.db().pool()).await.expect(statement);
    }
    let mut full = Vec::new();
    for _ in 0..5 {
        full.push(claim_rate(&mut s, batches).await);
    }
    let median = |v: &mut Vec<f64>| crate::meter::percentile(v, 0.5);
    vec![Line::rate(
        "claim-depth",
        format!("claims with {deep} pending, against 1,000"),
        median(&mut full),
        "claims/s",
        median(&mut shallow),
    )]
}

/// Cycles (enqueue, claim, renew, finish) a second over a span.
pub(crate) async fn cycle_rate(s: &mut Setup, lows: &mut Lows, span: Duration) -> f64 {
    cycles_timed(s, lows, span).await.0
}

/// The same, and how long each claim took.
pub(crate) async fn cycles_timed(s: &mut Setup, lows: &mut Lows, span: Duration) -> (f64, Vec<f64>) {
    let mut took = Vec::new();
    let started = Instant::now();
    let mut n = 0;
    while started.elapsed() < span {
        let lanes: Vec<i64> = (0..BATCH as usize).map(|i| s.lanes[(lows.turn + i) % s.lanes.len()]).collect();
        lows.turn += BATCH as usize;
        s.enqueue_lanes(&lanes).await;
        // As the claim loop does: every lane that may hold work, each from its bound.
        let asked: Vec<(i64, i64)> = {
            let mut hot = lanes.clone();
            hot.sort_unstable();
            hot.dedup();
            hot.iter().map(|l| (*l, lows.bound(*l))).collect()
        };
        let begun = Instant::now();
        let (claims, taken) = s.claim(&asked, BATCH).await;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        for (lane, highest) in taken {
            lows.taken(lane, highest);
        }
        let held: Vec<Held> = claims.iter().map(|c| Held { build: c.build, token: c.token.clone() }).collect();
        {
            let mut c = s.db().pool().acquire().await.expect("a connection");
            leases_renew(&mut c, &held, TERM).await.expect("renewed");
        }
        let batches: Vec<Batch> = claims
            .iter()
            .map(|c| Batch {
                head: BatchHead {
                    session: s.session.0,
                    build: c.build,
                    token: c.token.clone(),
                    batch: 1,
                    sent_at_us: 0,
                },
                frames: vec![Frame::Event(Event::BuildFinished {
                    results: Results::Success,
                    summary: "ok".into(),
                    at_us: 0,
                })],
            })
            .collect();
        batches_store(s.db(), &batches).await.expect("finished");
        n += claims.len();
    }
    (n as f64 / started.elapsed().as_secs_f64(), took)
}

/// Low bounds as a replica keeps them: lagging by 300 ms.
#[derive(Default)]
pub(crate) struct Lows {
    turn: usize,
    ripe: HashMap<i64, i64>,
    ripening: HashMap<i64, Vec<(Instant, i64)>>,
}

impl Lows {
    fn taken(&mut self, lane: i64, highest: i64) {
        self.ripening.entry(lane).or_default().push((Instant::now(), highest));
    }

    fn bound(&mut self, lane: i64) -> i64 {
        let list = self.ripening.entry(lane).or_default();
        let ripe = self.ripe.entry(lane).or_default();
        list.retain(|(at, ticket)| {
            let keep = at.elapsed() < Duration::from_millis(300);
            if !keep {
                *ripe = (*ripe).max(*ticket);
            }
            keep
        });
        *ripe
    }
}

pub async fn snapshot(size: Size) -> Vec<Line> {
    let hold = Duration::from_secs(size.pick(6, 60));
    let span = Duration::from_secs(size.pick(2, 10));
    let mut lines = Vec::new();
    for lanes in [1, 1000] {
        let mut s = setup(lanes).await;
        let mut lows = Lows::default();
        cycle_rate(&mut s, &mut lows, span / 2).await;
        let before = cycle_rate(&mut s, &mut lows, span).await;
        let mut holder = s.db().pool().begin().await.expect("a transaction");
        sqlx::raw_sql("set transaction isolation level repeatable read; set idle_in_transaction_session_timeout = 0; select count(*) from cluster")
            .execute(&mut *holder)
            .await
            .expect("a snapshot is held");
        cycle_rate(&mut s, &mut lows, hold - span).await;
        let held = cycle_rate(&mut s, &mut lows, span).await;
        holder.rollback().await.expect("released");
        lines.push(Line::rate(
            "claim-snapshot",
            format!("cycles at the end of a snapshot held {} s, {lanes} lane(s), against before", hold.as_secs()),
            held,
            "cycles/s",
            before,
        ));
    }
    lines
}
