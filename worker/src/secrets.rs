//! The values of secrets, from files on the worker's own disk, else from what the
//! project's providers have at the masters ([`crate::provided`]).
//!
//! A project names secrets only; rendered text holds marks
//! ([`tidemill_lang::secret`]). The value is read when a command or file needs
//! it, goes nowhere else, and from then on is masked in every log of the build,
//! so that a later step that prints a file shows no value either.
//!
//! Steps that come from the change's own tree (P-09) get values of the names that
//! the project's file allows them, and of no others, wherever a mark comes from.
//! Their marks are drawn apart: no text of theirs, and no output of their
//! commands, can name a secret to a step of the project.
//!
//! Commands run as the worker's own user and can read its files: what keeps a
//! project's builds from a secret is a worker that does not hold it.

use crate::exec::env::Layer;
use crate::mask::Patterns;
use crate::provided::Source;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tidemill_lang::plan::{Action, BuildContext};
use tidemill_lang::secret::{self, Part};
use tidemill_service::secret_file::{self, SecretFileError};

/// Fewest characters of a value.
const VALUE_MIN: usize = 4;

/// Random bytes in a build's mark.
const MARK_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("the secret {name:?} cannot be used: {why}")]
    Short { name: String, why: String },
    #[error("{name:?} cannot be the name of a secret: it has to be that of a file{also}")]
    Name { name: String, also: String },
    #[error("the worker has no secret {name:?}: put its value into the file {path}, mode 0600{also}")]
    Missing { name: String, path: PathBuf, also: String },
    #[error(
        "the secret {0:?} may not be used here: steps of the change's own tree use those that \
         `allowed_secrets` of steps.StepsFrom names"
    )]
    Refused(String),
    #[error(
        "the secret {0:?} is not given to this build: what it builds comes from somebody who may not write to the repository"
    )]
    Outsider(String),
}

impl SecretError {
    /// Not of this worker, or not by the name of a file: a master may have it.
    fn may_be_elsewhere(&self) -> bool {
        matches!(self, SecretError::Missing { .. } | SecretError::Name { .. })
    }

    /// With what a master said.
    fn and(mut self, said: String) -> SecretError {
        if let SecretError::Missing { also, .. } | SecretError::Name { also, .. } = &mut self {
            *also = said;
        }
        self
    }
}

/// The secrets of one build, as one of its steps may use them.
#[derive(Debug)]
pub(crate) struct Secrets {
    store: Arc<Store>,
    /// Names that a step of the change's tree may use; a step of the project uses all.
    allowed: Option<Arc<[String]>>,
}

#[derive(Debug)]
struct Store {
    dir: PathBuf,
    /// Where those come from that are no files here.
    source: Option<Source>,
    /// For steps of the project, and for those of the change's tree.
    marks: [String; 2],
    /// The build is of what an outsider announced (A14): no step of it gets a value.
    closed: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    values: BTreeMap<String, String>,
    patterns: Arc<Patterns>,
    /// Why the masters do not give one.
    refused: BTreeMap<String, String>,
}

impl Secrets {
    #[cfg(test)]
    pub fn new(dir: &Path) -> Secrets {
        Secrets::with(dir, None, false)
    }

    /// Of a build: files here, else what the masters provide.
    pub fn of_build(dir: &Path, source: Source) -> Secrets {
        Secrets::with(dir, Some(source), false)
    }

    /// Of a build that gets no value at all, whatever its steps are.
    pub fn for_outsider(dir: &Path) -> Secrets {
        Secrets::with(dir, None, true)
    }

    fn with(dir: &Path, source: Option<Source>, closed: bool) -> Secrets {
        let marks = std::array::from_fn(|_| tidemill_service::token::random_hex(MARK_BYTES));
        let store = Store { dir: dir.to_owned(), source, marks, closed, known: Mutex::default() };
        Secrets { store: Arc::new(store), allowed: None }
    }

    /// Brings what a step is going to need, so that [`Secrets::resolve`] need not wait.
    /// What cannot be had is said there.
    pub async fn bring(&self, action: &Action, env: &Layer) {
        let Some(source) = &self.store.source else { return };
        let mut names = BTreeSet::new();
        secret::names(&serde_json::to_value(action).unwrap_or_default(), self.mark(), &mut names);
        let env: Json = env.values().flatten().map(|text| Json::from(text.as_str())).collect();
        secret::names(&env, self.mark(), &mut names);
        for name in names {
            if self.may(&name)
                && self.held(&name).is_none()
                && read(&self.store.dir, &name).is_err_and(|e| e.may_be_elsewhere())
            {
                let fetched = source.fetch(&name).await;
                self.keep(&name, fetched);
            }
        }
    }

    /// The same for a step of the change's tree, which may use these alone.
    pub fn of_tree(&self, allowed: &[String]) -> Secrets {
        Secrets { store: self.store.clone(), allowed: Some(allowed.into()) }
    }

