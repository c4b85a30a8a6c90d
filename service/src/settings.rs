//! Process settings (`tidemill.toml`): defaults < file < environment < flags.
//!
//! Each value knows where it came from. An unknown key is an error that names
//! the nearest known one, because a misspelt setting that is silently ignored
//! is found too late. Values that hold a secret are redacted before they can
//! be shown. What CI does is not set here but in the project file.

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that may be set.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    pub database: Database,
    pub master: Master,
    pub worker: Worker,
    pub notify: Notify,
    pub reports: Reports,
    pub log: Log,
}

#[derive(Clone, Deserialize)]
pub struct Database {
    /// `postgres://user:password@host/database`.
    pub url: Option<String>,
    /// A file that holds the URL, for secrets handed over as files.
    pub url_file: Option<PathBuf>,
    /// Upper bound of one process's connections.
    pub max_connections: u32,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.url.as_deref().map(redact_url))
            .field("url_file", &self.url_file)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

impl Database {
    /// The URL, read from its file if it is set by one.
    pub fn resolve(&self) -> Result<Option<String>, Error> {
        match (&self.url, &self.url_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(path)) => Ok(Some(read_secret(path)?)),
            (None, None) => Ok(None),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Master {
    pub listen: SocketAddr,
    /// Name of this replica; the host's name if not set.
    pub name: Option<String>,
    /// The address that people use, for links.
    pub public_url: Option<String>,
    /// Term of a worker's lease, seconds.
    pub lease_seconds: u64,
    /// A file that holds the token of this machine's people.
    pub local_token_file: Option<PathBuf>,
    /// Where it may keep files that can be lost.
    pub cache_dir: Option<PathBuf>,
    /// Whether functions that poll may reach addresses of this machine over HTTP.
    pub poll_local_addresses: bool,
    /// A folder with the values of secrets, a file each.
    pub secrets_dir: Option<PathBuf>,
    /// Most bytes of what a hook is sent.
    pub hook_body_max_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// Address of the masters (or of the balancer before them).
    pub master: Option<String>,
    pub name: Option<String>,
    /// Folder of its builds and spool.
    pub base: Option<PathBuf>,
    /// Builds at once; the number of processors if not set.
    pub slots: Option<u32>,
    /// `NAME=VALUE` with commas between.
    pub labels: Option<String>,
    pub token_file: Option<PathBuf>,
    /// Bound of what waits on disk for a master, bytes.
    pub spool_max_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Notify {
    /// The address that people use, for links; that of the masters if not set.
    pub public_url: Option<String>,
    /// A folder with the values of secrets, a file each; that of the masters if not set.
    pub secrets_dir: Option<PathBuf>,
    /// Sent at one time to one server, and by one process.
    pub each: u64,
    pub most: u64,
    /// First wait before what was put off is tried again, seconds.
    pub again_seconds: u64,
    /// Silence after which another notifier takes what one had in hand, seconds.
    pub lease_seconds: u64,
    /// Whether addresses of the project file may be of this machine or its network.
    pub local_addresses: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Reports {
    /// Connections of a master that only reports use.
    pub connections: u32,
    /// A report that takes longer is ended, seconds.
    pub timeout_seconds: u64,
    /// A folder of own reports.
    pub folder: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    #[serde(deserialize_with = "log_format")]
    pub format: crate::telemetry::Format,
}

/// One setting as `tidemill settings` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub key: &'static str,
    /// Redacted where it holds a secret; none if not set.
    pub value: Option<String>,
    /// `default`, `tidemill.toml`'s path, a variable's name, or a flag.
    pub origin: String,
    pub help: &'static str,
}

/// The settings, and each with its origin.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub shown: Vec<Shown>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {detail}")]
    Syntax { path: String, detail: String },
    #[error("{origin}: there is no setting `{key}`{nearest}")]
    Unknown { origin: String, key: String, nearest: String },
    #[error("{0}")]
    Value(String),
}

struct Key {
    name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
}

const fn key(name: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, default, help }
}

/// Every setting; `docs/cli.md` lists the same.
const KEYS: &[Key] = &[
    key("database.url", None, "PostgreSQL to use: postgres://user@host/database"),
    key("database.url_file", None, "file that holds the URL"),
    key("database.max_connections", Some("20"), "most connections of one process"),
    key("master.listen", Some("127.0.0.1:8480"), "address and port to listen on"),
    key("master.name", None, "name of this replica (default: the host's name)"),
    key("master.public_url", None, "address that people use, for links"),
    key("master.lease_seconds", Some("60"), "silence after which a worker's build is given to another"),
    key("master.local_token_file", None, "file with the token of this machine's people"),
    key("master.cache_dir", None, "folder for files that may be lost"),
    key("master.poll_local_addresses", Some("false"), "let pollers of the project file reach this machine by HTTP"),
    key("master.secrets_dir", None, "folder with the values of secrets, a file each"),
    key("master.hook_body_max_bytes", Some("10485760"), "most bytes of what a hook is sent"),
    key("worker.master", None, "address of the masters"),
    key("worker.name", None, "name that the worker's token belongs to"),
    key("worker.base", None, "folder of builds and spool"),
    key("worker.slots", None, "builds at once (default: number of processors)"),
    key("worker.labels", None, "what builders may require of it, as in os=linux,mem=16,gpu"),
    key("worker.token_file", None, "file with the worker's token"),
    key("worker.spool_max_bytes", Some("2147483648"), "most bytes that wait on disk for a master"),
    key("notify.public_url", None, "address that people use, for links in notices"),
    key("notify.secrets_dir", None, "folder with the values of secrets, a file each"),
    key("notify.each", Some("8"), "notices sent at one time to one server"),
    key("notify.most", Some("64"), "notices sent at one time by one process"),
    key("notify.again_seconds", Some("10"), "first wait before a notice is tried again; three times as long each time"),
    key("notify.lease_seconds", Some("60"), "silence after which another notifier takes over"),
    key("notify.local_addresses", Some("false"), "let webhooks and forges be on this machine or its network"),
    key("reports.connections", Some("2"), "connections of a master that only reports use"),
    key("reports.timeout_seconds", Some("10"), "a report that takes longer is ended"),
    key("reports.folder", None, "folder of own reports, a .sql file each"),
    key("log.format", Some("text"), "text or json"),
];

/// Variables that look like settings: a secret, and two of `tidemill-worker` alone.
const NOT_SETTINGS: [&str; 3] = ["TIDEMILL_WORKER_TOKEN", "TIDEMILL_WORKER_GRACE", "TIDEMILL_WORKER_SPOOL_MAX"];

/// Where values come from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    pub file: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
    /// Setting, value, and the flag's name for messages.
    pub flags: Vec<(&'static str, String, &'static str)>,
}

