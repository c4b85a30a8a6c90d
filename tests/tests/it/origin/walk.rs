//! All examples in order on one cluster: applied, and each builder built.

use super::{Origin, edited, files, folder};
use serde_json::{Value, json};
use tidemill_tests::{Repository, invariants};

/// For each example: its warnings after `!`, and how a build of each builder ends.
const EXPECTED: &str = r#"
c-02-generated-builders
  test-pypy3 success: version success, test success
  test-python3.10 success: version success, test success
  test-python3.11 success: version success, test success
  test-python3.12 success: version success, test success
  test-python3.13 success: version success, test success
  test-python3.9 success: version success, test success
c-03-namespaces
  hello success: shell success, Greet success
c-05-merge-on-same-branch
  bisect success: shell success
  nightlies success: shell success
c-06-merge-on-same-reason
  ! c["mergeRequests"] is an old name of c["collapseRequests"]
  linux success: shell success
c-07-merge-on-fetched-facts
  all success: shell success
c-08-merge-by-key
  busy success: shell success
c-09-builders-left-out
  doctor success: shell success
  stable success: shell success
  wild success: shell success
c-10-builder-ranks
  final-release success: shell success
  hotfix success: shell success
  packages success: shell success
  tests success: shell success
c-100-framboozle
  demo success: string_download success, chmod success, Framboozle success
c-101-in-the-file
  plain success: shell success
  whimsy success: Framboozle success
c-103-in-a-library
  whimsy success: Framboozle success, again success
c-105-reconfig
  quick success: shell success
  slow success: shell success
c-107-package
  whimsy success: Framboozle success
c-12-release-first
  ship success: shell success
c-13-smallest-number-first
  shared success: shell success
c-15-svn-one-trunk
  scanner success: svn success, shell success
c-16-svn-higher-address
  scanner success: svn success, shell success
c-17-splitter-contract
  teams success: shell success
c-19-svn-branches
  release success: svn success, shell success
  rest success: svn success, shell success
  trunk success: svn success, shell success
c-21-svn-projects
  printer success: svn success, shell success
  scanner success: svn success, shell success
c-24-svn-branch-before-project
  web success: svn success, shell success
c-25-svn-second-project
  mail success: svn success, shell success
  web success: svn success, shell success
c-28-external-notifier
  vault success: shell success
c-31-change-with-all-fields
  core success: shell success
c-32-sources-that-stay
  linux success: shell success
c-33-poller
  tarballs failure: shell failure
c-34-start-instance
  ! worker.CustomLatentWorker is accepted but not run by this release
  large waits for a worker that may build it: none is connected
c-36-stop-instance
  ! worker.CustomLatentWorker is accepted but not run by this release
  linux waits for a worker that may build it: none is connected
c-37-latent-workers
  ! worker.EC2LatentWorker is accepted but not run by this release
  big success: shell success
c-38-fixed-sequence
  demo warnings: prepare success, lint failure, compile success, clean success
c-39-dynamic-build
  demo success: make parts success, Plan success, check ink success, check paper success, report success, sum up success
c-40-workdir-function
  ! `slavename` of c["builders"][0] is an old name of `workernames`
  ! `builddir` is accepted but not run by this release
  many-repositories success: git success, shell success, notes success
c-44-test-results
  demo failure: string_download success, check failure, lost failure
c-45-step-values
  double success: tick success, tick_1 success
  single success: tick success
c-48-frobnify
  demo success: Frobnify success, roughly success
c-49-fast-frobnify
  demo success: FastFrobnify success, faster success
c-50-run
  demo exception: quiet success, success success, warnings warnings, failure failure, skipped skipped, exception exception
c-52-remote-command
  demo success: Housekeeping success
c-56-cleanup-with-force
  demo success: string_download success, RunCleanup success
c-57-use-log
  demo success: TwoLogs success
c-60-summaries
  demo success: Compile success, clean success
c-64-channels
  demo success: Speak success
c-69-get-log
  demo exception: work success, careless exception
c-70-lint-summary
  demo success: Lint warnings
c-72-growing-log
  demo success: Update success
c-73-html-log
  demo success: shell success, Measure success
c-74-watched-files
  demo success: Check success
c-76-chained-observers
  demo failure: Sift failure
c-78-collect-stdout
  demo success: Describe success, tell success
c-80-line-observer
  demo success: usual success, wide success
c-82-test-case-counter
  demo success: string_download success, Trial success
c-86-make-tarball
  demo success: MakeDirectory success, MakeTarball success
c-87-property-visibility
  demo success: Bump success, Bump_1 success
c-88-statistics
  demo success: a warnings, b success, c warnings, total success
c-90-step-urls
  demo success: Coverage success
c-91-file-discovery
  demo success: shell success, Look success
c-94-find-compiled
  demo failure: shell success, full success, empty success, plain warnings, absent failure
c-95-worker-capabilities
  demo exception: fits success, too new skipped, unknown exception
c-96-step-text
  demo success: Tell success
c-97-status-services
  demo success: shell success
"#;

/// Their workers are machines that nobody starts yet.
const LATENT: [&str; 2] = ["c-34-start-instance", "c-36-stop-instance"];

impl Origin {
    /// What an open request waits for; it is cancelled then.
    async fn waits(&self, request: i64) -> String {
        let api = self.t.api(self.m);
        let row = api.list(&format!("buildrequests/{request}")).await.unwrap().remove(0);
        api.post(&format!("buildrequests/{request}/cancel"), json!({})).await.unwrap();
        assert_eq!(self.t.result_of(request).await, 6);
        format!("waits for {}", row["waits_for"].as_str().unwrap_or_default())
    }
}

/// What a forced build of this example is told.
fn wishes(name: &str, repository: &Repository) -> Value {
    match name {
        "c-40-workdir-function" => json!({ "repository": repository.url() }),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_is_applied_and_each_of_its_builders_builds_and_ends_as_its_text_says() {
    let mut o = Origin::start().await;
    let repository = Repository::create(o.t.dir());
    for name in ["any", "pool-0", "ada", "always-there", "lin-1"] {
        o.worker(name, 6).await;
    }
    let mut names: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut seen = String::from("\n");
    for name in &names {
        let mut files = files(name);
        if name == "c-03-namespaces" {
            files = edited(files, "https://example.org/hello.git", &repository.url());
        }
        let warnings = o.apply_files(files).await;
        seen += &format!("{name}\n");
        warnings.iter().for_each(|w| seen += &format!("  ! {w}\n"));
        let (active, defined) = o.builders().await;
        assert_eq!(active, defined, "{name}");
        let mut requests = vec![];
        for builder in &active {
            requests.push((builder, o.force(builder, wishes(name, &repository)).await));
        }
        for (builder, request) in requests {
            let end = match LATENT.contains(&name.as_str()) {
                true => o.waits(request).await,
                false => o.built(request).await.outcome(),
            };
            seen += &format!("  {builder} {end}\n");
        }
    }
    assert!(seen == EXPECTED, "this is what happened:\n{seen}");
    invariants::check(&o.t.db).await;
}
