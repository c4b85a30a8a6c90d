//! Secrets that masters hold: given to the build that needs them, and seen nowhere.

use base64::Engine;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tidemill_tests::{Cluster, Pages, wait_until};

const FILE: &str = "geheim-of-a-file/4711";
const VARIABLE: &str = "geheim-of-a-variable?42";
const THIRD: &str = "geheim-of-a-function";
const OF_VAULT: &str = "geheim-of-a-vault:8200";

fn project(vault: &str) -> String {
    r#"
c = {}
c["secretsProviders"] = [
    secrets.SecretInAFile(dirname = "ci"),
    secrets.SecretInEnvironment(),
    secrets.HashiCorpVaultKvSecretProvider(vault_server = "VAULT", authenticator = secrets.VaultAuthenticatorToken(util.Secret("vault"))),
]
def _custom(self):
    cmd = self.shell(["sh", "-c", "echo custom $0", self.token])
    self.setProperty("leaked", self.token, "custom")
    return cmd.results()
Custom = util.BuildStep(implementation = _custom, attrs = {"token": util.attr(str)})
f = util.BuildFactory()
f.addStep(steps.ShellCommand(
    name = "both",
    command = ["sh", "-c", "echo $1; printf %s $KEY | base64; echo $KEY; echo $KEY > kept; sleep 0; cat kept", "x", util.Secret("api_token")],
    env = {"KEY": util.Secret("upload-key")},
))
f.addStep(steps.ShellCommand(name = "later", command = "cat kept"))
f.addStep(Custom(name = "custom", token = util.Interpolate("<%(secret:third)s>")))
f.addStep(steps.ShellCommand(
    name = "vault", command = ["sh", "-c", "echo $0 > kept; cat kept", util.Secret("team/app|password")],
))
f.addStep(steps.ShellCommand(name = "missing", command = ["echo", util.Secret("no-such")], flunkOnFailure = False))
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#
    .replace("VAULT", vault)
}

/// Counts rows of all tables that show this text in any column.
async fn rows_with(t: &Cluster, text: &str) -> Vec<(String, i64)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = current_schema() and table_type = 'BASE TABLE'",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut found = vec![];
    for table in tables {
        let sql = format!("select count(*) from {table} t where strpos(t::text, $1) > 0");
        let n: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(text).fetch_one(t.db.pool()).await.unwrap();
        if n > 0 {
            found.push((table, n));
        }
    }
    found
}

