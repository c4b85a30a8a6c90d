//! Reads the arguments of one reporter.

use crate::definition::{Login, Renderable, SecretText, Verify};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::policies::{Argument, Reporter};
use crate::project::root::Config;
use crate::values::convert::{boolean, text};
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::interpolate::{From, Part};
use crate::values::placeholder::{Form, Placeholder};
use crate::values::tree::{self, Tree};
use starlark::values::dict::DictRef;
use starlark::values::{OwnedFrozenValue, Value};
use std::collections::BTreeMap;

pub(super) struct Reading<'a, 'v> {
    pub config: &'a Config,
    pub service: &'a Descriptor<'v>,
    pub trees: Trees,
    pub rules: Reporter,
    pub collector: &'a Collector,
}

impl<'a, 'v> Reading<'a, 'v> {
    pub fn new(config: &'a Config, service: &'a Descriptor<'v>, collector: &'a Collector) -> Reading<'a, 'v> {
        Reading { config, service, trees: service.trees(collector), rules: Reporter::default(), collector }
    }

    pub fn get<T>(&self, name: &str, read: impl FnOnce(&Tree) -> Option<T>) -> Option<T> {
        self.trees.get(name, read)
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name, text)
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name, boolean).unwrap_or(default)
    }

    pub fn own(&self, value: Value<'_>) -> Option<OwnedFrozenValue> {
        self.config.own(value)
    }

    pub fn report(&self, argument: &str, diagnostic: Diagnostic) {
        self.collector.report(self.service.site.place_argument(argument, diagnostic));
    }

    pub fn error(&self, argument: &str, message: impl Into<String>, hint: Option<String>) {
        self.report(argument, Diagnostic::error(message).maybe_hint(hint));
    }

    pub fn called(&self) -> &'static str {
        self.service.spec.name
    }

    /// An address without the slash at its end; empty where it is wrong, which is reported.
    pub fn address(&self, name: &str, default: &str) -> String {
        let given = self.text(name).unwrap_or_else(|| default.to_owned());
        if !given.starts_with("http://") && !given.starts_with("https://") && !self.refused(name) {
            let message = format!("`{name}` of {} must be an address of http:// or https://", self.called());
            self.error(name, message, Some(format!("as in {name} = \"https://example.org\"")));
        }
        given.trim_end_matches('/').to_owned()
    }

    fn refused(&self, name: &str) -> bool {
        self.trees.refused.iter().any(|r| r == name)
    }

    /// A text that nobody should read: one that stands in the file is warned of.
    pub fn secret(&self, name: &str) -> Option<SecretText> {
        let value = self.service.arg(name).filter(|_| !self.refused(name))?;
        self.secret_of(name, value, true)
    }

    /// The same of what may be known, such as a user's name or an address.
    pub fn known(&self, name: &str) -> Option<SecretText> {
        let value = self.service.arg(name).filter(|_| !self.refused(name))?;
        self.secret_of(name, value, false)
    }

    pub fn secret_of(&self, name: &str, value: Value<'_>, hidden: bool) -> Option<SecretText> {
        let hint = || Some(format!("as in {name} = util.Secret(\"name\"), whose value the masters know"));
        if let Some(placeholder) = Placeholder::from_value(value) {
            return match sole_secret(placeholder) {
                Some(name) => Some(SecretText::Secret { name }),
                None => {
                    let message = format!(
                        "`{name}` of {} holds a placeholder that has no value outside of a build",
                        self.called()
                    );
                    self.error(name, message, hint());
                    None
                }
            };
        }
        let plain = text(&Tree::of(value)).filter(|t| !t.is_empty())?;
        if hidden {
            let message = format!(
                "`{name}` of {} stands in the file, where whoever may read the project reads it",
                self.called()
            );
            self.report(name, Diagnostic::warning(message).maybe_hint(hint()));
        }
        Some(SecretText::Text(plain))
    }

    /// User and password.
    pub fn login(&self, name: &str) -> Option<Login> {
        let pair = self.service.arg(name).filter(|_| !self.refused(name)).and_then(tree::items)?;
        let [user, password] = pair else { return None };
        Some(Login {
            url: None,
            username: self.secret_of(name, *user, false)?,
            password: self.secret_of(name, *password, true)?,
        })
    }

    pub fn verify(&self) -> Verify {
        match self.trees.by_name.get("verify") {
            Some(Tree::Text(file)) => Verify::Authorities(file.clone()),
            Some(tree) if boolean(tree) == Some(false) => Verify::No,
            _ => Verify::Yes,
        }
    }

    /// An argument that is rendered for each build, and what renders it under `key`. It may hold no secret.
    pub fn renderable(&mut self, name: &str) -> Option<Renderable> {
        let value = self.service.arg(name).filter(|v| !v.is_none() && !self.refused(name))?;
        let (shown, argument) = self.rendered(name, value, false)?;
        self.rules.arguments.insert(name.to_owned(), argument);
        Some(shown)
    }

    /// How a value is written, and how it is rendered.
    pub fn rendered(&self, name: &str, value: Value<'_>, secrets: bool) -> Option<(Renderable, Argument)> {
        rendered(self.config, &self.service.site, name, value, secrets, self.collector)
    }

    /// Texts and placeholders by name, each rendered as a part of `argument`.
    pub fn dict(&self, argument: &str, secrets: bool) -> BTreeMap<String, (Renderable, Argument)> {
        let value = self.service.arg(argument).filter(|_| !self.refused(argument));
        let Some(dict) = value.and_then(DictRef::from_value) else { return BTreeMap::new() };
        let entries = dict
            .iter()
            .filter(|(_, v)| !v.is_none())
            .filter_map(|(key, value)| Some((key.unpack_str()?.to_owned(), self.rendered(argument, value, secrets)?)));
        entries.collect()
    }

    /// `extraHeaders` and `headers`.
    pub fn headers(&mut self, argument: &str, secrets: bool) -> BTreeMap<String, Renderable> {
        let mut shown = BTreeMap::new();
        for (name, (written, rendered)) in self.dict(argument, secrets) {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(token) {
                self.error(argument, format!("{name:?} is no name of a header"), None);
                continue;
            }
            shown.insert(name.clone(), written);
            self.rules.headers.insert(name, rendered);
        }
        shown
    }
}

