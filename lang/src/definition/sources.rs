//! Change sources, and the shape of what is only declared.

use super::SecretText;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSourceDef {
    /// Unique; the default is the kind and the repository.
    pub name: String,
    pub kind: ChangeSourceKind,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSourceKind {
    GitPoller(GitPollerDef),
    /// The project's own poller (C-30 to C-33): [`crate::policies::Policies::poll`].
    Custom(CustomPollerDef),
    /// Any other of Buildbot's, with its arguments under Buildbot's names. A
    /// `split_file` is called through [`crate::policies::Policies::split_file`].
    Declared(Declared),
}

impl ChangeSourceKind {
    /// Buildbot's name of the kind.
    pub fn name(&self) -> &str {
        match self {
            ChangeSourceKind::GitPoller(_) => "GitPoller",
            ChangeSourceKind::Custom(_) => "PollingChangeSource",
            ChangeSourceKind::Declared(declared) => &declared.kind,
        }
    }
}

/// Something that the project file declares and this crate only carries:
/// a reporter, a secrets provider, a latent worker, a form field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Buildbot's name without the namespace, such as `MailNotifier`.
    pub kind: String,
    /// Unique among its kind where it has one; else empty.
    #[serde(default)]
    pub name: String,
    /// Arguments under Buildbot's names. Nested declarations are
    /// `{"$declared": {kind, name, args}}`; placeholders `{"$placeholder": text}`,
    /// functions `{"$function": name}`, secrets `{"$secret": name}`.
    #[serde(default)]
    pub args: BTreeMap<String, Value>,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GitPollerDef {
    pub repourl: String,
    pub branches: Branches,
    pub poll_interval_us: u64,
    /// Emit nothing at first but remember the heads, unless this is set (D-38).
    #[serde(default)]
    pub build_pushes_with_no_commits: bool,
    /// Tags instead of branches.
    #[serde(default)]
    pub only_tags: bool,
    /// A change carries the commit's time; else that of its arrival.
    #[serde(default = "yes")]
    pub use_timestamps: bool,
    /// Added to each pause, drawn between the two.
    #[serde(default)]
    pub random_delay_min_us: u64,
    #[serde(default)]
    pub random_delay_max_us: u64,
    #[serde(default)]
    pub project: String,
    #[serde(default)]
    pub codebase: String,
    #[serde(default)]
    pub category: Option<String>,
    /// The file has a function for it: [`crate::policies::Policies::source_project`].
    #[serde(default)]
    pub project_function: bool,
    /// The same: [`crate::policies::Policies::source_category`].
    #[serde(default)]
    pub category_function: bool,
    #[serde(default)]
    pub credentials: GitCredentials,
}

fn yes() -> bool {
    true
}

/// How a poller proves itself (CS-06).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GitCredentials {
    #[serde(default)]
    pub ssh_private_key: Option<SecretText>,
    /// A line of known_hosts without its first word: the key of the URL's host.
    #[serde(default)]
    pub ssh_host_key: Option<SecretText>,
    /// The whole text of a known_hosts file.
    #[serde(default)]
    pub ssh_known_hosts: Option<SecretText>,
    /// For HTTP, by the beginning of addresses; without one, for the repository's own.
    #[serde(default)]
    pub logins: Vec<Login>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Login {
    #[serde(default)]
    pub url: Option<String>,
    pub username: SecretText,
    pub password: SecretText,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// The remote's HEAD.
    #[default]
    Default,
    All,
    /// Names; `*` and `?` match as in a shell.
    Named(Vec<String>),
    /// Those of which a function says so: [`crate::policies::Policies::branches_wanted`].
    Function,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CustomPollerDef {
    pub poll_interval_us: u64,
    /// Poll at once when it is first seen.
    #[serde(default)]
    pub poll_at_launch: bool,
    #[serde(default)]
    pub project: String,
    #[serde(default)]
    pub codebase: String,
    #[serde(default)]
    pub category: Option<String>,
    /// What the file passes to the function as `ctx.attrs`.
    #[serde(default)]
    pub attrs: BTreeMap<String, Value>,
}

/// How a revision becomes a link (CS-03). The first that fits wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevlinkDef {
    /// Repositories that match this regular expression from their start; `%s` in
    /// the template is the revision, `\1` … are groups.
    Template { repository: String, link: String },
    /// A function of revision and repository.
    Function,
}
