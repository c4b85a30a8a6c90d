//! What must be true after everything, whatever happened: each query finds the
//! rows that break a promise.

use tidemill_schema::Db;

/// What one transaction may never leave behind, not even for a moment.
const NEVER: &[(&str, &str)] = &[
    (
        "a request with two live builds",
        "select b.request_id from leases l join builds b on b.id = l.build_id group by 1 having count(*) > 1",
    ),
    (
        "a request complete with a live build",
        "select r.id from leases l join builds b on b.id = l.build_id join build_requests r on r.id = b.request_id where r.complete_at is not null",
    ),
    (
        "a buildset whose result is not the worst of its requests",
        "select s.id from buildsets s where s.complete_at is not null and results_rank(s.results) <> coalesce((select max(results_rank(r.results)) from build_requests r where r.buildset_id = s.id and r.results <> 3), results_rank(0::smallint))",
    ),
    (
        "a lock that holds more than there is of it, or an exclusive holder beside others",
        "select l.id from lock_holds h join locks l on l.id = h.lock_id left join workers w on w.id = h.worker_id group by l.id, h.worker_id, w.name having sum(h.units) > coalesce((l.capacities ->> w.name)::int, l.capacity) or (bool_or(h.mode = 'exclusive') and count(*) > 1)",
    ),
    (
        "a build by another worker than the chosen one",
        "select b.id from builds b join build_requests r on r.id = b.request_id join workers w on w.id = b.worker_id where r.worker_name <> w.name",
    ),
    (
        "a request in a lane of other terms than its own",
        "select r.id from request_queue q join lanes l on l.id = q.lane join build_requests r on r.id = q.request_id where (l.builder_id, l.priority, l.worker_name, l.trusted, l.virtual_id) is distinct from (r.builder_id, r.priority, r.worker_name, r.trusted, r.virtual_id)",
    ),
    (
        "sums of a day that are not those of its facts",
        "select coalesce(f.builder_id, s.builder_id) from build_days s full join (select builder_id, date_trunc('day', complete_at, 'UTC') as day, count(*) as builds, count(*) filter (where turn = 'broke') as broke, sum(log_bytes) as log_bytes from build_facts group by 1, 2) f on f.builder_id = s.builder_id and f.day = s.day where (f.builds, f.broke, f.log_bytes) is distinct from (s.builds, s.broke, s.log_bytes)",
    ),
    (
        "sums of a month that are not those of its days",
        "select coalesce(d.builder_id, m.builder_id) from build_months m full join (select builder_id, date_trunc('month', day, 'UTC') as month, sum(builds) as builds, sum(led) as led, sum(log_bytes) as log_bytes from build_days group by 1, 2) d on d.builder_id = m.builder_id and d.month = m.month where (d.builds, d.led, d.log_bytes) is distinct from (m.builds, m.led, m.log_bytes)",
    ),
    (
        "totals of a day that are not those of its builders",
        "select coalesce(d.builds, t.builds) from (select day, sum(builds) as builds, sum(failure) as failure from total_days group by 1) t full join (select day, sum(builds) as builds, sum(failure) as failure from build_days group by 1) d on d.day = t.day where (d.builds, d.failure) is distinct from (t.builds, t.failure)",
    ),
    (
        "totals of an hour that are not those of its builders",
        "select coalesce(d.builds, t.builds) from (select hour, sum(builds) as builds from total_hours group by 1) t full join (select hour, sum(builds) as builds from build_hours group by 1) d on d.hour = t.hour where d.builds is distinct from t.builds",
    ),
    (
        "sums of branches, steps or workers in a month that are not those of its builds",
        "select n from (values ((select coalesce(sum(builds), 0) from branch_months) - (select count(*) from build_facts)), ((select coalesce(sum(runs), 0) from step_months) - (select coalesce(sum(runs), 0) from step_days)), ((select coalesce(sum(builds), 0) from worker_months) - (select coalesce(sum(builds), 0) from worker_hours)), ((select coalesce(sum(requests), 0) from request_months) - (select count(*) from request_facts))) d(n) where n <> 0",
    ),
    (
        "a lock held by a build without a lease",
        "select h.build_id from lock_holds h where not exists (select 1 from leases l where l.build_id = h.build_id)",
    ),
];

