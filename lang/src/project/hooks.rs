//! `c["www"]`: which hooks there are, under Buildbot's keys.

use super::root::Config;
use crate::definition::{Definition, HookDef, HookDialect, HookUser, Outsiders, PullRequestRef, SecretText};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::natives;
use crate::policies::{Function, HookRules};
use crate::values::convert::{BOOL, CALLABLE, CATEGORY, PATTERNS, PROPERTIES, TEXT, TEXTS};
use crate::values::convert::{boolean, optional_text, patterns, properties, text, texts};
use crate::values::placeholder::{Form, Placeholder};
use crate::values::spec::Type;
use crate::values::tree::{self, Tree};
use crate::vocabulary::remedy::remedy;
use starlark::values::Value;
use starlark::values::dict::DictRef;
use std::collections::BTreeMap;

use HookDialect::*;

/// Names in addresses.
const DIALECTS: [(&str, HookDialect); 10] = [
    ("base", Base),
    ("bitbucket", Bitbucket),
    ("bitbucketcloud", Bitbucket),
    ("bitbucketserver", BitbucketServer),
    ("forgejo", Gitea),
    ("gerrit", Gerrit),
    ("gitea", Gitea),
    ("github", Github),
    ("gitlab", Gitlab),
    ("poller", Poller),
];

/// Dialects of forges: who proves itself by a secret, and announces pull requests.
const FORGES: &[HookDialect] = &[Bitbucket, BitbucketServer, Gerrit, Gitea, Github, Gitlab, Custom];
const COMMITS: &[HookDialect] = &[Bitbucket, Gitea, Github, Gitlab];

/// Text or `util.Secret`.
const SECRET: Type = Type { expected: "a util.Secret", placeholder: true, fits: |t| text(t).is_some() };

/// An option, the dialects that have it, and its type.
const OPTIONS: [(&str, &[HookDialect], Type); 16] = [
    ("secret", &[Bitbucket, BitbucketServer, Gitea, Github, Gitlab, Custom], SECRET),
    ("strict", &[Bitbucket, BitbucketServer, Gerrit, Gitea, Github, Gitlab, Poller, Custom], BOOL),
    ("codebase", &[Bitbucket, BitbucketServer, Gerrit, Gitea, Github, Gitlab], CATEGORY),
    ("skips", COMMITS, PATTERNS),
    ("pullrequest_ref", &[Github], TEXT),
    ("token", &[Github], SECRET),
    ("github_api_endpoint", &[Github], TEXT),
    ("github_property_whitelist", &[Github], TEXTS),
    ("outsiders", FORGES, TEXT),
    ("insiders", FORGES, TEXTS),
    ("repositories", FORGES, TEXTS),
    ("allowed", &[Poller], TEXTS),
    ("function", &[Custom], CALLABLE),
    ("attrs", &[Custom], PROPERTIES),
    ("signature_header", &[Custom], TEXT),
    ("token_header", &[Custom], TEXT),
];

/// Options of Buildbot's without an effect here.
const IGNORED: [(&str, &[HookDialect], &str); 3] = [
    ("debug", &[Github], "the answer of the hook says what could not be fetched"),
    ("verify", &[Github], "certificates are always checked"),
    ("bitbucket_property_whitelist", &[Bitbucket, BitbucketServer], "facts about pull requests are always properties"),
];

/// Options that name a Python class in Buildbot.
const CLASSES: [&str; 2] = ["class", "custom_class"];

/// Buildbot's keys of `www` that are the master's own settings here.
const FOREIGN: [&str; 21] = [
    "allowed_origins",
    "auth",
    "authz",
    "avatar_methods",
    "cookie_expiration_time",
    "custom_templates_dir",
    "debug",
    "default_page",
    "graphql",
    "json_cache_seconds",
    "jsonp",
    "logRotateLength",
    "logfileName",
    "maxRotatedFiles",
    "plugins",
    "port",
    "rest_minimum_version",
    "theme",
    "ui_default_config",
    "versions",
    "ws_ping_interval",
];

