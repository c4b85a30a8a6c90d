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
    t.configure(a, &project::ticking(10)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_its_limits_keeps_head_and_tail_and_says_everywhere_what_is_left_out() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let text = project::steps(
        r#"        steps.ShellCommand(name = "long", command = ["seq", "1", "100000"], logMaxSize = 1000, logMaxTailSize = 500),
        steps.ShellCommand(name = "head", command = ["seq", "1", "1000"], logMaxSize = 100),
        steps.ShellCommand(name = "short", command = ["seq", "1", "10"], logMaxSize = 1000, logMaxTailSize = 500),"#,
    );
    t.configure(m, &text).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let build = t.build_of(request, "finished").await;

    let seq = |from: u32, to: u32| (from..=to).map(|i| format!("{i}\n")).collect::<String>();
    let cut = |all: &str, head: usize, tail: usize, words: &str| {
        let (head, tail) = (&all[..head], &all[all.len() - tail..]);
        format!("{head}\n[{words} left out here]\n{tail}")
    };
    let long = cut(&seq(1, 100_000), 1000, 500, "587.4 kB");
    let expected = [long, cut(&seq(1, 1000), 100, 0, "3.8 kB"), seq(1, 10)];
    for (step, expected) in (1..).zip(&expected) {
        let raw = t.log(m, build, step, "stdio").await;
        assert_eq!(String::from_utf8_lossy(&raw), *expected, "step {step}");
    }

    // Stored are the kept bytes; offsets count all that was written; nothing is missing without a word.
    let (id, written, incomplete): (i64, i64, bool) =
        sqlx::query_as("select id, bytes, incomplete from logs where build_id = $1 and step = 1 and slug = 'stdio'")
            .bind(build)
            .fetch_one(t.db.pool())
            .await
            .unwrap();
    assert!(written > 588_895 && !incomplete, "{written}");
    let stored: i64 = sqlx::query_scalar("select sum(octet_length(data))::bigint from log_chunks where log_id = $1")
        .bind(id)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert!(stored < 10_000, "{stored} bytes are stored");

    let page = reqwest::get(format!("{}/logs/{id}", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("[587.4 kB left out here]"), "the page says what is missing");
    assert!(page.contains("99999") && !page.contains("50000"), "the tail is there, the middle is not");

    for follow in [&[][..], &["--follow"]] {
        let output = std::process::Command::new(tidemill_tests::process::program("tidemill"))
            .args(["log", "b/latest", "long"])
            .args(follow)
            .env("TIDEMILL_MASTER", t.master_url(m))
            .env("TIDEMILL_TOKEN", &t.token)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected[0], "{follow:?}");
    }
    invariants::check(&t.db).await;
}