    /// Stands in rendered text where a secret belongs, see [`secret`].
    pub fn mark(&self) -> &str {
        &self.store.marks[usize::from(self.allowed.is_some())]
    }

    /// The text with values in place of marks.
    pub fn resolve(&self, text: &str) -> Result<String, SecretError> {
        secret::resolve(text, self.mark(), |name| self.value(name)).map(|t| t.into_owned())
    }

    pub fn has_marks(&self, text: &str) -> bool {
        let marked = |mark| secret::parts(text, mark).iter().any(|p| matches!(p, Part::Secret(_)));
        self.store.marks.iter().any(|mark| marked(mark))
    }

    /// For people: names in place of marks, and of values that are known by now.
    pub fn shown(&self, text: &str) -> String {
        let [project, tree] = &self.store.marks;
        let text = secret::masked(text, project);
        let text = secret::masked(&text, tree);
        let patterns = self.patterns();
        if patterns.is_empty() { text.into_owned() } else { patterns.text(&text) }
    }

    pub fn shown_json(&self, value: &Json) -> Json {
        each_text(value, &|text| self.shown(text))
    }

    /// The build as the step's placeholders and functions see it.
    pub fn context<'c>(&self, context: &'c BuildContext) -> Cow<'c, BuildContext> {
        if self.allowed.is_none() {
            return Cow::Borrowed(context);
        }
        let mut seen = context.clone();
        for property in seen.properties.0.values_mut() {
            property.value = each_text(&property.value, &|text| self.given(text));
        }
        seen.secret_mark = self.mark().to_owned();
        Cow::Owned(seen)
    }

    /// The builder's environment as the step's commands get it.
    pub fn layer<'l>(&self, layer: &'l Layer) -> Cow<'l, Layer> {
        if self.allowed.is_none() {
            return Cow::Borrowed(layer);
        }
        let given = |value: &Option<String>| value.as_deref().map(|text| self.given(text));
        Cow::Owned(layer.iter().map(|(name, value)| (name.clone(), given(value))).collect())
    }

    /// A value that the step leaves to other steps: of its marks only those pass that it may use itself.
    pub fn left<'v>(&self, value: &'v Json) -> Cow<'v, Json> {
        let Some(allowed) = &self.allowed else { return Cow::Borrowed(value) };
        let [project, tree] = &self.store.marks;
        Cow::Owned(each_text(value, &|text| remarked(text, tree, project, |name| allowed.iter().any(|a| a == name))))
    }

    /// Text of the project's for a step of the tree. What it may not use is refused when it is used.
    fn given(&self, text: &str) -> String {
        let [project, tree] = &self.store.marks;
        remarked(text, project, tree, |_| true)
    }

    /// What logs have to mask now.
    pub fn patterns(&self) -> Arc<Patterns> {
        self.known().patterns.clone()
    }

    fn value(&self, name: &str) -> Result<String, SecretError> {
        if self.store.closed {
            return Err(SecretError::Outsider(name.to_owned()));
        }
        if !self.may(name) {
            return Err(SecretError::Refused(name.to_owned()));
        }
        if let Some(value) = self.held(name) {
            return Ok(value);
        }
        let error = match read(&self.store.dir, name) {
            Ok(value) => {
                long_enough(&value).map_err(|why| SecretError::Short { name: name.to_owned(), why })?;
                self.keep(name, Ok(value.clone()));
                return Ok(value);
            }
            Err(error) if error.may_be_elsewhere() => error,
            Err(error) => return Err(error),
        };
        // No lock is held while it waits.
        if let Some(fetched) = self.store.source.as_ref().and_then(|source| source.fetch_blocking(name)) {
            self.keep(name, fetched);
        }
        let known = self.known();
        match known.values.get(name) {
            Some(value) => Ok(value.clone()),
            None => {
                let refused = known.refused.get(name);
                Err(error.and(refused.map(|why| format!("; nor does a master give it: {why}")).unwrap_or_default()))
            }
        }
    }

    fn may(&self, name: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|a| a == name))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.store.known.lock().expect("no panic while holding the secrets")
    }

    fn held(&self, name: &str) -> Option<String> {
        self.known().values.get(name).cloned()
    }

    /// From now on it is masked everywhere.
    fn keep(&self, name: &str, value: Result<String, String>) {
        let mut known = self.known();
        match value.and_then(|value| long_enough(&value).map(|()| value)) {
            Ok(value) => {
                known.refused.remove(name);
                known.values.insert(name.to_owned(), value);
                known.patterns = Arc::new(Patterns::new(known.values.clone()));
            }
            Err(why) => drop(known.refused.insert(name.to_owned(), why)),
        }
    }
}

fn remarked(text: &str, from: &str, to: &str, passes: impl Fn(&str) -> bool) -> String {
    let parts = secret::parts(text, from).into_iter().map(|part| match part {
        Part::Text(text) => text.to_owned(),
        Part::Secret(name) if passes(name) => secret::mark(to, name),
        Part::Secret(name) => format!("<secret {name}>"),
    });
    parts.collect()
}

