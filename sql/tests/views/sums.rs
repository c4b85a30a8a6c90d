//! Sums over long ranges, against the days that they are of.

use sqlx::{AssertSqlSafe, PgConnection};

/// Three builders, each day from October 2025 to April 2026 a build, two on the days of builder 2.
const DAYS: &str = "
    insert into builder_settings (hash, properties, default_properties) values ('x', '{}', '{}');
    insert into builders (name, project, settings_id) select 'b' || g, 'app', s.id from generate_series(1, 3) g, builder_settings s;
    insert into workers (name) values ('w');
    insert into build_days (builder_id, day, builds, seconds)
    select b, d at time zone 'UTC', 1 + (b = 2)::int, 10 * extract(day from d)
      from generate_series(1, 3) b, generate_series(timestamp '2025-10-01', '2026-04-30', '1 day') d;
    insert into build_months (builder_id, month, builds, seconds)
    select builder_id, date_trunc('month', day, 'UTC'), sum(builds), sum(seconds) from build_days group by 1, 2;
    insert into step_days select builder_id, day, 'test', builds, 0, seconds, 0, '{}' from build_days;
    insert into step_months select builder_id, month, 'test', builds, 0, seconds, 0, '{}' from build_months;
    insert into worker_hours select 1, day, builder_id, builds, 0, seconds from build_days;
    insert into worker_months select 1, month, 'app', sum(builds), 0, sum(seconds) from build_months group by month;";

async fn sum(c: &mut PgConnection, query: String) -> (i64, f64) {
    sqlx::query_as(AssertSqlSafe(query.clone())).fetch_one(c).await.expect(&query)
}

#[tokio::test]
async fn whole_months_and_what_is_left_at_their_ends_are_all_of_a_time_in_every_zone() {
    let t = tidemill_sql::testing::db().await;
    crate::common::run(&t, DAYS).await;
    let mut c = t.db.pool().acquire().await.expect("a connection");
    // Within a month, over one border, whole months, from a border or to one, none at all.
    let times = [
        ("2025-11-05", "2025-11-20"),
        ("2025-11-05", "2025-12-20 13:00"),
        ("2025-11-05 00:00:00.000001", "2026-02-01"),
        ("2025-11-01", "2026-03-01"),
        ("2025-11-01", "2025-12-01"),
        ("2025-10-31 23:59:59.999999", "2026-03-31 23:59:59"),
        ("2026-01-15 12:00", "2026-04-15 12:00"),
        ("2026-04-15", "2026-01-15"),
        ("2026-02-01", "2026-02-01"),
    ];
    for zone in ["UTC", "America/New_York", "Pacific/Auckland"] {
        sqlx::raw_sql(AssertSqlSafe(format!("set timezone = '{zone}'"))).execute(&mut *c).await.expect(zone);
        for (since, until) in times {
            let (since, until) = (format!("timestamptz '{since}Z'"), format!("timestamptz '{until}Z'"));
            let days = sum(
                &mut c,
                format!(
                    "select coalesce(sum(builds), 0)::bigint, coalesce(sum(seconds), 0)::float8 from report.build_days
                      where day >= {since} and day < {until}"
                ),
            )
            .await;
            for (sums, builds, seconds) in [
                ("build_sums", "builds", "seconds"),
                ("step_sums", "runs", "seconds"),
                ("worker_sums", "builds", "busy_seconds"),
            ] {
                let whole = sum(
                    &mut c,
                    format!(
                        "select coalesce(sum({builds}), 0)::bigint, coalesce(sum({seconds}), 0)::float8
                           from report.{sums}({since}, {until})"
                    ),
                )
                .await;
                assert_eq!(whole, days, "{sums} from {since} to {until} in {zone}");
            }
        }
    }
    drop(c);
    t.drop().await;
}
