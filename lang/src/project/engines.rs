//! What the project file may say already and no part of this release runs: it is
//! carried in the definition, with a warning. Take a kind out when it is run.

/// Schedulers without an engine.
const SCHEDULERS: &[&str] = &[
    "AnyBranchScheduler",
    "Dependent",
    "ForceScheduler",
    "Nightly",
    "NightlyTriggerable",
    "Periodic",
    "Triggerable",
    "Try_Jobdir",
    "Try_Userpass",
];

/// Change sources without an engine.
const SOURCES: &[&str] = &[
    "BitbucketPullrequestPoller",
    "BzrLaunchpadEmailMaildirSource",
    "BzrPoller",
    "CVSMaildirSource",
    "GerritChangeSource",
    "GerritEventLogPoller",
    "GitHubPullrequestPoller",
    "HgPoller",
    "P4Source",
    "SVNCommitEmailMaildirSource",
    "SVNPoller",
];

/// Steps that need something of a master which none does yet.
const STEPS: &[&str] =
    &["steps.DirectoryUpload", "steps.FileDownload", "steps.FileUpload", "steps.MultipleFileUpload", "steps.Trigger"];

pub(super) fn runs_step(name: &str) -> bool {
    !STEPS.contains(&name)
}

pub(super) fn runs_scheduler(kind: &str) -> bool {
    !SCHEDULERS.contains(&kind)
}

pub(super) fn runs_source(kind: &str) -> bool {
    !SOURCES.contains(&kind)
}

/// Reporters and other services come with their own release.
pub(super) const RUNS_SERVICES: bool = false;

/// Workers that somebody starts on demand.
pub(super) const RUNS_LATENT: bool = false;

/// Where secrets come from.
pub(super) const RUNS_SECRETS: bool = false;

/// Locks of builders, workers and steps.
pub(super) const RUNS_LOCKS: bool = false;

/// «… is accepted but not run by this release».
pub(super) fn warning(what: &str) -> crate::host::diagnostics::Diagnostic {
    crate::host::diagnostics::Diagnostic::warning(format!("{what} is accepted but not run by this release"))
}
