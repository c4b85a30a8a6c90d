//! Functions over histograms, against the spans that they were made of.

use tidemill_schema::testing::TestDb;

/// The bucket of a span, as the tables' comment says.
fn bucket(seconds: f64) -> i32 {
    ((seconds.log2() * 4.0 + 20.0).floor() as i32).clamp(0, 127)
}

fn histogram(spans: &[f64]) -> Vec<i32> {
    let mut counts = [0; 128];
    for span in spans {
        counts[bucket(*span) as usize] += 1;
    }
    (0..128).filter(|b| counts[*b as usize] > 0).map(|b| (b << 24) + counts[b as usize]).collect()
}

async fn percentile(t: &TestDb, histogram: &[i32], fraction: f64) -> Option<f64> {
    sqlx::query_scalar("select report.histogram_percentile($1, $2)")
        .bind(histogram)
        .bind(fraction)
        .fetch_one(t.db.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_percentile_of_a_histogram_is_that_of_its_spans_within_a_bucket() {
    let t = tidemill_sql::testing::db().await;
    // From a tenth of a second to three hours, most of them short.
    let mut spans: Vec<f64> = (0..5_000).map(|n| 0.1 * 1.0023f64.powi(n)).collect();
    spans.extend((0..2_000).map(|n| 5.0 + f64::from(n) / 100.0));
    spans.sort_by(f64::total_cmp);
    let whole = histogram(&spans);
    for fraction in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0] {
        let exact = spans[((spans.len() as f64 * fraction).ceil() as usize).max(1) - 1];
        let found = percentile(&t, &whole, fraction).await.unwrap();
        assert!((found / exact).log2().abs() <= 0.26, "{fraction}: {found} of {exact}");
    }
    assert_eq!(percentile(&t, &[], 0.5).await, None);
    assert_eq!(percentile(&t, &[3 << 24], 0.5).await, None);
    assert_eq!(percentile(&t, &whole, f64::NAN).await, None);
    assert_eq!(percentile(&t, &whole, 7.0).await, percentile(&t, &whole, 1.0).await);
    assert_eq!(percentile(&t, &[(127 << 24) + 5], 0.5).await, Some(2f64.powf(26.75)));
    assert!(percentile(&t, &[5], 0.5).await.unwrap() < 0.04);
    t.drop().await;
}

#[tokio::test]
async fn a_sum_of_histograms_is_the_histogram_of_all_spans_in_whatever_order_and_parts() {
    let t = tidemill_sql::testing::db().await;
    let spans: Vec<f64> = (0..60_000).map(|n| 0.01 * 1.0004f64.powi(n)).collect();
    crate::common::run(&t, "create table parts (n serial, histogram int[])").await;
    let mut parts: Vec<Vec<i32>> = spans
        .iter()
        .step_by(1)
        .collect::<Vec<_>>()
        .chunks(7)
        .map(|c| histogram(&c.iter().map(|s| **s).collect::<Vec<_>>()))
        .collect();
    parts.sort();
    for part in parts.chunks(2_000) {
        let texts: Vec<String> = part
            .iter()
            .map(|p| format!("{{{}}}", p.iter().map(i32::to_string).collect::<Vec<_>>().join(",")))
            .collect();
        sqlx::query("insert into parts (histogram) select x::int[] from unnest($1::text[]) x")
            .bind(&texts)
            .execute(t.db.pool())
            .await
            .unwrap();
    }
    crate::common::run(&t, "insert into parts (histogram) values (null), ('{}')").await;
    let whole = histogram(&spans);
    for query in [
        "select report.histogram_sum(histogram order by n) from parts",
        "select report.histogram_sum(histogram order by n desc) from parts",
        "select report.histogram_sum(h) from (select report.histogram_sum(histogram) as h from parts group by n % 5) x",
    ] {
        let sum: Vec<i32> = sqlx::query_scalar(query).fetch_one(t.db.pool()).await.unwrap();
        assert_eq!(sum, whole, "{query}");
    }
    // As parallel workers add up.
    let combined: Vec<i32> = sqlx::query_scalar("select report.histogram_pack(report.histogram_add($1, $1))")
        .bind(&whole)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert_eq!(combined, whole.iter().map(|e| ((e >> 24) << 24) + 2 * (e & 0xff_ffff)).collect::<Vec<_>>());
    let none: Vec<i32> = sqlx::query_scalar("select report.histogram_sum(histogram) from parts where false")
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert!(none.is_empty());
    let most: Vec<i32> = sqlx::query_scalar(
        "select report.histogram_sum(x) from unnest(array[33554431, 33554431]) u, lateral (select array[u] as x) y",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(most, [(1 << 24) + 16_777_215], "a full bucket stays full");
    t.drop().await;
}
