//! Journeys: whole Tidemills of real processes, from a commit to its result,
//! through what can break on the way.

mod access;
mod commit;
mod completion;
mod custom_rules;
mod direct;
mod fair;
mod force_patch;
mod hook_scripts;
mod hooks;
mod horizon;
mod locks;
mod logs;
mod mail;
mod masters_die;
mod network;
mod notices;
mod numbers;
mod origin;
mod policies;
mod polls;
mod postgres_dies;
mod project;
mod random;
mod reconfig;
mod requests;
mod roles;
mod schedule;
mod scheduler_controls;
mod schedulers;
mod secrets;
mod sources;
mod trigger;
mod try_builds;
mod try_copies;
mod worker_dies;
