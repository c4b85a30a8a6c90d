//! The examples of `examples/origin`: each is a project of its own that is
//! loaded, driven with the input that it is about, and looked at.

#[path = "support/host.rs"]
mod host;

#[path = "origin/build.rs"]
mod build;
#[path = "origin/changes.rs"]
mod changes;
#[path = "origin/collapse.rs"]
mod collapse;
#[path = "origin/configuration.rs"]
mod configuration;
#[path = "origin/deployment.rs"]
mod deployment;
#[path = "origin/example.rs"]
mod example;
#[path = "origin/factories.rs"]
mod factories;
#[path = "origin/files.rs"]
mod files;
#[path = "origin/logs.rs"]
mod logs;
#[path = "origin/observers.rs"]
mod observers;
#[path = "origin/priorities.rs"]
mod priorities;
#[path = "origin/steps.rs"]
mod steps;
#[path = "origin/summaries.rs"]
mod summaries;
#[path = "origin/svn.rs"]
mod svn;
#[path = "origin/workers.rs"]
mod workers;
