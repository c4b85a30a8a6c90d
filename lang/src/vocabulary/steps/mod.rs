//! `steps.…`

pub(crate) mod common;
mod files;
mod flow;
mod shell;
mod source;
mod tools;

use crate::values::spec::{Spec, StepKind};
use common::{COMMON, WORKDIR, step};

/// What `util.BuildStep` builds on where it names no other base.
static BUILD_STEP: Spec = step(
    "steps.BuildStep",
    StepKind::Bare,
    0,
    &[COMMON, &[WORKDIR]],
    "The base of custom steps: the arguments that every step has. Make one with `util.BuildStep`.",
    "",
);

pub(crate) fn bare() -> &'static Spec {
    &BUILD_STEP
}

pub(super) const SPECS: &[&[&Spec]] =
    &[&[&BUILD_STEP], shell::SPECS, source::SPECS, files::SPECS, flow::SPECS, tools::SPECS];

pub(super) const LATER: &[&str] = &[
    "BuildEPYDoc",
    "Bzr",
    "CVS",
    "CheckFile",
    "DELETE",
    "Darcs",
    "DebCowbuilder",
    "DebPbuilder",
    "DownloadSecretsToWorker",
    "GET",
    "Gerrit",
    "GitCommit",
    "GitDiffInfo",
    "GitHub",
    "GitLab",
    "GitPush",
    "GitTag",
    "HEAD",
    "HTTPStep",
    "MasterShellCommand",
    "MaxQ",
    "MockBuildSRPM",
    "MockRebuild",
    "Monotone",
    "MsBuild",
    "MsBuild12",
    "MsBuild14",
    "MsBuild141",
    "MsBuild15",
    "MsBuild16",
    "MsBuild17",
    "MsBuild4",
    "OPTIONS",
    "P4",
    "POST",
    "PUT",
    "RemoveWorkerFileSecret",
    "Repo",
    "Robocopy",
    "SubunitShellCommand",
    "VC10",
    "VC11",
    "VC12",
    "VC14",
    "VC141",
    "VC6",
    "VC7",
    "VC8",
    "VC9",
    "VS2003",
    "VS2005",
    "VS2008",
    "VS2010",
    "VS2012",
    "VS2013",
    "VS2015",
    "VS2017",
    "VS2019",
    "VS2022",
];
