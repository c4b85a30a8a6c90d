//! What does not move: projects, builders, workers, people, and what is wrong with them.

use super::random::{Rng, zipf};
use super::{DAY, HOUR, Shape};
use md5::{Digest, Md5};

/// Steps of recipes, in order: name, and its share of the build's time.
pub const STEPS: [(&str, f64); 5] =
    [("git", 0.06), ("configure", 0.10), ("compile", 0.46), ("test", 0.32), ("upload", 0.06)];
pub const COMPILE: usize = 2;
pub const TEST: usize = 3;
pub const UPLOAD: usize = 4;

/// Tests that builders with tests run.
pub const TESTS: usize = 6;

pub struct Project {
    pub name: String,
    pub public: bool,
    pub repository: String,
    pub scheduler: String,
    /// Places among the builders; the first is part of every buildset.
    pub builders: Vec<usize>,
}

pub struct Builder {
    pub name: String,
    pub project: usize,
    pub pool: usize,
    /// Of a good build.
    pub seconds: f64,
    /// How likely a buildset of commits has it.
    pub part: f64,
    /// From when on which step takes how many times as long.
    pub slower: Option<(i64, usize, f64)>,
    /// Some of its good builds end with WARNINGS.
    pub warns: bool,
    /// From when it fails for no reason, and how often.
    pub flaky: Option<(i64, f64)>,
    /// The lock that its upload takes, as a place among the locks.
    pub lock: Option<usize>,
    /// Its step `test` says of each test how it went.
    pub tests: bool,
    pub collapses: bool,
    /// Bytes that its logs have now, per build.
    pub log_bytes: f64,
}

pub struct Worker {
    pub name: String,
    pub slots: usize,
    pub hourly_cost: Option<f64>,
}

/// Workers that the same builders use.
pub struct Pool {
    pub workers: Vec<usize>,
    /// Hours in which its machines are at fault.
    pub faults: Vec<(i64, i64)>,
}

pub struct World {
    pub projects: Vec<Project>,
    pub project_totals: Vec<f64>,
    pub builders: Vec<Builder>,
    pub builder_totals: Vec<f64>,
    pub workers: Vec<Worker>,
    pub pools: Vec<Pool>,
    pub authors: Vec<String>,
    pub author_totals: Vec<f64>,
    pub locks: Vec<String>,
    /// Buildsets of all kinds that make up the builds asked for.
    pub buildsets: f64,
}

/// Shares of the kinds of buildsets.
pub const NIGHTLY: f64 = 0.06;
pub const FORCED: f64 = 0.08;

