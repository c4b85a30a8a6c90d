//! Reports over notices.

use super::*;
use std::collections::BTreeMap;

pub fn notices_sent(t: &Truth, a: &Asked) -> Vec<Row> {
    #[derive(Default)]
    struct Sum {
        all: i64,
        sent: i64,
        parked: i64,
        superseded: i64,
        attempts: i64,
        spans: Vec<f64>,
    }
    let mut sums: BTreeMap<bool, Sum> = BTreeMap::new();
    for b in t.builds.iter().filter(|b| a.wants(t, b.builder)) {
        for n in b.notices.iter().filter(|n| (a.since..a.until).contains(&n.planned_at)) {
            let sum = sums.entry(n.irc).or_default();
            sum.all += 1;
            sum.attempts += i64::from(n.attempts);
            match n.state {
                "sent" => {
                    sum.sent += 1;
                    sum.spans.push(seconds(n.ended_at - n.planned_at));
                }
                "parked" => sum.parked += 1,
                _ => sum.superseded += 1,
            }
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(irc, s)| (-s.all, !irc));
    rows.into_iter()
        .take(a.limit)
        .map(|(irc, mut s)| {
            let (kind, place) = if irc { ("irc", "irc") } else { ("mail", "relay.example.org:25") };
            vec![
                text(kind),
                text(kind),
                text(place),
                count(s.all),
                count(s.sent),
                count(s.parked),
                count(s.superseded),
                count(0),
                Value::Number(s.attempts as f64 / s.all as f64),
                number(between(&mut s.spans, 0.5)),
                number(between(&mut s.spans, 0.95)),
            ]
        })
        .collect()
}
