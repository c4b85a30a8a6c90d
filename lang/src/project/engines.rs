//! What the project file may say already and no part of this release runs: it is
//! carried in the definition, with a warning. Take a kind out when it is run.

use crate::values::spec::{Kind, Spec};

/// Workers that need nobody to start them.
pub(super) const PLAIN_WORKERS: [&str; 2] = ["Worker", "LocalWorker"];

/// Change sources without an engine.
const SOURCES: &[&str] = &["BzrPoller", "P4Source"];

/// Steps that need something of a master which none does yet.
const STEPS: &[&str] = &["steps.DirectoryUpload", "steps.FileDownload", "steps.FileUpload", "steps.MultipleFileUpload"];

pub(super) fn runs_step(name: &str) -> bool {
    !STEPS.contains(&name)
}

pub(super) fn runs_source(kind: &str) -> bool {
    !SOURCES.contains(&kind)
}

/// Reporters that nobody runs.
const REPORTERS: &[&str] = &["PushjetNotifier", "PushoverNotifier", "TelegramBot"];

pub(super) fn runs_reporter(kind: &str) -> bool {
    !REPORTERS.contains(&kind)
}

/// Workers that somebody starts on demand.
pub(super) const RUNS_LATENT: bool = false;

/// Where secrets come from.
const PROVIDERS: &[&str] = &["SecretInPass"];

pub(super) fn runs_provider(kind: &str) -> bool {
    !PROVIDERS.contains(&kind)
}

/// Arguments of words that run and keys of the configuration on which nothing acts yet, with a warning.
pub(super) const BUILDER_ARGUMENTS: [&str; 2] = ["builddir", "workerbuilddir"];
pub(super) const PROJECT_KEYS: [&str; 2] = ["logMaxSize", "logMaxTailSize"];

/// The same of what only describes: nobody is misled, so the reference alone says it.
const BUILDER_WORDS: [&str; 1] = ["description_format"];
const WORKER_WORDS: [&str; 1] = ["machine_name"];
const PROJECT_WORDS: [&str; 2] = ["projects", "titleURL"];

/// «… is accepted but not run by this release».
pub(in crate::project) fn warning(what: &str) -> crate::host::diagnostics::Diagnostic {
    crate::host::diagnostics::Diagnostic::warning(format!("{what} is accepted but not run by this release"))
}

/// Whether this release accepts the word and runs nothing of it: what the reference says of it.
pub(crate) fn accepted_only(spec: &Spec) -> bool {
    match spec.kind {
        Kind::Step(_) => !runs_step(spec.name),
        Kind::ChangeSource(_) => !runs_source(spec.short()),
        Kind::Worker => !PLAIN_WORKERS.contains(&spec.short()) && !RUNS_LATENT,
        Kind::Reporter => !runs_reporter(spec.short()),
        Kind::SecretsProvider => !runs_provider(spec.short()),
        _ => false,
    }
}

/// The same of an argument of a word that runs.
pub(crate) fn argument_accepted_only(spec: &Spec, name: &str) -> bool {
    match spec.kind {
        Kind::Worker => WORKER_WORDS.contains(&name),
        Kind::Builder => BUILDER_ARGUMENTS.contains(&name) || BUILDER_WORDS.contains(&name),
        _ => false,
    }
}

/// The same of a key of the configuration.
pub(crate) fn key_accepted_only(key: &str) -> bool {
    PROJECT_KEYS.contains(&key) || PROJECT_WORDS.contains(&key)
}