impl Layers {
    /// The process's environment, and the file named there (`TIDEMILL_CONFIG`)
    /// or found at the usual places: the user's configuration folder, then
    /// `/etc/tidemill`. Never the working directory, which may be a checkout
    /// of somebody else's files.
    pub fn from_process() -> Layers {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter(|(k, _)| k.starts_with("TIDEMILL_"))
            .collect();
        let named = std::env::var_os("TIDEMILL_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
        Layers { file: named.or_else(usual_file), environment, flags: Vec::new() }
    }

    /// Sets a value from a flag, over all else.
    pub fn flag(&mut self, setting: &'static str, value: Option<impl ToString>, flag: &'static str) {
        if let Some(value) = value {
            self.flags.push((setting, value.to_string(), flag));
        }
    }

    pub fn load(&self) -> Result<Loaded, Error> {
        let mut builder = Config::builder();
        for key in KEYS {
            if let Some(default) = key.default {
                builder = builder.set_default(key.name, default).map_err(value_error)?;
            }
        }
        if let Some(path) = &self.file {
            builder = builder.add_source(file_layer(path)?);
        }
        builder = builder.add_source(environment_layer(&self.environment)?);
        let flags = self.flags.iter().map(|(key, value, flag)| leaf(key, value, flag));
        builder = builder.add_source(Leaves(flags.collect()));
        let config = builder.build().map_err(value_error)?;

        let mut values = Vec::new();
        flatten("", &config.collect().map_err(value_error)?, &mut values);
        let shown = KEYS
            .iter()
            .map(|key| {
                let value = values.iter().find(|(name, _)| name == key.name).map(|(_, v)| v);
                Shown {
                    key: key.name,
                    value: value.map(|v| redact(key.name, &v.to_string())),
                    origin: match value {
                        None => "not set".into(),
                        Some(v) => v.origin().unwrap_or("default").to_owned(),
                    },
                    help: key.help,
                }
            })
            .collect();
        // Sections without any value must still exist for the typed form.
        let sections = ["database", "master", "worker", "log"];
        let mut whole = Config::builder();
        for section in sections {
            whole = whole.set_default(section, Map::<String, Value>::new()).map_err(value_error)?;
        }
        let settings = whole.add_source(config).build().and_then(Config::try_deserialize).map_err(value_error)?;
        Ok(Loaded { settings, shown })
    }
}

/// A secret from a file: one line, without the end of line.
pub fn read_secret(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = text.trim();
    match text.is_empty() {
        true => Err(Error::Value(format!("{} is empty; it should hold the secret on one line", path.display()))),
        false => Ok(text.to_owned()),
    }
}

/// Hides the password of a database URL or connection string.
pub fn redact_url(url: &str) -> String {
    let mut text = url.to_owned();
    if let Some(start) = text.find("://").map(|i| i + 3) {
        let end = text[start..].find('?').map_or(text.len(), |i| start + i);
        // To the last `@`: a password may hold an unescaped one, and hiding too much is harmless.
        if let Some(at) = text[start..end].rfind('@').map(|i| start + i)
            && let Some(colon) = text[start..at].find(':').map(|i| start + i)
        {
            text.replace_range(colon + 1..at, "***");
        }
    }
    for name in ["password=", "sslpassword="] {
        let mut from = 0;
        while let Some(start) = text[from..].find(name).map(|i| from + i + name.len()) {
            let end = text[start..].find(['&', ' ']).map_or(text.len(), |i| start + i);
            text.replace_range(start..end, "***");
            from = start;
        }
    }
    text
}

fn log_format<'de, D: serde::Deserializer<'de>>(from: D) -> Result<crate::telemetry::Format, D::Error> {
    match String::deserialize(from)?.as_str() {
        "text" => Ok(crate::telemetry::Format::Text),
        "json" => Ok(crate::telemetry::Format::Json),
        other => Err(serde::de::Error::custom(format!("log.format is text or json, not {other:?}"))),
    }
}

fn redact(key: &str, value: &str) -> String {
    if key == "database.url" { redact_url(value) } else { value.to_owned() }
}

fn usual_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").filter(|v| !v.is_empty()).map(PathBuf::from).or(home);
    let places = user.map(|d| d.join("tidemill/tidemill.toml")).into_iter();
    places.chain([PathBuf::from("/etc/tidemill/tidemill.toml")]).find(|p| p.is_file())
}