/// How a value is written, and how it is rendered; none where it may not be, which is reported.
pub(super) fn rendered(
    config: &Config,
    site: &Site,
    name: &str,
    value: Value<'_>,
    secrets: bool,
    collector: &Collector,
) -> Option<(Renderable, Argument)> {
    let Some(placeholder) = Placeholder::from_value(value) else {
        let text = Tree::of(value).interpolated()?;
        return Some((Renderable::Text(text.clone()), Argument::Text(Some(text))));
    };
    let named = secrets_of(placeholder);
    if !secrets && !named.is_empty() {
        let message = format!("`{name}` holds the secret `{}`, and others read it", named[0]);
        collector.report(site.place_argument(name, Diagnostic::error(message)));
        return None;
    }
    let shown = match sole_secret(placeholder) {
        Some(name) => Renderable::Secret { name },
        None => Renderable::Placeholder {
            shown: placeholder.to_string().chars().take(500).collect(),
            secrets: named.into_iter().map(|name| crate::definition::SecretText::Secret { name }).collect(),
        },
    };
    let argument = Argument::Value { value: config.own(value)?, site: site.clone(), name: name.to_owned() };
    Some((shown, argument))
}

/// The secret that a placeholder is: `util.Secret("x")`, or `util.Interpolate("%(secret:x)s")`.
fn sole_secret(placeholder: &Placeholder<'_>) -> Option<String> {
    match &placeholder.form {
        Form::Secret { name } => Some(name.clone()),
        Form::Interpolate { template, .. } => match template.parts.as_slice() {
            [Part::Lookup { from: From::Secret(name), operator: None }] => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Names of the secrets that a placeholder holds, as far as it can be seen.
fn secrets_of(placeholder: &Placeholder<'_>) -> Vec<String> {
    let mut found: Vec<String> = match &placeholder.form {
        Form::Secret { name } => vec![name.clone()],
        Form::Interpolate { template, .. } => {
            let secret = |part: &Part| match part {
                Part::Lookup { from: From::Secret(name), .. } => Some(name.clone()),
                _ => None,
            };
            template.parts.iter().filter_map(secret).collect()
        }
        _ => vec![],
    };
    let inner = placeholder.values.values().filter_map(|v| Placeholder::from_value(*v));
    found.extend(inner.flat_map(secrets_of));
    found
}
