//! The queries of the manual, as the reporter runs them.

use crate::common::{code, connect, end, roles};
use std::path::Path;

/// Blocks marked as SQL, with the line on which each begins.
fn queries(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (n, line) in text.lines().enumerate() {
        match line.trim() {
            "```sql" => {
                inside = true;
                found.push((n + 1, String::new()));
            }
            "```" => inside = false,
            _ if inside => {
                let (_, query) = found.last_mut().expect("a block began");
                query.push_str(line);
                query.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn every_query_of_the_manual_runs_for_the_reporter() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reporting.md")).unwrap();
    let queries = queries(&text);
    assert!(queries.len() >= 5, "the manual has queries");
    let t = crate::common::db().await;
    let roles = roles(&t, "manual").await;
    let mut c = connect(&t, &roles.reporter).await;
    for (line, query) in queries {
        assert_eq!(code(&mut c, &query).await, "", "docs/reporting.md:{line}\n{query}");
    }
    drop(c);
    end(t, roles).await;
}

#[test]
fn the_manual_lists_every_view() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reporting.md")).unwrap();
    for view in crate::common::views() {
        let name = view.trim_start_matches("report.");
        assert!(text.contains(&format!("| `{name}` |")), "docs/reporting.md has no row for {view}");
    }
}