/// Checked leaves, each with its origin.
#[derive(Clone, Debug)]
struct Leaves(Vec<(String, Value)>);

impl Source for Leaves {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut sections: Map<String, Value> = Map::new();
        for (key, value) in &self.0 {
            let (section, name) = key.split_once('.').expect("known settings have a section");
            let empty = || Value::new(None, Map::<String, Value>::new());
            let entry = sections.entry(section.to_owned()).or_insert_with(empty);
            if let ValueKind::Table(table) = &mut entry.kind {
                table.insert(name.to_owned(), value.clone());
            }
        }
        Ok(sections)
    }
}

fn leaf(key: &str, value: &str, origin: &str) -> (String, Value) {
    (key.to_owned(), Value::new(Some(&origin.to_owned()), ValueKind::String(value.to_owned())))
}

fn file_layer(path: &Path) -> Result<Leaves, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let origin = path.display().to_string();
    let tree = File::from_str(&text, FileFormat::Toml).collect();
    let tree = tree.map_err(|e| Error::Syntax { path: origin.clone(), detail: e.to_string() })?;
    let mut values = Vec::new();
    flatten("", &tree, &mut values);
    for (key, value) in &mut values {
        if !KEYS.iter().any(|k| k.name == key) {
            return Err(unknown(&origin, key));
        }
        *value = Value::new(Some(&origin), value.kind.clone());
    }
    Ok(Leaves(values))
}

/// `TIDEMILL_MASTER_LISTEN` is `master.listen`. Only names that begin with a
/// section are ours here: `TIDEMILL_TOKEN` and the like are read elsewhere.
fn environment_layer(environment: &[(String, String)]) -> Result<Leaves, Error> {
    let mut values = Vec::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("TIDEMILL_") else { continue };
        let dotted = rest.to_lowercase().replacen('_', ".", 1);
        let of_section = KEYS.iter().any(|k| k.name.split('.').next() == dotted.split('.').next());
        if value.is_empty() || !of_section || !dotted.contains('.') || NOT_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        if !KEYS.iter().any(|k| k.name == dotted) {
            return Err(unknown(&format!("environment variable {name}"), &dotted));
        }
        values.push(leaf(&dotted, value, name));
    }
    Ok(Leaves(values))
}