fn files_with(dir: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            files_with(&path, text, found);
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|w| w == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_master_reaches_the_command_and_nothing_that_anybody_reads() {
    let mut t = Cluster::start().await;
    let dir = t.dir().join("secrets");
    std::fs::create_dir_all(dir.join("ci")).unwrap();
    std::fs::write(dir.join("ci/upload-key"), format!("{FILE}\n")).unwrap();
    std::fs::set_permissions(dir.join("ci/upload-key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    t.master_env = vec![
        ("TIDEMILL_MASTER_SECRETS_DIR".into(), dir.display().to_string()),
        ("TIDEMILL_SECRET_API_TOKEN".into(), VARIABLE.into()),
        ("TIDEMILL_SECRET_THIRD".into(), THIRD.into()),
        ("TIDEMILL_SECRET_VAULT".into(), "s.token".into()),
        ("TIDEMILL_MASTER_POLL_LOCAL_ADDRESSES".into(), "true".into()),
    ];
    let vault = Pages::default();
    vault.say("/v1/secret/data/team/app", json!({ "data": { "data": { "password": OF_VAULT } } }));
    let m = t.master().await;
    t.configure(m, &project(&vault.start().await)).await;
    let w = t.worker("w1", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 4, "a secret that nobody has is an exception");
    let build = t.build_of(request, "finished").await;

    let log = String::from_utf8(t.log(m, build, 1, "stdio").await).unwrap();
    let (key, token) = ("<secret upload-key>", "<secret api_token>");
    assert!(log.starts_with(&format!("{token}\n{key}")), "{log}");
    assert_eq!(log.matches(key).count(), 3, "also in base64: {log}");
    assert_eq!(String::from_utf8(t.log(m, build, 2, "stdio").await).unwrap(), format!("{key}\n"));
    assert_eq!(String::from_utf8(t.log(m, build, 3, "stdio").await).unwrap(), "custom <<secret third>>\n");
    let properties = t.api(m).get(&format!("builds/{build}/properties")).await.unwrap();
    assert!(properties.to_string().contains("<<secret third>>"), "{properties}");
    let error = String::from_utf8(t.log(m, build, 5, "err.text").await).unwrap();
    assert!(error.contains("no-such") && error.contains("no provider of the project knows"), "{error}");

    let log = String::from_utf8(t.log(m, build, 4, "stdio").await).unwrap();
    assert_eq!(log, "<secret team/app|password>\n");

    // It did reach the command: the build itself kept it.
    let kept = t.workers[w].base.join("builds/b/build/kept");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), format!("{OF_VAULT}\n"));
    std::fs::remove_file(&kept).unwrap();
    for value in [FILE, VARIABLE, THIRD, OF_VAULT] {
        let coded = base64::prelude::BASE64_STANDARD.encode(value);
        for text in [value, &coded[..16]] {
            assert_eq!(rows_with(&t, text).await, [], "{text} is in the database");
            let mut found = vec![];
            files_with(&t.workers[w].base, text, &mut found);
            assert!(found.is_empty(), "{text} is in {found:?}");
            for process in [&t.masters[m].process, &t.workers[w].process] {
                assert!(!process.output().contains(text), "{} logs {text}", process.name);
            }
        }
        for step in 1..=5 {
            let path = format!("builds/{build}/steps/{step}/logs/stdio/raw?headers=1");
            let raw = t.api(m).bytes(&path).await.unwrap_or_default();
            assert!(!String::from_utf8_lossy(&raw).contains(value), "step {step} shows {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_given_under_a_lease_only_and_only_if_the_project_names_it() {
    let mut t = Cluster::start().await;
    let dir = t.dir().join("secrets");
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["named", "other"] {
        std::fs::write(dir.join(name), "geheim").unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    t.master_env = vec![("TIDEMILL_MASTER_SECRETS_DIR".into(), dir.display().to_string())];
    let m = t.master().await;
    let gate = t.dir().join("gate");
    let text = format!(
        "c = {{}}\nc[\"secretsProviders\"] = [secrets.SecretInAFile()]\nf = util.BuildFactory()\n\
         f.addStep(steps.ShellCommand(command = \"while [ ! -e {} ]; do sleep 0.1; done\", env = {{\"K\": util.Secret(\"named\")}}))\n\
         c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\n",
        gate.display()
    );
    t.configure(m, &text).await;
    let w = t.worker("w1", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    let build = t.build_of(request, "running").await;
    let token: String = sqlx::query_scalar("select token from leases where build_id = $1")
        .bind(build)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    let bearer = std::fs::read_to_string(t.workers[w].base.join("token")).unwrap();
    let client = reqwest::Client::new();
    let url = format!("{}/worker/v1/secret", t.master_url(m));
    let ask = async |bearer: &str, build: i64, token: &str, name: &str| {
        let body = json!({ "build": build, "token": token, "name": name });
        let answer = client.post(&url).bearer_auth(bearer.trim()).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(&bearer, build, &token, "named").await, (200, r#"{"value":"geheim"}"#.into()));
    let (status, said) = ask(&bearer, build, &token, "other").await;
    assert_eq!(status, 403, "{said}");
    assert!(!said.contains("geheim") && said.contains("no file of the project names"), "{said}");
    for (bearer, build, token, wanted) in [
        (bearer.as_str(), build, "guessed", 409),
        (bearer.as_str(), build + 1, token.as_str(), 409),
        (t.token.as_str(), build, token.as_str(), 403),
        ("tmw_wrong", build, token.as_str(), 401),
    ] {
        let (status, said) = ask(bearer, build, token, "named").await;
        assert_eq!(status, wanted, "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }
    std::fs::write(&gate, "").unwrap();
    assert_eq!(t.result_of(request).await, 0);
    wait_until("the lease to be gone", || async {
        let (status, said) = ask(&bearer, build, &token, "named").await;
        if status == 409 { Ok(()) } else { Err(said) }
    })
    .await;
}
