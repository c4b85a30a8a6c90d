//! The worker on real processes, against a small master that keeps to the
//! protocol and can be told to misbehave. The real master and the worker meet in
//! the journeys of the crate `tests`.

mod builds;
mod crash;
mod git;
mod hg;
mod master;
mod observers;
mod patches;
mod processes;
mod protocol;
mod scripts;
mod svn;
mod test_results;
mod triggers;
mod unreadable;
mod worker;
