//! How a reporter reaches the other side, and whom.

use super::SecretText;
use super::reporters::{Renderable, Wants};
use super::sources::Login;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `reporters.MailNotifier` (RP-06).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailDef {
    pub fromaddr: String,
    pub relayhost: String,
    pub port: u16,
    #[serde(default)]
    pub tls: MailTls,
    #[serde(default)]
    pub verify: Verify,
    #[serde(default)]
    pub user: Option<SecretText>,
    #[serde(default)]
    pub password: Option<SecretText>,
    /// Whether those whom the generators blame are told.
    pub send_to_interested_users: bool,
    /// Told each message.
    #[serde(default)]
    pub extra_recipients: Vec<String>,
    /// From the name of a person to an address; without it only what is an address is one.
    #[serde(default)]
    pub lookup: Option<LookupDef>,
    /// Rendered by `Policies::headers`.
    #[serde(default)]
    pub extra_headers: BTreeMap<String, Renderable>,
    /// Messages carry a link with which the recipient leaves.
    #[serde(default = "yes")]
    pub unsubscribe: bool,
    /// Lines of a failed step's log around its first error that the default text shows.
    #[serde(default = "forty")]
    pub excerpt_lines: u32,
    /// Bytes of all attachments of a message; what is beyond is left out, and said.
    #[serde(default = "mebibyte")]
    pub attachments_max: u64,
}

fn yes() -> bool {
    true
}

fn forty() -> u32 {
    40
}

fn mebibyte() -> u64 {
    1 << 20
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// Never.
    None,
    /// STARTTLS where the server offers it.
    #[default]
    Opportunistic,
    /// STARTTLS, or nothing is sent.
    Required,
    /// TLS from the first byte.
    Smtps,
}

/// Whether the other side's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// By the authorities of the machine.
    #[default]
    Yes,
    No,
    /// By those in this file, on the machine of the notifier.
    Authorities(String),
}

/// From names of people to addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupDef {
    /// Behind the name and `@`.
    Domain(String),
    Table(BTreeMap<String, String>),
    /// `Policies::lookup`.
    Function,
    /// The lines of a `.mailmap` of git.
    MailMap(Vec<MailMapLine>),
    Ldap(LdapDef),
}

/// `Proper Name <proper@example.org> Commit Name <commit@example.org>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailMapLine {
    #[serde(default)]
    pub name: Option<String>,
    pub address: String,
    #[serde(default)]
    pub commit_name: Option<String>,
    /// None: the same as `address`, a line that only names a person.
    #[serde(default)]
    pub commit_address: Option<String>,
}

/// `util.LdapLookup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LdapDef {
    /// `ldap://host:port` or `ldaps://…`.
    pub url: String,
    #[serde(default)]
    pub bind_user: Option<String>,
    #[serde(default)]
    pub bind_password: Option<SecretText>,
    pub base: String,
    /// `%s` in it is the name, escaped.
    pub filter: String,
    /// That holds the address.
    pub attribute: String,
}

/// `reporters.IRC` (RP-14 to RP-16).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IrcDef {
    pub host: String,
    pub port: u16,
    pub nick: String,
    #[serde(default)]
    pub channels: Vec<ChannelDef>,
    /// Nicks that are told in private, as channels are.
    #[serde(default)]
    pub pm_to_nicks: Vec<String>,
    #[serde(default)]
    pub tls: bool,
    #[serde(default)]
    pub verify: Verify,
    /// For NickServ, once connected.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// Of the server itself (PASS).
    #[serde(default)]
    pub server_password: Option<SecretText>,
    #[serde(default)]
    pub sasl: Option<Login>,
    /// In each channel until somebody changes it there.
    pub notify_events: Vec<NotifyEvent>,
    /// Only builders with one of these tags; none: all.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    pub show_blame_list: bool,
    /// Revisions instead of build numbers.
    #[serde(default)]
    pub use_revisions: bool,
    pub use_colors: bool,
    /// NOTICE instead of PRIVMSG, so that no other bot answers.
    #[serde(default)]
    pub notice_on_channel: bool,
    /// Waited after a connection was lost, and after one could not be made; none: the bot's own back-off.
    #[serde(default)]
    pub lost_delay_us: Option<u64>,
    #[serde(default)]
    pub failed_delay_us: Option<u64>,
    /// The first rule that names a command decides.
    #[serde(default)]
    pub authz: Vec<IrcRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDef {
    pub name: String,
    #[serde(default)]
    pub password: Option<SecretText>,
}

