//! What a command writes is what is stored, and it is shown safely.

use crate::project;
use tidemill_tests::{Cluster, invariants};

#[tokio::test(flavor = "multi_thread")]
async fn a_ten_mebibyte_line_nul_invalid_utf8_and_escape_codes_are_stored_byte_equal_and_shown_safely() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let text = project::steps(
        r#"        steps.ShellCommand(name = "long", command = ["sh", "-c", "head -c 10485760 /dev/zero | tr '\\0' x"]),
        steps.ShellCommand(name = "odd", command = ["printf", "a\\000b\\377\\376c\\n\\033[31mred\\033[0m \\033]0;title\\007 \\033]52;c;aGk=\\007<b>bold</b>\\rover\\n"]),
        steps.ShellCommand(name = "both", command = ["sh", "-c", "echo out; echo err >&2"]),"#,
    );
    t.configure(m, &text).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let build = t.build_of(request, "finished").await;
    let long = t.log(m, build, 1, "stdio").await;
    assert_eq!(long.len(), 10 << 20);
    assert!(long.iter().all(|b| *b == b'x'));
    let odd = t.log(m, build, 2, "stdio").await;
    assert_eq!(odd, b"a\0b\xff\xfec\n\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]52;c;aGk=\x07<b>bold</b>\rover\n");

    let id: i64 = sqlx::query_scalar("select id from logs where build_id = $1 and step = 2 and slug = 'stdio'")
        .bind(build)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    let page = reqwest::get(format!("{}/logs/{id}", t.master_url(m))).await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = page.text().await.unwrap();
    assert!(!html.contains("<b>bold"), "markup in a log is text");
    assert!(!html.contains('\x1b') && !html.contains("\x07"), "no control codes in a page");
    assert!(html.contains("red"));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_live_on_another_replica_than_the_one_that_stores_it() {
    use futures_util::StreamExt;
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project::ticking(3)).await;
    t.worker("w", &t.master_url(a), 1).await;
    let request = t.force(a, "b").await;
    t.build_of(request, "running").await;
    let id: i64 = tidemill_tests::wait_until("the log to open", || async {
        let id: Option<i64> = sqlx::query_scalar("select id from logs where slug = 'stdio'")
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        id.ok_or_else(|| "none".to_owned())
    })
    .await;
    let response = reqwest::get(format!("{}/api/v2/logs/{id}/stream?offset=0", t.master_url(b))).await.unwrap();
    assert!(response.status().is_success());
    let mut text = String::new();
    let mut body = response.bytes_stream();
    while let Some(part) = body.next().await {
        text.push_str(&String::from_utf8_lossy(&part.unwrap()));
        if text.contains("event: end") {
            break;
        }
    }
    assert!(text.matches("event: runs").count() > 1, "it came while it was written: {text}");
    assert_eq!(t.result_of(request).await, 0);
}
