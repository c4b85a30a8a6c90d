//! Values of HashiCorp Vault's key-value store, versions 1 and 2.
//!
//! The project names server, mount and path; what proves this master is a secret
//! of its own ([`Secrets`]), and goes to that server only. A login by a role
//! lasts for one value and is ended afterwards.

use super::ProviderError;
use crate::pollers::http::Http;
use crate::secrets::Secrets;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tidemill_lang::definition::{Declared, SecretText};
use tidemill_lang::policies::HttpRequest;
use url::Url;

/// For all that one value takes.
const WITHIN: Duration = Duration::from_secs(15);
/// Most of an answer that an error shows.
const SHOWN_MAX: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    server: String,
    login: Login,
    mount: String,
    version: u64,
    names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    Token(SecretText),
    Role { id: SecretText, secret: SecretText },
}

/// How a secret's name says path and key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    Delimited {
        delimiter: char,
        escape: char,
    },
    /// The last part is the key.
    Slashed,
}

impl Vault {
    /// As a definition keeps it; what is wrong with it.
    pub fn of(declared: &Declared) -> Result<Vault, String> {
        let old = declared.kind == "SecretInVault";
        let arg = |now: &str, before: &str| declared.args.get(if old { before } else { now }).filter(|v| !v.is_null());
        let text = |v: Option<&Value>, otherwise: &str| v.and_then(Value::as_str).unwrap_or(otherwise).to_owned();
        let secret = |args: &Map<String, Value>, name: &str| {
            let value = args.get(name).cloned().unwrap_or_default();
            serde_json::from_value::<SecretText>(value).map_err(|_| format!("`{name}` is no text and no util.Secret"))
        };
        let args: Map<String, Value> = declared.args.clone().into_iter().collect();
        let login = if old {
            Login::Token(secret(&args, "vaultToken")?)
        } else {
            let given = args.get("authenticator").and_then(|a| a.get("$declared"));
            let own = given.and_then(|g| g["args"].as_object()).cloned().unwrap_or_default();
            match given.and_then(|g| g["kind"].as_str()) {
                Some("VaultAuthenticatorToken") => Login::Token(secret(&own, "token")?),
                Some("VaultAuthenticatorApprole") => {
                    Login::Role { id: secret(&own, "roleId")?, secret: secret(&own, "secretId")? }
                }
                _ => return Err("`authenticator` is none".into()),
            }
        };
        let letter = |name: &str, otherwise: char| {
            let given = text(arg(name, name), &otherwise.to_string());
            let mut letters = given.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Ok(letter),
                _ => Err(format!("`{name}` is not one character")),
            }
        };
        let names = match old {
            true => Names::Slashed,
            false => {
                let (delimiter, escape) = (letter("path_delimiter", '|')?, letter("path_escape", '\\')?);
                Names::Delimited { delimiter, escape }
            }
        };
        Ok(Vault {
            server: text(arg("vault_server", "vaultServer"), ""),
            login,
            mount: text(arg("secrets_mount", "secretsmount"), "secret"),
            version: arg("api_version", "apiVersion").and_then(Value::as_u64).unwrap_or(if old { 1 } else { 2 }),
            names,
        })
    }

    /// The value; none if Vault has none, or the name is none of Vault's.
    /// `local` is whether addresses of this machine may be reached. Waits: not for an async thread.
    pub fn value(&self, secrets: &Secrets, local: bool, name: &str) -> Result<Option<String>, ProviderError> {
        let Some((path, key)) = self.names.split(name) else { return Ok(None) };
        let asking = Asking { server: self.server()?, http: Http::new(local) };
        let ask = async {
            let token = match &self.login {
                Login::Token(token) => secrets.resolve(token)?,
                Login::Role { id, secret } => {
                    let role = json!({ "role_id": secrets.resolve(id)?, "secret_id": secrets.resolve(secret)? });
                    let answer = asking.ask("POST", &["auth", "approle", "login"], None, role.to_string()).await?;
                    let token = answer.as_ref().and_then(|a| a.pointer("/auth/client_token")?.as_str());
                    token.ok_or_else(|| asking.said("the login gave no token"))?.to_owned()
                }
            };
            let found = asking.ask("GET", &self.place(&path), Some(&token), String::new()).await;
            if matches!(self.login, Login::Role { .. }) {
                let ended = asking.ask("POST", &["auth", "token", "revoke-self"], Some(&token), String::new()).await;
                if let Err(error) = ended {
                    tracing::debug!(%error, "a login to Vault could not be ended; it ends by its time");
                }
            }
            found
        };
        let within = async {
            let late = || asking.said(&format!("no whole answer within {} s", WITHIN.as_secs()));
            tokio::time::timeout(WITHIN, ask).await.unwrap_or_else(|_| Err(late()))
        };
        let Some(found) = tokio::runtime::Handle::current().block_on(within)? else { return Ok(None) };
        let data = if self.version == 1 { &found["data"] } else { &found["data"]["data"] };
        match data.get(&key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(plain @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(plain.to_string())),
            Some(_) => Err(asking.said(&format!("the value of {name:?} is a list or a map: name a key with a text"))),
        }
    }

    fn server(&self) -> Result<Url, ProviderError> {
        let url = Url::parse(&self.server).ok();
        url.filter(|u| matches!(u.scheme(), "http" | "https") && !u.cannot_be_a_base())
            .ok_or_else(|| ProviderError::Vault(format!("`{}` is no address of a Vault: write https://…", self.server)))
    }

    fn place<'a>(&'a self, path: &'a str) -> Vec<&'a str> {
        let data = (self.version != 1).then_some("data");
        self.mount.split('/').chain(data).chain(path.split('/')).filter(|p| !p.is_empty()).collect()
    }
}

