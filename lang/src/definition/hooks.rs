//! Hooks: addresses to which others send what happened (`c["www"]`).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tidemill_model::SecretText;

/// A dialect of `POST /change_hook/<name>` that the project allows (WH-01).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookDef {
    /// As in the address.
    pub name: String,
    pub dialect: HookDialect,
    /// With it who sends proves that it is who it says.
    #[serde(default)]
    pub secret: Option<SecretText>,
    /// False: a delivery that proves nothing is taken too, and believed nothing.
    pub strict: bool,
    /// What becomes of pull requests of people who may not write to the repository.
    pub outsiders: Outsiders,
    /// Globs of the repositories that it is for, by name or address; empty: all.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Accounts of the forge whose pull requests are as good as their pushes.
    #[serde(default)]
    pub insiders: Vec<String>,
    /// Of GitHub: build what a merge would give, or the head itself.
    #[serde(default)]
    pub pull_request_ref: PullRequestRef,
    /// Of GitHub: with it the head commit's message and the files of a pull request are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretText>,
    /// Where they are; none: GitHub itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Globs of the facts about a pull request that become properties.
    #[serde(default)]
    pub property_whitelist: Vec<String>,
    /// Regular expressions; a head commit whose message matches one is left alone.
    #[serde(default)]
    pub skips: Vec<String>,
    /// Set on its changes.
    #[serde(default)]
    pub codebase: Option<String>,
    /// A function of the payload names the codebase: [`crate::policies::Policies::hook_codebase`].
    #[serde(default)]
    pub codebase_function: bool,
    /// Pollers that a hit may let poll; none: all.
    #[serde(default)]
    pub allowed: Option<Vec<String>>,
    /// Of a custom dialect: the header that carries the body's HMAC.
    #[serde(default)]
    pub signature_header: Option<String>,
    /// Of a custom dialect: the header that carries the secret itself.
    #[serde(default)]
    pub token_header: Option<String>,
    /// What the file passes to a custom dialect's function as `request.attrs`.
    #[serde(default)]
    pub attrs: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookDialect {
    Base,
    Bitbucket,
    BitbucketServer,
    /// A function of the project: [`crate::policies::Policies::hook`].
    Custom,
    Gerrit,
    Gitea,
    Github,
    Gitlab,
    Poller,
}

/// What becomes of a change that an outsider made (A14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outsiders {
    /// Kept apart until somebody with the right to control approves this very revision.
    #[default]
    Approve,
    /// Built at once, without secrets.
    Build,
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestRef {
    #[default]
    Merge,
    Head,
}

/// Who may use hooks by HTTP basic authentication (`change_hook_auth`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookUser {
    pub name: String,
    pub password: SecretText,
}
