//! `util.…`

mod builders;
mod custom;
mod filters;
mod parameters;
mod placeholders;

use crate::values::spec::Spec;

pub(super) const SPECS: &[&[&Spec]] =
    &[builders::SPECS, filters::SPECS, placeholders::SPECS, custom::SPECS, parameters::SPECS];

pub(super) const LATER: &[&str] =
    &["Authz", "CPAN", "Codebase", "GitHubAuth", "JanitorConfigurator", "UserPasswordAuth"];