/// The value with every text in it replaced, names as well.
fn each_text(value: &Json, change: &dyn Fn(&str) -> String) -> Json {
    match value {
        Json::String(text) => Json::String(change(text)),
        Json::Array(items) => items.iter().map(|v| each_text(v, change)).collect(),
        Json::Object(map) => {
            map.iter().map(|(k, v)| (change(k), each_text(v, change))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// From a file here.
fn read(dir: &Path, name: &str) -> Result<String, SecretError> {
    match secret_file::read(dir, name) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(SecretError::Missing { name: name.to_owned(), path: dir.join(name), also: String::new() }),
        Err(SecretFileError::Name(name)) => Err(SecretError::Name { name, also: String::new() }),
        Err(error) => Err(error.into()),
    }
}

/// A value that masks what it should, and not half of what people write.
fn long_enough(value: &str) -> Result<(), String> {
    match value.chars().count() {
        1..VALUE_MIN => Err(format!("it has fewer than {VALUE_MIN} characters, and masking it would hide other text")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn put(dir: &Path, name: &str, value: &str, mode: u32) {
        std::fs::write(dir.join(name), value).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn values_come_from_files_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "key", "hunter2\n", 0o600);
        put(dir.path(), "open", "hunter3", 0o644);
        put(dir.path(), "short", "a", 0o600);
        let secrets = Secrets::new(dir.path());
        let marked = |name: &str| format!("a\u{10FFFE}{}:{name}\u{10FFFF}b", secrets.mark());
        assert_eq!(secrets.shown("hunter2"), "hunter2", "not known yet");
        assert_eq!(secrets.resolve(&marked("key")).unwrap(), "ahunter2b");
        assert_eq!(secrets.shown(&marked("key")), "a<secret key>b");
        assert_eq!(secrets.shown("hunter2"), "<secret key>");
        let open = secrets.resolve(&marked("open")).unwrap_err().to_string();
        assert!(open.contains("chmod 0600"), "{open}");
        assert!(matches!(secrets.resolve(&marked("none")), Err(SecretError::Missing { .. })));
        assert!(matches!(secrets.resolve(&marked("short")), Err(SecretError::Short { .. })));
        assert_eq!(secrets.shown("a b c"), "a b c", "it masks nothing");
        for bad in ["../key", ".key", "", "a/b"] {
            assert!(matches!(secrets.resolve(&marked(bad)), Err(SecretError::Name { .. })), "{bad}");
        }
    }

    #[test]
    fn a_build_of_an_outsiders_change_gets_no_value_in_any_step() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "key", "hunter2", 0o600);
        let secrets = Secrets::for_outsider(dir.path());
        for step in [&secrets, &secrets.of_tree(&["key".to_owned()])] {
            let asked = step.resolve(&secret::mark(step.mark(), "key"));
            assert!(matches!(asked, Err(SecretError::Outsider(name)) if name == "key"));
        }
    }

    #[test]
    fn a_step_of_the_tree_uses_what_it_is_allowed_wherever_the_mark_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "key", "hunter2", 0o600);
        put(dir.path(), "other", "hunter3", 0o600);
        let project = Secrets::new(dir.path());
        let tree = project.of_tree(&["key".to_owned()]);
        assert_ne!(project.mark(), tree.mark());
        let (key, other) = (secret::mark(project.mark(), "key"), secret::mark(project.mark(), "other"));
        let mut context = BuildContext { secret_mark: project.mark().into(), ..BuildContext::default() };
        context.properties.set("both", serde_json::json!([key, other]), "test");
        let seen = tree.context(&context);
        assert_eq!(seen.secret_mark, tree.mark());
        let both = seen.properties.get("both").unwrap();
        assert!(!both.to_string().contains(project.mark()), "it never sees the project's mark");
        assert_eq!(tree.resolve(both[0].as_str().unwrap()).unwrap(), "hunter2");
        assert!(matches!(tree.resolve(both[1].as_str().unwrap()), Err(SecretError::Refused(name)) if name == "other"));
        let layer = Layer::from([("PW".to_owned(), Some(other.clone()))]);
        assert!(tree.resolve(tree.layer(&layer)["PW"].as_deref().unwrap()).is_err());

        // What it leaves to the project's steps: the allowed one, and not another name within its mark.
        let forged = secret::mark(tree.mark(), "key").replace("key", "other");
        assert_eq!(project.resolve(&forged).unwrap(), forged, "text, as any other");
        let left = tree.left(&serde_json::json!([both[0], forged])).into_owned();
        assert_eq!(project.resolve(left[0].as_str().unwrap()).unwrap(), "hunter2");
        assert_eq!(left[1], "<secret other>");
        assert_eq!((project.shown(&forged), tree.shown(&key)), ("<secret other>".into(), "<secret key>".into()));
    }
}