/// What a channel may be told (RP-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    Started,
    Finished,
    Success,
    Warnings,
    Failure,
    Exception,
    Cancelled,
    /// From good to bad.
    Problem,
    /// From bad to good.
    Recovery,
    /// From bad to less bad.
    Better,
    /// To something worse.
    Worse,
    /// A worker came or went.
    Worker,
}

impl NotifyEvent {
    pub const ALL: [NotifyEvent; 12] = [
        NotifyEvent::Started,
        NotifyEvent::Finished,
        NotifyEvent::Success,
        NotifyEvent::Warnings,
        NotifyEvent::Failure,
        NotifyEvent::Exception,
        NotifyEvent::Cancelled,
        NotifyEvent::Problem,
        NotifyEvent::Recovery,
        NotifyEvent::Better,
        NotifyEvent::Worse,
        NotifyEvent::Worker,
    ];

    pub fn name(self) -> &'static str {
        match self {
            NotifyEvent::Started => "started",
            NotifyEvent::Finished => "finished",
            NotifyEvent::Success => "success",
            NotifyEvent::Warnings => "warnings",
            NotifyEvent::Failure => "failure",
            NotifyEvent::Exception => "exception",
            NotifyEvent::Cancelled => "cancelled",
            NotifyEvent::Problem => "problem",
            NotifyEvent::Recovery => "recovery",
            NotifyEvent::Better => "better",
            NotifyEvent::Worse => "worse",
            NotifyEvent::Worker => "worker",
        }
    }
}

/// Who may use some commands of a bot (RP-16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrcRule {
    /// Names of commands; `""` is each harmless one, `"!"` each dangerous one, `"*"` each.
    pub commands: Vec<String>,
    pub allowed: IrcAllowed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IrcAllowed {
    Everyone,
    Nobody,
    /// Accounts of the network's services; a nick alone proves nothing.
    Accounts(Vec<String>),
}

/// Logging in to an HTTP service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpAccess {
    /// Basic authentication; its `url` is none.
    #[serde(default)]
    pub auth: Option<Login>,
    #[serde(default)]
    pub verify: Verify,
    /// A client's certificate and key: files on the machine of the notifier.
    #[serde(default)]
    pub cert: Option<ClientCert>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCert {
    pub cert: String,
    /// None: it stands in the file of the certificate.
    #[serde(default)]
    pub key: Option<String>,
}

/// `reporters.HttpStatusPush` (RP-12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpDef {
    /// Some services hide a token in it, hence a secret.
    pub url: SecretText,
    #[serde(flatten)]
    pub access: HttpAccess,
    /// Rendered by `Policies::headers`.
    #[serde(default)]
    pub headers: BTreeMap<String, Renderable>,
}

/// `reporters.Webhook`: JSON that proves where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookDef {
    pub url: SecretText,
    /// Keys of the signature; while one replaces another there are two, and each signs.
    pub secrets: Vec<SecretText>,
    #[serde(flatten)]
    pub access: HttpAccess,
    #[serde(default)]
    pub headers: BTreeMap<String, Renderable>,
}

/// `reporters.ZulipStatusPush`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZulipDef {
    pub endpoint: String,
    pub token: SecretText,
    #[serde(default)]
    pub stream: Option<String>,
    #[serde(default)]
    pub verify: Verify,
}

