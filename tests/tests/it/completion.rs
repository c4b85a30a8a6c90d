//! Completion in a real shell.

use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, invariants};

/// What bash offers for a command line at its last word.
fn offered(master: &str, words: &[&str]) -> Vec<String> {
    let folder = program("tidemill").parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let line = words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "source <(tidemill completion bash)\n\
         COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9\n\
         _clap_complete_tidemill tidemill \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).env("PATH", path).env("TIDEMILL_MASTER", master).env_remove("TIDEMILL_TOKEN");
    let (code, text) = outcome(&mut bash);
    assert_eq!(code, Some(0), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_in_bash_offers_commands_names_of_builders_and_builds() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(
        m,
        r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(name = "run", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = n, workernames = ["*"], factory = f)
                 for n in ["linux", "lint", "mac", "li; reboot"]]
"#,
    )
    .await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "lint").await;
    assert_eq!(t.result_of(request).await, 0);
    let url = t.master_url(m);
    assert_eq!(offered(&url, &["tidemill", "che"]), ["checkconfig"]);
    assert_eq!(offered(&url, &["tidemill", "force", "li"]), ["lint", "linux"]);
    assert_eq!(offered(&url, &["tidemill", "builds", "--builder", "m"]), ["mac"]);
    assert_eq!(offered(&url, &["tidemill", "watch", "lint/"]), ["lint/latest", "lint/1"]);
    assert_eq!(offered(&url, &["tidemill", "log", "lint"]), ["lint/latest", "lint/1"]);
    // Without a master a TAB is silent.
    assert_eq!(offered("http://127.0.0.1:1", &["tidemill", "force", "li"]).concat(), "");
    invariants::check(&t.db).await;
}
