//! Secrets of a Vault, against a server that answers as Vault's API is described.

#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use serde_json::{Value, json};
use server::{Asked, Reply, Server};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidemill_lang::{Limits, Project};
use tidemill_master::secret_providers::Providers;
use tidemill_model::revision::Files;
use tidemill_service::secrets::Secrets;

/// The providers of a project file.
fn providers(list: &str) -> Providers {
    let text = format!(
        "c = {{\"secretsProviders\": [{list}]}}\n\
         c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = util.BuildFactory([steps.Compile()]))]\n"
    );
    let project = Project::evaluate(&Files::single(text), &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    Providers::of(&serde_json::to_value(&project.definition().secrets_providers).unwrap())
}

struct Site {
    server: Server,
    dir: tempfile::TempDir,
    /// Logins that were not ended.
    logins: Arc<AtomicUsize>,
}

impl Site {
    async fn new() -> Site {
        tidemill_service::install_tls();
        let logins = Arc::new(AtomicUsize::new(0));
        let open = logins.clone();
        let server = Server::start(move |asked: &Asked| {
            if asked.path() == "/v1/auth/approle/login" {
                let role: Value = serde_json::from_slice(&asked.body).unwrap();
                if asked.method != "POST" || role != json!({ "role_id": "ci", "secret_id": "of the role" }) {
                    return Reply::json(json!({ "errors": ["invalid role or secret ID"] })).of_status(400);
                }
                open.fetch_add(1, Ordering::SeqCst);
                return Reply::json(json!({ "auth": { "client_token": "s.role" } }));
            }
            let token = asked.header("x-vault-token").unwrap_or_default();
            if !["s.token", "s.role"].contains(&token) {
                return Reply::json(json!({ "errors": ["permission denied"] })).of_status(403);
            }
            match asked.path() {
                "/v1/auth/token/revoke-self" if token == "s.role" => {
                    open.fetch_sub(1, Ordering::SeqCst);
                    Reply::status(204)
                }
                "/v1/kv/team/data/app/web" => {
                    Reply::json(json!({ "data": { "data": { "password": "hunter2 \u{fc}", "port": 80, "map": {} } } }))
                }
                "/v1/secret/app" => Reply::json(json!({ "data": { "value": "old", "other": "o" } })),
                _ => Reply::json(json!({ "errors": [] })).of_status(404),
            }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in
            [("vault-token", "s.token\n"), ("role", "of the role"), ("wrong", "x"), ("plain", "of a file")]
        {
            std::fs::write(dir.path().join(name), value).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Site { server, dir, logins }
    }

    async fn ask(&self, list: &str, name: &str) -> Result<String, String> {
        let providers = providers(&list.replace("SERVER", &self.server.url()));
        let (secrets, name) = (Secrets::new(Some(self.dir.path().into())), name.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || providers.value(&secrets, true, &name).map_err(|e| e.to_string()));
        asked.await.unwrap()
    }
}

const TOKEN: &str = r#"secrets.HashiCorpVaultKvSecretProvider(vault_server = "SERVER", secrets_mount = "kv/team",
    authenticator = secrets.VaultAuthenticatorToken(util.Secret("vault-token")))"#;
const ROLE: &str = r#"secrets.HashiCorpVaultKvSecretProvider(vault_server = "SERVER/", secrets_mount = "kv/team",
    authenticator = secrets.VaultAuthenticatorApprole("ci", util.Secret("role")))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_a_key_at_a_path_read_with_a_token_or_a_login_that_is_ended() {
    let site = Site::new().await;
    for provider in [TOKEN, ROLE] {
        assert_eq!(site.ask(provider, "app/web|password").await.unwrap(), "hunter2 \u{fc}");
        assert_eq!(site.ask(provider, "app/web|port").await.unwrap(), "80");
        assert!(site.ask(provider, "app/web|map").await.unwrap_err().contains("a list or a map"));
        for unknown in ["app/web|none", "app/none|password", "password"] {
            assert!(site.ask(provider, unknown).await.unwrap_err().contains("no provider"), "{unknown}");
        }
    }
    assert_eq!(site.logins.load(Ordering::SeqCst), 0, "each login is ended");
    let old = r#"secrets.SecretInVault(vaultServer = "SERVER", vaultToken = util.Secret("vault-token"))"#;
    assert_eq!(site.ask(old, "app").await.unwrap(), "old");
    assert_eq!(site.ask(old, "app/other").await.unwrap(), "o");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_provider_is_asked_for_what_vault_has_not_and_a_refusal_is_told() {
    let site = Site::new().await;
    let both = format!("{TOKEN}, secrets.SecretInAFile()");
    assert_eq!(site.ask(&both, "plain").await.unwrap(), "of a file");
    let swapped = format!("secrets.SecretInAFile(), {TOKEN}");
    assert_eq!(site.ask(&swapped, "app/web|password").await.unwrap(), "hunter2 \u{fc}");
    // Which is no reason to look further: another value under the name would be a surprise.
    let refused = site.ask(&both.replace("vault-token", "wrong"), "app/web|password").await.unwrap_err();
    assert_eq!(refused, "Vault: GET /v1/kv/team/data/app/web: answer 403 permission denied");
    let refused = site.ask(&ROLE.replace("\"role\"", "\"wrong\""), "app/web|password").await.unwrap_err();
    assert!(refused.contains("answer 400 invalid role or secret ID") && !refused.contains("\"x\""), "{refused}");
    let missing = site.ask(&TOKEN.replace("vault-token", "gone"), "app/web|password").await.unwrap_err();
    assert!(missing.contains("there is no secret \"gone\""), "{missing}");
    let nowhere = site.ask(&TOKEN.replace("SERVER", "file:///etc"), "app/web|password").await.unwrap_err();
    assert!(nowhere.contains("no address of a Vault"), "{nowhere}");
    let closed = site.ask(&TOKEN.replace("SERVER", "http://169.254.169.254"), "app/web|password").await.unwrap_err();
    assert!(closed.contains("metadata"), "{closed}");
}
