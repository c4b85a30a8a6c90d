//! Journeys: whole Tidemills of real processes, from a commit to its result,
//! through what can break on the way.

mod access;
mod commit;
mod horizon;
mod logs;
mod masters_die;
mod network;
mod polls;
mod postgres_dies;
mod project;
mod worker_dies;