fn flatten(prefix: &str, table: &Map<String, Value>, into: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match &value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, into),
            _ => into.push((key, value.clone())),
        }
    }
}

fn unknown(origin: &str, key: &str) -> Error {
    let nearest = KEYS.iter().map(|k| (distance(k.name, key), k.name)).min();
    let nearest = match nearest {
        Some((d, name)) if d <= 2 + key.len() / 4 => format!("; did you mean `{name}`?"),
        _ => "; `tidemill settings` lists them all".into(),
    };
    Error::Unknown { origin: origin.to_owned(), key: key.to_owned(), nearest }
}

fn value_error(e: ConfigError) -> Error {
    Error::Value(e.to_string())
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(file: &str, environment: &[(&str, &str)]) -> (Layers, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidemill.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        (Layers { file: Some(path), environment, flags: Vec::new() }, dir)
    }

    fn origin(loaded: &Loaded, key: &str) -> String {
        loaded.shown.iter().find(|s| s.key == key).unwrap().origin.clone()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let (mut layers, _dir) = layers(
            "[master]\nlisten = \"127.0.0.1:1\"\nname = \"file\"\nlease_seconds = 5\n[worker]\nslots = 3\n",
            &[("TIDEMILL_MASTER_LISTEN", "127.0.0.1:2"), ("TIDEMILL_WORKER_SLOTS", "4"), ("TIDEMILL_TOKEN", "x")],
        );
        layers.flag("master.listen", Some("127.0.0.1:3"), "--listen");
        layers.flag("worker.name", None::<String>, "--name");
        let loaded = layers.load().unwrap();
        let s = &loaded.settings;
        assert_eq!(s.master.listen.port(), 3);
        assert_eq!(s.master.name.as_deref(), Some("file"));
        assert_eq!(s.master.lease_seconds, 5);
        assert_eq!(s.worker.slots, Some(4));
        assert_eq!(s.database.max_connections, 20);
        assert_eq!(origin(&loaded, "master.listen"), "--listen");
        assert_eq!(origin(&loaded, "worker.slots"), "TIDEMILL_WORKER_SLOTS");
        assert!(origin(&loaded, "master.name").ends_with("tidemill.toml"));
        assert_eq!(origin(&loaded, "database.max_connections"), "default");
        assert_eq!(origin(&loaded, "database.url"), "not set");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_known_one() {
        let (l, _dir) = layers("[master]\nlissen = \"x\"\n", &[]);
        let text = l.load().unwrap_err().to_string();
        assert!(text.contains("`master.lissen`") && text.contains("did you mean `master.listen`"), "{text}");
        let (l, _dir) = layers("", &[("TIDEMILL_WORKER_SLOT", "4")]);
        let text = l.load().unwrap_err().to_string();
        assert!(text.contains("TIDEMILL_WORKER_SLOT") && text.contains("worker.slots"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key_and_origin() {
        let (l, _dir) = layers("[master]\nlease_seconds = \"soon\"\n", &[]);
        let text = l.load().unwrap_err().to_string();
        assert!(text.contains("lease_seconds") && text.contains("tidemill.toml"), "{text}");
    }

    #[test]
    fn no_password_is_ever_shown() {
        let (l, _dir) = layers("[database]\nurl = \"postgres://u:geheim@h/d\"\n", &[]);
        let loaded = l.load().unwrap();
        assert_eq!(loaded.settings.database.url.as_deref(), Some("postgres://u:geheim@h/d"));
        assert!(!format!("{:?}", loaded.shown).contains("geheim"));
        assert_eq!(redact_url("postgres://u:p@w@h:5/d?host=/x"), "postgres://u:***@h:5/d?host=/x");
        assert_eq!(redact_url("postgres://u@h/d?user=a&password=p&x=1"), "postgres://u@h/d?user=a&password=***&x=1");
        assert_eq!(redact_url("host=h password=p user=u"), "host=h password=*** user=u");
        assert_eq!(redact_url("postgres://tidemill@localhost/tidemill"), "postgres://tidemill@localhost/tidemill");
    }

    #[test]
    fn a_url_may_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("url");
        std::fs::write(&secret, "postgres://u:p@h/d\n").unwrap();
        let layers = Layers {
            environment: vec![("TIDEMILL_DATABASE_URL_FILE".into(), secret.display().to_string())],
            ..Layers::default()
        };
        let database = layers.load().unwrap().settings.database;
        assert_eq!(database.resolve().unwrap().as_deref(), Some("postgres://u:p@h/d"));
    }
}
