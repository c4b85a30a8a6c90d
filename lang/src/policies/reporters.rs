//! What notifiers ask of a reporter beside its messages: addresses of people, texts of a status, headers.

use super::call::Function;
use super::host::NoHost;
use super::messages::GeneratorRules;
use super::rendered::{Argument, build_context};
use super::{Policies, unknown};
use crate::definition::{LookupDef, ReporterDef, ReporterKind};
use crate::host::diagnostics::EvalError;
use crate::values::tree::Tree;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What lives on of a reporter.
#[derive(Default)]
pub(crate) struct Reporter {
    pub generators: Vec<GeneratorRules>,
    /// Arguments that are rendered for each build, by Buildbot's names.
    pub arguments: BTreeMap<String, Argument>,
    pub headers: BTreeMap<String, Argument>,
    pub lookup: Option<Function>,
    pub review: Option<Function>,
    pub start: Option<Function>,
    pub summary: Option<Function>,
}

impl Policies<'_> {
    /// An argument of a reporter that is rendered for each build, such as `context` of a
    /// GitHubStatusPush, under Buildbot's name; what it is without one in the file. None: it has no value.
    pub fn argument(&self, reporter: &str, name: &str, context: &Json) -> Result<Option<String>, EvalError> {
        let (definition, rules) = self.reporter(reporter)?;
        match rules.arguments.get(name) {
            Some(argument) => argument.render(context, ""),
            None => Ok(usual(&definition.kind, name, &build_context(context, "").builder)),
        }
    }

    /// The further headers of a reporter. Where a secret belongs its mark stands, made with
    /// `secret_mark`: see [`crate::secret::resolve`].
    pub fn headers(
        &self,
        reporter: &str,
        context: &Json,
        secret_mark: &str,
    ) -> Result<Vec<(String, String)>, EvalError> {
        let (_, rules) = self.reporter(reporter)?;
        let mut headers = vec![];
        for (name, argument) in &rules.headers {
            if let Some(value) = argument.render(context, secret_mark)? {
                headers.push((name.clone(), value));
            }
        }
        Ok(headers)
    }

    /// The address of a person, by the `lookup` of a MailNotifier; without one, the address that the
    /// name holds. None: it has none. Directories (LDAP) are asked by the notifier.
    pub fn lookup(&self, reporter: &str, name: &str) -> Result<Option<String>, EvalError> {
        let (definition, rules) = self.reporter(reporter)?;
        let lookup = match &definition.kind {
            ReporterKind::Mail(mail) => mail.lookup.as_ref(),
            _ => None,
        };
        let found = match (lookup, &rules.lookup) {
            (Some(LookupDef::Function), Some(function)) => function.call(
                &self.limits(),
                &NoHost,
                |eval| vec![eval.heap().alloc(name)],
                |answer, _| match Tree::of(answer) {
                    Tree::None => Ok(None),
                    Tree::Text(address) => Ok(Some(address)),
                    _ => Err(function.wrong("an address or None", answer)),
                },
            )?,
            (Some(lookup), _) => lookup.find(name),
            (None, _) => LookupDef::address_in(name),
        };
        Ok(found.filter(|a| LookupDef::is_address(a)))
    }

    pub(super) fn reporter(&self, name: &str) -> Result<(&ReporterDef, &Reporter), EvalError> {
        let definition = self.definition().reporters.iter().find(|r| r.name == name);
        definition.zip(self.project.reporters.get(name)).ok_or_else(|| unknown("reporter", name))
    }
}

/// What an argument is where the file has none.
fn usual(kind: &ReporterKind, name: &str, builder: &str) -> Option<String> {
    use ReporterKind::*;
    Some(match (kind, name) {
        (Github(_) | Gitlab(_) | Gitea(_), "context") => format!("buildbot/{builder}"),
        (Gitea(_), "context_pr") => format!("buildbot/pull_request/{builder}"),
        (Bitbucket(_), "status_key" | "status_name") => builder.to_owned(),
        (BitbucketServer(_) | BitbucketServerCore(_), "key") => builder.to_owned(),
        (GerritVerify(_), "verification_name") => builder.to_owned(),
        (GerritVerify(_), "reporter") => "buildbot".to_owned(),
        _ => return None,
    })
}