/// Messages that leave a commit alone, as in Buildbot.
const SKIPS: [&str; 2] = [r"\[ *skip *ci *\]", r"\[ *ci *skip *\]"];

pub(super) fn read(config: &Config, definition: &mut Definition, collector: &Collector) -> BTreeMap<String, HookRules> {
    let mut rules = BTreeMap::new();
    let Some(value) = config.get("www").filter(|v| !v.is_none()) else { return rules };
    let reading = Reading { config, collector };
    let Some(www) = DictRef::from_value(value) else {
        reading.error(format!("c[\"www\"] must be a dict, got {}", Tree::of(value).describe()), None);
        return rules;
    };
    for (key, value) in www.iter() {
        match key.unpack_str() {
            Some("change_hook_dialects") => reading.dialects(value, definition, &mut rules),
            Some("change_hook_auth") => definition.hook_users = reading.users(value),
            Some(key) if FOREIGN.contains(&key) => {
                let message =
                    format!("c[\"www\"][\"{key}\"] has no effect: the master's own settings say where its pages are");
                config.report("www", Diagnostic::warning(message), collector);
            }
            Some(key) => {
                let known = ["change_hook_dialects", "change_hook_auth"].into_iter().chain(FOREIGN);
                let hint = names::nearest(key, known).map_or_else(
                    || "there are change_hook_dialects and change_hook_auth".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                reading.error(format!("c[\"www\"] has no key `{key}`"), Some(hint));
            }
            None => reading.error(format!("keys of c[\"www\"] are strings, got {}", Tree::of(key).describe()), None),
        }
    }
    for hook in definition.hooks.iter().filter(|h| h.strict && h.secret.is_none()) {
        if definition.hook_users.is_empty() && !matches!(hook.dialect, Base | Poller) {
            let message =
                format!("dialect `{}` has no `secret`: it takes only what comes with an API token", hook.name);
            let hint = "give it the secret that the forge was given, as in util.Secret(\"hook\")";
            config.report("www", Diagnostic::warning(message).hint(hint), collector);
        }
    }
    rules
}

struct Reading<'a> {
    config: &'a Config,
    collector: &'a Collector,
}

