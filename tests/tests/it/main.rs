//! Journeys: whole Tidemills of real processes, from a commit to its result,
//! through what can break on the way.

mod access;
mod commit;
mod completion;
mod custom_rules;
mod direct;
mod horizon;
mod logs;
mod masters_die;
mod network;
mod numbers;
mod origin;
mod policies;
mod polls;
mod postgres_dies;
mod project;
mod reconfig;
mod roles;
mod schedule;
mod sources;
mod worker_dies;
