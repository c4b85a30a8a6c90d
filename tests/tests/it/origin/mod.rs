//! The projects of `examples/origin` on real masters and workers: each is
//! applied as it stands, and does what its text says. Only addresses of
//! example.org become addresses of this machine, and programs that are not here
//! have stand-ins.

mod reconfigured;
mod requests;
mod sources;
mod stand_ins;
mod steps;
mod walk;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, Pages, wait_until};

const RESULTS: [&str; 7] = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"];

type Files = BTreeMap<String, String>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/origin")
}

/// The files of a project as `tidemill reconfig` takes them.
fn files(name: &str) -> Files {
    fn walk(folder: &Path, base: &Path, found: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                walk(&path, base, found);
            } else if name.ends_with(".star") || name == tidemill_lang::packages::MANIFEST {
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let base = folder().join(name);
    let mut found = Files::new();
    walk(&base, &base, &mut found);
    found
}

/// A text of the root file replaced; it must be there.
#[track_caller]
fn edited(mut files: Files, from: &str, to: &str) -> Files {
    let text = files.get_mut("master.star").unwrap();
    assert!(text.contains(from), "there is no {from:?} in {text}");
    *text = text.replace(from, to);
    files
}

/// A master, and what the examples reach for outside of it.
struct Origin {
    t: Cluster,
    m: usize,
    /// In the place of https://example.org.
    pages: Pages,
    site: String,
}

impl Origin {
    async fn start() -> Origin {
        let mut t = Cluster::start().await;
        stand_ins::write(&t);
        let pages = Pages::default();
        let site = pages.start().await;
        let m = t.master().await;
        Origin { t, m, pages, site }
    }

    async fn worker(&mut self, name: &str, slots: u32) -> usize {
        let url = self.t.master_url(self.m);
        self.t.worker(name, &url, slots).await
    }

    /// Applies an example and waits until it is the active revision; gives the texts of its warnings.
    async fn apply(&self, name: &str) -> Vec<String> {
        self.apply_files(files(name)).await
    }

    async fn apply_files(&self, mut files: Files) -> Vec<String> {
        for (name, text) in &mut files {
            if name.ends_with(".star") {
                *text = text.replace("https://example.org", &self.site);
            }
        }
        let applied = self.t.configure_files(self.m, &files).await.unwrap_or_else(|e| panic!("{e}"));
        let revision = applied["revision"].as_i64().expect("a revision");
        let api = self.t.api(self.m);
        wait_until(&format!("revision {revision} to be active"), || async {
            let active = api.get("config").await?;
            holds(active["revision"] == revision && active["ready"] == true, &active["revision"])
        })
        .await;
        let warnings = applied["warnings"].as_array().expect("a list of warnings");
        warnings.iter().map(|w| w["message"].as_str().unwrap().to_owned()).collect()
    }

    /// A client command against the master.
    fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program("tidemill"));
        command.args(args).env("TIDEMILL_MASTER", self.t.master_url(self.m)).env("TIDEMILL_TOKEN", &self.t.token);
        outcome(&mut command)
    }

    /// Names of the builders that are active, and those that the active revision defines, both sorted.
    async fn builders(&self) -> (Vec<String>, Vec<String>) {
        let api = self.t.api(self.m);
        let names = |rows: &[Value]| {
            let mut names: Vec<_> = rows.iter().map(|b| b["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let rows = api.list("builders?active=true&limit=1000").await.unwrap();
        let revision = api.get("config").await.unwrap()["revision"].clone();
        let content = api.get_with_token(&format!("config/revisions/{revision}/content")).await.unwrap();
        (names(&rows), names(content["definition"]["builders"].as_array().unwrap()))
    }

    async fn force(&self, builder: &str, body: Value) -> i64 {
        let answer = self.t.api(self.m).post(&format!("builders/{builder}/force"), body).await;
        answer.unwrap_or_else(|e| panic!("{e}"))["buildrequestids"][0].as_i64().expect("an id")
    }

    /// Waits for the request's end; its build.
    async fn built(&self, request: i64) -> Built {
        self.t.result_of(request).await;
        let id = self.t.build_of(request, "finished").await;
        let api = self.t.api(self.m);
        let row = api.list(&format!("builds/{id}?property=*")).await.unwrap().remove(0);
        let steps = api.list(&format!("builds/{id}/steps?order=number")).await.unwrap();
        let mut built = Built { id, row, steps, logs: vec![] };
        for step in &built.steps {
            let mut texts = BTreeMap::new();
            for log in api.list(&format!("steps/{}/logs", step["stepid"])).await.unwrap() {
                let raw = api.bytes(&format!("logs/{}/raw", log["logid"])).await.unwrap();
                let text = String::from_utf8(raw).expect("examples write UTF-8");
                texts.insert(log["name"].as_str().unwrap().to_owned(), (log, text));
            }
            built.logs.push(texts);
        }
        built
    }

    /// Forces a builder and waits.
    async fn build(&self, builder: &str) -> Built {
        let request = self.force(builder, json!({})).await;
        self.built(request).await
    }

    /// What is in the log of a step with the worker's own lines.
    async fn with_headers(&self, built: &Built, step: &str, log: &str) -> String {
        let id = &built.logs[built.at(step)][log].0["logid"];
        let raw = self.t.api(self.m).bytes(&format!("logs/{id}/raw?headers=1")).await.unwrap();
        String::from_utf8(raw).expect("examples write UTF-8")
    }

    /// A page as a browser without any token gets it.
    async fn page(&self, path: &str) -> String {
        let url = format!("{}/{path}", self.t.master_url(self.m));
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    /// Waits until as many rows of the REST API are there.
    async fn rows(&self, path: &str, count: usize) -> Vec<Value> {
        wait_until(&format!("{count} rows of {path}"), || async {
            let rows = self.t.api(self.m).list(path).await?;
            holds(rows.len() == count, json!(rows))?;
            Ok::<_, String>(rows)
        })
        .await
    }
}

/// A build that ended, as the REST API gives it.
#[derive(Debug)]
struct Built {
    id: i64,
    row: Value,
    steps: Vec<Value>,
    /// Of each step, by name: the row and the text.
    logs: Vec<BTreeMap<String, (Value, String)>>,
}

impl Built {
    #[track_caller]
    fn at(&self, step: &str) -> usize {
        let at = self.steps.iter().position(|s| s["name"] == step);
        at.unwrap_or_else(|| panic!("no step {step} in {:#?}", self.steps))
    }

    #[track_caller]
    fn step(&self, name: &str) -> &Value {
        &self.steps[self.at(name)]
    }

    /// The words that are shown for a step.
    #[track_caller]
    fn words(&self, step: &str) -> &str {
        self.step(step)["state_string"].as_str().unwrap()
    }

    #[track_caller]
    fn log(&self, step: &str, log: &str) -> &str {
        let logs = &self.logs[self.at(step)];
        &logs.get(log).unwrap_or_else(|| panic!("{step} has no log {log}, but {logs:#?}")).1
    }

    fn property(&self, name: &str) -> &Value {
        &self.row["properties"][name][0]
    }

    /// Its end on a line: `result: step result, step result`.
    fn outcome(&self) -> String {
        let word = |row: &Value| RESULTS[row["results"].as_u64().expect("it has ended") as usize];
        let steps: Vec<_> = self.steps.iter().map(|s| format!("{} {}", s["name"].as_str().unwrap(), word(s))).collect();
        format!("{}: {}", word(&self.row), steps.join(", "))
    }
}