/// Commit status, or comments, of GitHub, GitLab and Gitea (RP-07 to RP-09).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForgeDef {
    /// Without a slash at its end.
    pub base_url: String,
    pub token: SecretText,
    /// `Policies::argument` `"context"`; none: the kind's own.
    #[serde(default)]
    pub context: Option<Renderable>,
    /// The same of Gitea's pull requests: `"context_pr"`.
    #[serde(default)]
    pub context_pr: Option<Renderable>,
    /// Of Gitea: warnings are a success.
    #[serde(default)]
    pub warning_as_success: bool,
    #[serde(default)]
    pub verify: Verify,
}

/// `reporters.BitbucketStatusPush` (RP-11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BitbucketDef {
    pub base_url: String,
    pub oauth_url: String,
    /// Key and secret of an OAuth consumer.
    #[serde(default)]
    pub oauth: Option<Login>,
    /// User and app password, where there is no `oauth`.
    #[serde(default)]
    pub auth: Option<Login>,
    /// `Policies::argument` `"status_key"`.
    #[serde(default)]
    pub status_key: Option<Renderable>,
    #[serde(default)]
    pub status_name: Option<Renderable>,
    #[serde(default)]
    pub verify: Verify,
}

/// The three of Bitbucket Server (RP-11). Of the renderables `Policies::argument`
/// knows the value, under Buildbot's name for the argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BitbucketServerDef {
    pub base_url: String,
    /// Where there is no `token`.
    #[serde(default)]
    pub auth: Option<Login>,
    #[serde(default)]
    pub token: Option<SecretText>,
    #[serde(default)]
    pub key: Option<Renderable>,
    /// `statusName`.
    #[serde(default)]
    pub status_name: Option<Renderable>,
    /// `statusSuffix`.
    #[serde(default)]
    pub status_suffix: Option<Renderable>,
    /// `parentName`.
    #[serde(default)]
    pub parent_name: Option<Renderable>,
    /// `buildNumber`.
    #[serde(default)]
    pub build_number: Option<Renderable>,
    #[serde(default, rename = "ref")]
    pub reference: Option<Renderable>,
    #[serde(default)]
    pub duration: Option<Renderable>,
    /// `testResults`: `failed`, `skipped` and `successful`, rendered as text by
    /// `Policies::argument` under `testResults.failed` and so on.
    #[serde(default)]
    pub test_results: BTreeMap<String, Renderable>,
    #[serde(default)]
    pub verify: Verify,
}

/// `reporters.GerritStatusPush` (RP-10): by ssh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GerritDef {
    pub server: String,
    pub port: u16,
    pub username: String,
    /// On the machine of the notifier.
    #[serde(default)]
    pub identity_file: Option<String>,
    /// Who is mailed by Gerrit: `NONE`, `OWNER`, `OWNER_REVIEWERS` or `ALL`.
    #[serde(default)]
    pub notify: Option<String>,
    /// Which functions there are: `Policies::gerrit`.
    #[serde(default)]
    pub review: bool,
    #[serde(default)]
    pub start: bool,
    #[serde(default)]
    pub summary: bool,
    /// `reviewArg`, `startArg` and `summaryArg`, by the names of the functions.
    #[serde(default)]
    pub args: BTreeMap<String, Value>,
    #[serde(default)]
    pub wants: Wants,
}

/// `reporters.GerritVerifyStatusPush` (RP-10): by HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GerritVerifyDef {
    pub base_url: String,
    pub auth: Login,
    /// `Policies::argument` `"verification_name"`; `category` and `reporter` alike.
    #[serde(default)]
    pub verification_name: Option<Renderable>,
    #[serde(default)]
    pub abstain: bool,
    #[serde(default)]
    pub category: Option<Renderable>,
    #[serde(default)]
    pub reporter: Option<Renderable>,
    #[serde(default)]
    pub verify: Verify,
}