/// What holds where nothing is on its way.
const BROKEN: &[(&str, &str)] = &[
    (
        "a request with two builds that count",
        "select request_id from builds where state = 'finished' and results <> 5 group by 1 having count(*) > 1",
    ),
    (
        "a request complete and still waiting",
        "select r.id from build_requests r where r.complete_at is not null and (exists (select 1 from request_queue q where q.request_id = r.id) or exists (select 1 from request_waits w where w.request_id = r.id))",
    ),
    (
        "an open request that nobody will build",
        "select r.id from build_requests r where r.complete_at is null and not exists (select 1 from request_queue q where q.request_id = r.id) and not exists (select 1 from request_waits w where w.request_id = r.id) and not exists (select 1 from builds b join leases l on l.build_id = b.id where b.request_id = r.id) and not exists (select 1 from build_requests s where s.id = r.collapsed_into and s.complete_at is null)",
    ),
    (
        "a request that became part of another and is built",
        "select r.id from build_requests r where r.collapsed_into is not null and r.complete_at is null and (exists (select 1 from request_queue q where q.request_id = r.id) or exists (select 1 from request_waits w where w.request_id = r.id) or exists (select 1 from builds b join leases l on l.build_id = b.id where b.request_id = r.id))",
    ),
    (
        "a request queued twice",
        "select request_id from (select request_id from request_queue union all select request_id from request_waits) q group by 1 having count(*) > 1",
    ),
    (
        "a final build with a lease",
        "select b.id from builds b join leases l on l.build_id = b.id where b.state = 'finished'",
    ),
    (
        "an open build without a lease",
        "select b.id from builds b where b.state <> 'finished' and not exists (select 1 from leases l where l.build_id = b.id)",
    ),
    (
        "a complete buildset with an open request",
        "select s.id from buildsets s join build_requests r on r.buildset_id = s.id where s.complete_at is not null and r.complete_at is null",
    ),
    (
        "an open buildset without an open request",
        "select s.id from buildsets s where s.complete_at is null and not exists (select 1 from build_requests r where r.buildset_id = s.id and r.complete_at is null)",
    ),
    ("a step run twice in a build", "select build_id from steps group by build_id, name having count(*) > 1"),
    (
        "a log with a hole",
        "select log_id from (select log_id, first_byte, lag(first_byte + bytes, 1, 0::bigint) over (partition by log_id order by first_byte) as expected from log_chunks) c where first_byte <> expected",
    ),
    (
        "a log marked incomplete of a build that was not lost",
        "select l.id from logs l join builds b on b.id = l.build_id where l.incomplete and b.results <> 5",
    ),
    ("a delivery of a hook without an answer", "select id from hook_deliveries where answer is null"),
    (
        "a step in line for a lock that its build holds",
        "select w.build_id from lock_waiters w join lock_waits t on t.ticket = w.ticket join lock_holds h on h.lock_id = t.lock_id and h.build_id = w.build_id",
    ),
    (
        "an event of a build's end twice",
        "select build_id from events where kind = 'builds.finished' group by 1 having count(*) > 1",
    ),
];

/// Panics with what is broken, once all has come to rest.
pub async fn check(db: &Db) {
    check_always(db).await;
    look(db, BROKEN).await;
}

/// The same of what holds at every moment.
pub async fn check_always(db: &Db) {
    look(db, NEVER).await;
}

async fn look(db: &Db, queries: &[(&str, &'static str)]) {
    for (what, query) in queries {
        let rows: Vec<i64> = sqlx::query_scalar(*query).fetch_all(db.pool()).await.expect(what);
        assert!(rows.is_empty(), "{what}: {rows:?}");
    }
}