impl World {
    pub fn new(shape: &Shape) -> World {
        let mut rng = Rng::new(shape.seed ^ 0x7711_d311);
        // Who has many builders has many to a project.
        let of_project = if shape.builders > 200 { 25.0 } else { 5.0 };
        let n_projects = ((shape.builders as f64 / of_project).ceil() as usize).max(2);
        let mut projects: Vec<Project> = (0..n_projects)
            .map(|p| Project {
                name: format!("project-{p}"),
                public: p % 7 != 3,
                repository: format!("https://git.example.org/project-{p}.git"),
                scheduler: format!("project-{p}-commits"),
                builders: Vec::new(),
            })
            .collect();
        let n_pools = (shape.builders / 40).clamp(2, 40);
        let kinds = ["debian", "fedora", "windows", "macos", "arm", "docs", "nightly", "asan"];
        let mut builders = Vec::new();
        for b in 0..shape.builders {
            let project = b % n_projects;
            let nth = projects[project].builders.len();
            projects[project].builders.push(b);
            let when = |rng: &mut Rng, from: f64, until: f64| {
                shape.start() + ((from + (until - from) * rng.unit()) * shape.days as f64 * DAY as f64) as i64
            };
            builders.push(Builder {
                name: format!("p{project}-{}-{nth}", kinds[(project + nth) % kinds.len()]),
                project,
                pool: project % n_pools,
                seconds: rng.log_normal(240.0, 0.7).clamp(25.0, 2400.0),
                part: if nth == 0 { 1.0 } else { (1.0 / (1.0 + nth as f64)).sqrt() },
                slower: (b % 5 == 2).then(|| {
                    // Half of them lately, so that the default range of reports shows it.
                    let at = if b % 10 == 2 { shape.end - 14 * DAY } else { when(&mut rng, 0.3, 0.7) };
                    (at, if b % 2 == 0 { COMPILE } else { TEST }, 1.6 + rng.unit())
                }),
                warns: b % 6 == 1,
                flaky: (b % 6 == 4 || b % 4 == 3).then(|| (when(&mut rng, 0.1, 0.8), 0.02 + 0.06 * rng.unit())),
                lock: (b % 5 == 1).then_some(b % 3),
                // Few: their rows are many.
                tests: (3..3 + 10.max(shape.builders / 40)).contains(&b) && b % 2 == 1,
                collapses: b % 3 != 2,
                log_bytes: rng.log_normal(60_000.0, 1.0),
            });
        }
        let project_totals = zipf(n_projects, 0.8);
        let all = project_totals[n_projects - 1];
        let share = |p: usize| (project_totals[p] - if p == 0 { 0.0 } else { project_totals[p - 1] }) / all;
        let builder_totals = zipf(shape.builders, 0.7);
        let commits = 1.0 - NIGHTLY - FORCED;
        let mean: f64 = projects
            .iter()
            .enumerate()
            .map(|(p, x)| {
                let parts: f64 = x.builders.iter().map(|b| builders[*b].part).sum();
                share(p) * (commits * parts + NIGHTLY * x.builders.len() as f64)
            })
            .sum::<f64>()
            + FORCED;
        let buildsets = shape.builds as f64 / mean;

        // Workers: so many that they are busy a third of the time, and all of it now and then.
        let mut load = vec![0.0; n_pools];
        for (p, project) in projects.iter().enumerate() {
            for b in &project.builders {
                let per = commits * builders[*b].part + NIGHTLY;
                load[builders[*b].pool] += buildsets * share(p) * per * builders[*b].seconds * 1.3;
            }
        }
        let mut workers = Vec::new();
        let pools = load
            .iter()
            .enumerate()
            .map(|(n, seconds)| {
                let slots = seconds / (shape.days as f64 * 86_400.0) / 0.33;
                let each = if slots > 4.0 { 4 } else { 2 };
                let count = ((slots / each as f64).ceil() as usize).max(1);
                let mine = (0..count).map(|k| {
                    let cost = (workers.len() % 4 != 3).then(|| 0.1 * (1 + workers.len() % 8) as f64);
                    workers.push(Worker { name: format!("w{n}-{k}"), slots: each, hourly_cost: cost });
                    workers.len() - 1
                });
                let mine = mine.collect();
                let faults = (0..(shape.days / 25).max(2))
                    .map(|_| {
                        let from = shape.start() + rng.below(shape.days as usize * 24) as i64 * HOUR;
                        (from, from + (1 + rng.below(4)) as i64 * HOUR)
                    })
                    .collect();
                Pool { workers: mine, faults }
            })
            .collect();
        let n_authors = (shape.builders / 2).clamp(12, 400);
        World {
            projects,
            project_totals,
            builder_totals,
            builders,
            workers,
            pools,
            authors: (0..n_authors).map(|a| format!("Author {a:03} <a{a:03}@example.org>")).collect(),
            author_totals: zipf(n_authors, 0.9),
            locks: ["deploy", "licences", "board"].map(str::to_owned).to_vec(),
            buildsets,
        }
    }

    pub fn faulty(&self, pool: usize, at: i64) -> bool {
        self.pools[pool].faults.iter().any(|(from, until)| (*from..*until).contains(&at))
    }

    /// buildset_line() of one source stamp.
    pub fn line(&self, project: usize, branch: &str) -> [u8; 16] {
        let text = serde_json::to_string(&[["", &self.projects[project].repository, branch]]).expect("text is JSON");
        Md5::digest(text.replace("\",\"", "\", \"")).into()
    }
}