impl Reading<'_> {
    fn error(&self, message: String, hint: Option<String>) {
        self.config.report("www", Diagnostic::error(message).maybe_hint(hint), self.collector);
    }

    fn site(&self) -> Site {
        Site { span: self.config.key_span("www"), trace: vec![] }
    }

    fn dialects(&self, value: Value<'_>, definition: &mut Definition, rules: &mut BTreeMap<String, HookRules>) {
        let Some(dict) = DictRef::from_value(value) else {
            let got = Tree::of(value).describe();
            let message = format!("c[\"www\"][\"change_hook_dialects\"] must be a dict of dialects, got {got}");
            return self.error(message, Some("as in {\"github\": {\"secret\": util.Secret(\"github-hook\")}}".into()));
        };
        for (name, options) in dict.iter() {
            let Some(name) = name.unpack_str() else {
                self.error(format!("the name of a dialect is a string, got {}", Tree::of(name).describe()), None);
                continue;
            };
            let given = match (DictRef::from_value(options), boolean(&Tree::of(options))) {
                _ if options.is_none() => continue,
                (Some(dict), _) => dict.iter().collect(),
                (None, Some(true)) => vec![],
                (None, Some(false)) => continue,
                (None, None) => {
                    let got = Tree::of(options).describe();
                    self.error(format!("dialect `{name}` must be True or a dict of options, got {got}"), None);
                    continue;
                }
            };
            if let Some((hook, functions)) = self.hook(name, &given) {
                definition.hooks.push(hook);
                rules.insert(name.to_owned(), functions);
            }
        }
        definition.hooks.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// None if something is wrong with it, which is reported.
    fn hook(&self, name: &str, given: &[(Value<'_>, Value<'_>)]) -> Option<(HookDef, HookRules)> {
        let known = DIALECTS.iter().find(|(n, _)| *n == name).map(|(_, d)| *d);
        let own = given.iter().any(|(key, _)| key.unpack_str() == Some("function"));
        let dialect = match known {
            Some(dialect) => dialect,
            None if own => Custom,
            None => {
                let names = DIALECTS.map(|(n, _)| n);
                let hint = names::nearest(name, names).map_or_else(
                    || format!("there are {}; one of your own has a `function`", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                self.error(format!("there is no dialect `{name}` of hooks"), Some(hint));
                return None;
            }
        };
        if names::fault(name).is_some() || name.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
            let message = format!("dialect {name:?}: its name stands in an address: letters, digits, `-`, `_` and `.`");
            self.error(message, None);
            return None;
        }
        let mut hook = HookDef {
            name: name.to_owned(),
            dialect,
            secret: None,
            strict: true,
            outsiders: Outsiders::default(),
            insiders: vec![],
            repositories: vec![],
            pull_request_ref: PullRequestRef::default(),
            token: None,
            api: None,
            property_whitelist: vec![],
            skips: SKIPS.map(str::to_owned).to_vec(),
            codebase: None,
            codebase_function: false,
            allowed: None,
            signature_header: None,
            token_header: None,
            attrs: BTreeMap::new(),
        };
        let mut rules = HookRules::default();
        let mut good = true;
        for (key, value) in given {
            let Some(option) = key.unpack_str() else {
                self.error(format!("options of dialect `{name}` are strings, got {}", Tree::of(*key).describe()), None);
                good = false;
                continue;
            };
            good &= self.option(&mut hook, &mut rules, option, *value);
        }
        if dialect == Custom && hook.secret.is_some() && hook.token_header.is_none() && hook.signature_header.is_none()
        {
            hook.signature_header = Some("x-hub-signature-256".into());
        }
        good.then_some((hook, rules))
    }

    fn option(&self, hook: &mut HookDef, rules: &mut HookRules, option: &str, value: Value<'_>) -> bool {
        let (name, dialect) = (hook.name.clone(), hook.dialect);
        if let Some((_, _, why)) = IGNORED.iter().find(|(o, of, _)| *o == option && of.contains(&dialect)) {
            let message = format!("`{option}` of dialect `{name}` has no effect: {why}");
            self.config.report("www", Diagnostic::warning(message), self.collector);
            return true;
        }
        let Some((_, _, ty)) = OPTIONS.iter().find(|(o, of, _)| *o == option && of.contains(&dialect)) else {
            let known: Vec<&str> =
                OPTIONS.iter().filter(|(_, of, _)| of.contains(&dialect)).map(|(o, ..)| *o).collect();
            let hint = match names::nearest(option, known.iter().copied()) {
                _ if CLASSES.contains(&option) => {
                    "write a dialect of your own: {\"name\": {\"function\": a function of the request}}".to_owned()
                }
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("there are {}", known.join(", ")),
            };
            self.error(format!("dialect `{name}` has no option `{option}`"), Some(hint));
            return false;
        };
        if ["secret", "token"].contains(&option) {
            let found = self.secret(&format!("`{option}` of dialect `{name}`"), value);
            let good = found.is_some() || value.is_none();
            match option {
                "token" => hook.token = found,
                _ => hook.secret = found,
            }
            return good;
        }
        let tree = Tree::of(value);
        if tree.has_broken() {
            return false;
        }
        if let Some(why) = ty.mismatch(&tree) {
            self.error(format!("`{option}` of dialect `{name}` {why}"), remedy(option, *ty, &tree));
            return false;
        }
        let wrong = |expected: &str| {
            self.error(format!("`{option}` of dialect `{name}` must be {expected}, got {}", tree.describe()), None);
            false
        };
        let function = || Some(Function::new(self.config.own(value)?, self.site(), option));
        match option {
            "strict" => hook.strict = boolean(&tree).unwrap_or(true),
            "codebase" if matches!(tree, Tree::Function) => {
                hook.codebase_function = true;
                rules.codebase = function();
            }
            "codebase" => hook.codebase = optional_text(&tree).flatten(),
            "skips" => {
                hook.skips = patterns(&tree).unwrap_or_default();
                for pattern in &hook.skips {
                    if let Err(why) = natives::compile(pattern) {
                        let message = format!("`skips` of dialect `{name}`: {pattern:?} cannot be used: {why}");
                        self.error(message, None);
                        return false;
                    }
                }
            }
            "pullrequest_ref" => match text(&tree).as_deref() {
                Some("merge") => hook.pull_request_ref = PullRequestRef::Merge,
                Some("head") => hook.pull_request_ref = PullRequestRef::Head,
                _ => return wrong("\"merge\" or \"head\""),
            },
            "outsiders" => match text(&tree).as_deref() {
                Some("approve") => hook.outsiders = Outsiders::Approve,
                Some("build") => hook.outsiders = Outsiders::Build,
                Some("ignore") => hook.outsiders = Outsiders::Ignore,
                _ => return wrong("\"approve\", \"build\" or \"ignore\""),
            },
            "github_api_endpoint" => {
                match text(&tree).filter(|t| ["https://", "http://"].iter().any(|s| t.starts_with(s))) {
                    Some(api) => hook.api = Some(api),
                    None => return wrong("an address, as in \"https://github.example.org/api/v3\""),
                }
            }
            "github_property_whitelist" => hook.property_whitelist = texts(&tree).unwrap_or_default(),
            "repositories" => hook.repositories = texts(&tree).unwrap_or_default(),
            "insiders" => hook.insiders = texts(&tree).unwrap_or_default(),
            "allowed" => hook.allowed = texts(&tree),
            "function" => rules.function = function(),
            "attrs" => hook.attrs = properties(&tree).unwrap_or_default(),
            "signature_header" => hook.signature_header = text(&tree).map(|t| t.to_ascii_lowercase()),
            "token_header" => hook.token_header = text(&tree).map(|t| t.to_ascii_lowercase()),
            _ => unreachable!("every option of the table is read"),
        }
        true
    }

    /// A `util.Secret`, or a text with a warning. None: it is none, or is wrong, which is reported.
    fn secret(&self, what: &str, value: Value<'_>) -> Option<SecretText> {
        if let Some(Form::Secret { name }) = Placeholder::from_value(value).map(|p| &p.form) {
            return Some(SecretText::Secret { name: name.clone() });
        }
        let hint = "as in util.Secret(\"github-hook\"), whose value the masters know";
        match Tree::of(value) {
            Tree::None | Tree::Broken => None,
            Tree::Text(plain) if !plain.is_empty() => {
                let message = format!("{what} stands in the file, where whoever may read the project reads it");
                self.config.report("www", Diagnostic::warning(message).hint(hint), self.collector);
                Some(SecretText::Text(plain))
            }
            other => {
                self.error(format!("{what} must be a util.Secret, got {}", other.describe()), Some(hint.into()));
                None
            }
        }
    }

    /// `{name: password}`, or a list of pairs.
    fn users(&self, value: Value<'_>) -> Vec<HookUser> {
        let pairs: Option<Vec<(Value<'_>, Value<'_>)>> = match (DictRef::from_value(value), tree::items(value)) {
            _ if value.is_none() => return vec![],
            (Some(dict), _) => Some(dict.iter().collect()),
            (None, Some(items)) => items
                .iter()
                .map(|item| match tree::items(*item) {
                    Some([name, password]) => Some((*name, *password)),
                    _ => None,
                })
                .collect(),
            (None, None) => None,
        };
        let Some(pairs) = pairs else {
            let message = "c[\"www\"][\"change_hook_auth\"] must be a dict of user names and passwords".to_owned();
            self.error(message, Some("as in {\"forge\": util.Secret(\"hook-password\")}".into()));
            return vec![];
        };
        let mut users = vec![];
        for (name, password) in pairs {
            let Some(name) = name.unpack_str().filter(|n| !n.is_empty() && !n.contains(':')) else {
                self.error(format!("a name in change_hook_auth is no name: {}", Tree::of(name).describe()), None);
                continue;
            };
            let what = format!("the password of `{name}` in change_hook_auth");
            if let Some(password) = self.secret(&what, password) {
                users.push(HookUser { name: name.to_owned(), password });
            } else if password.is_none() {
                self.error(format!("{what} is None"), None);
            }
        }
        users
    }
}
