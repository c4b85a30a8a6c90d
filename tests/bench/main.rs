//! `./bench`: what things cost, each as a ratio to a floor or a peer measured
//! in the same run. One JSON object a line on stdout, talk on stderr.

mod cancel;
mod change_latency;
mod claim;
mod config_scale;
mod idle_workers;
mod log_ingest;
mod meter;
mod nightly;
mod noop_builds;
mod notices;
mod policies;
mod reports;

use std::future::Future;
use std::pin::Pin;

type Run = fn(Size) -> Pin<Box<dyn Future<Output = Vec<Line>>>>;

/// How much to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Seconds, to see that it runs.
    Quick,
    /// What is quoted.
    Full,
}

impl Size {
    pub fn pick<T>(self, quick: T, full: T) -> T {
        if self == Size::Quick { quick } else { full }
    }
}

/// A measured figure.
#[derive(serde::Serialize)]
pub struct Line {
    pub name: &'static str,
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    /// What the same machine did in the same run without us; none where the figure stands alone.
    pub floor: Option<f64>,
    /// value / floor for rates, floor / value for times: 1 is as good as the floor.
    pub ratio: Option<f64>,
}

impl Line {
    pub fn alone(name: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Line {
        Line { name, what: what.into(), value, unit, floor: None, ratio: None }
    }

    /// A rate beside the floor's rate.
    pub fn rate(name: &'static str, what: impl Into<String>, value: f64, unit: &'static str, floor: f64) -> Line {
        Line { name, what: what.into(), value, unit, floor: Some(floor), ratio: Some(value / floor) }
    }

    /// A time beside the floor's time.
    pub fn time(name: &'static str, what: impl Into<String>, value: f64, unit: &'static str, floor: f64) -> Line {
        Line { name, what: what.into(), value, unit, floor: Some(floor), ratio: Some(floor / value) }
    }
}

const BENCHES: &[(&str, &str, Run)] = &[
    ("noop-builds", "builds of `true` on 4 workers: builds/s, CPU a build", |s| Box::pin(noop_builds::run(s))),
    ("claim-floor", "the claim against a bare statement that writes as many indexed rows", |s| {
        Box::pin(claim::floor(s))
    }),
    ("claim-depth", "the claim with 1 M against 1 k pending requests", |s| Box::pin(claim::depth(s))),
    ("claim-snapshot", "the whole cycle while a snapshot is held open, on 1 and 1,000 lanes", |s| {
        Box::pin(claim::snapshot(s))
    }),
    ("change-latency", "a posted change to its build's first step, idle", |s| Box::pin(change_latency::run(s))),
    ("log-ingest", "one step that prints 100 MB: MB/s to committed rows, memory", |s| Box::pin(log_ingest::run(s))),
    ("config-scale", "1,000 builders: evaluation, active on three replicas, claims after", |s| {
        Box::pin(config_scale::run(s))
    }),
    ("policies", "claims by the project's functions with 10,000 pending, beside the built-in order", |s| {
        Box::pin(policies::run(s))
    }),
    ("nightly-burst", "10,000 Nightly schedulers of one minute: how long, and claims meanwhile", |s| {
        Box::pin(nightly::run(s))
    }),
    ("cancel-branch", "all of one branch cancelled with 1 M pending: seconds, and claims after", |s| {
        Box::pin(cancel::branch(s))
    }),
    ("big-change", "100,000 requests of one change, while builds are claimed and finished", |s| {
        Box::pin(cancel::big_change(s))
    }),
    ("notice-latency", "a build's end to its mail at the relay, idle", |s| Box::pin(notices::latency(s))),
    ("notice-rate", "mails a second to a relay on this machine", |s| Box::pin(notices::rate(s))),
    ("notice-cost", "builds a second while they are told, against alone", |s| Box::pin(notices::cost(s))),
    ("report-default", "each report with its defaults, over a year of builds: ms", |s| Box::pin(reports::default(s))),
    ("report-year", "each report over a year: ms", |s| Box::pin(reports::year(s))),
    ("report-claims", "claims while all reports run in a loop, and while one is held open, against idle", |s| {
        Box::pin(reports::claims(s))
    }),
    ("idle-workers", "1,000 idle workers: transactions, master memory", |s| Box::pin(idle_workers::run(s))),
];

#[tokio::main]
async fn main() {
    let mut size = Size::Full;
    let mut names = Vec::new();
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--list" => {
                BENCHES.iter().for_each(|(name, what, _)| println!("{name:16} {what}"));
                return;
            }
            "--quick" => size = Size::Quick,
            "--history" => {
                let Some(url) = std::env::args().skip(1).skip_while(|a| a != "--history").nth(1) else {
                    eprintln!("--history takes the address of an empty database");
                    std::process::exit(2);
                };
                reports::invent(&url, size).await;
                return;
            }
            "--help" | "-h" => {
                println!(
                    "usage: ./bench [NAME…] [--quick] [--list]\n       ./bench [--quick] --history URL    fills an empty database with a year of invented builds\n\nTIDEMILL_BENCH_BUILDS=N    how many builds the reports are of\nTIDEMILL_BENCH_KEEP=DIR    keeps their database there, for the next run\n\nexample: ./bench claim-floor --quick"
                );
                return;
            }
            name if BENCHES.iter().any(|(n, ..)| *n == name) => names.push(arg),
            other => {
                eprintln!("there is no bench `{other}`; ./bench --list names them");
                std::process::exit(2);
            }
        }
    }
    for (name, what, run) in BENCHES {
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        eprintln!("{name}: {what}");
        for line in run(size).await {
            println!("{}", serde_json::to_string(&line).expect("a line has finite numbers"));
        }
    }
    reports::forget().await;
}