impl Names {
    /// Path and key, if the name is of this form.
    fn split(&self, name: &str) -> Option<(String, String)> {
        let (path, key) = match self {
            Names::Slashed => match name.rsplit_once('/') {
                Some((path, key)) => (path.to_owned(), key.to_owned()),
                None => (name.to_owned(), "value".to_owned()),
            },
            Names::Delimited { delimiter, escape } => {
                let mut parts = vec![String::new()];
                let mut letters = name.chars();
                while let Some(letter) = letters.next() {
                    let plain = if letter == *escape { letters.next() } else { Some(letter) };
                    match plain {
                        Some(plain) if letter != *delimiter => parts.last_mut()?.push(plain),
                        Some(_) => parts.push(String::new()),
                        None => return None,
                    }
                }
                let [path, key] = <[String; 2]>::try_from(parts).ok()?;
                (path, key)
            }
        };
        // Nothing that leads out of the mount.
        let good = !key.is_empty() && path.split('/').all(|p| !p.is_empty() && p != "." && p != "..");
        good.then_some((path, key))
    }
}

struct Asking {
    server: Url,
    http: Http,
}

impl Asking {
    /// The answer as JSON; none: there is no such thing.
    async fn ask(
        &self,
        method: &str,
        path: &[&str],
        token: Option<&str>,
        body: String,
    ) -> Result<Option<Value>, ProviderError> {
        let mut url = self.server.clone();
        url.path_segments_mut().expect("checked when it was read").pop_if_empty().push("v1").extend(path);
        let shown = url.path().to_owned();
        let request = HttpRequest {
            method: method.to_owned(),
            url: url.into(),
            headers: token.iter().map(|t| ("x-vault-token".to_owned(), (*t).to_owned())).collect(),
            body,
            ..HttpRequest::default()
        };
        let reply = self.http.ask(&request, WITHIN).await.map_err(|why| self.said(&why))?;
        match reply.status {
            404 => Ok(None),
            204 => Ok(Some(Value::Null)),
            200 => serde_json::from_str(&reply.body)
                .map(Some)
                .map_err(|_| self.said(&format!("{method} {shown}: the answer is no JSON"))),
            status => {
                let said: Value = serde_json::from_str(&reply.body).unwrap_or_default();
                let errors: Vec<&str> =
                    said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let errors: String = errors.join("; ").chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
                Err(self.said(&format!("{method} {shown}: answer {status} {errors}")))
            }
        }
    }

    fn said(&self, what: &str) -> ProviderError {
        ProviderError::Vault(what.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_path_and_key_and_never_leads_out_of_the_mount() {
        let names = Names::Delimited { delimiter: '|', escape: '\\' };
        let split = |name: &str| names.split(name).map(|(p, k)| format!("{p} {k}"));
        assert_eq!(split("team/app|password").unwrap(), "team/app password");
        assert_eq!(split(r"a\|b|k\\ey").unwrap(), r"a|b k\ey");
        for other in ["plain", "a|b|c", "|k", "p|", "../sys|k", "a/../../sys|k", "a//b|k", r"a|b\"] {
            assert_eq!(split(other), None, "{other}");
        }
        let old = |name: &str| Names::Slashed.split(name).map(|(p, k)| format!("{p} {k}"));
        assert_eq!(old("team/app/password").unwrap(), "team/app password");
        assert_eq!(old("app").unwrap(), "app value");
        assert_eq!(old("../sys/k"), None);
    }
}
