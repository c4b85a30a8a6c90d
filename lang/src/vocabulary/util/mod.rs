//! `util.…`

mod builders;
mod cancellers;
mod custom;
mod filters;
mod parameters;
mod placeholders;

use crate::values::spec::Spec;

pub(super) const SPECS: &[&[&Spec]] = &[
    builders::SPECS,
    cancellers::SPECS,
    filters::SPECS,
    placeholders::SPECS,
    custom::SPECS,
    parameters::SPECS,
    super::reporters::UTIL_SPECS,
];

pub(super) const LATER: &[&str] =
    &["Authz", "CPAN", "Codebase", "GitHubAuth", "JanitorConfigurator", "UserPasswordAuth"];
