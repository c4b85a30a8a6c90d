//! What people and programs ask: the resources of the REST API and of the pages.
//!
//! Nothing here changes state or takes a lock, so any number may run beside
//! everything else; a read sees what was committed when its statement began.
//! A list is one statement, and a second one for the total where more rows
//! exist than were asked for: never one a row.
//!
//! A [`Resource`] is the allow-list of what can be asked of one table: each
//! [`Field`] has the SQL that gives it, and only those texts and bound values
//! ever reach Postgres. Field names are those of Buildbot's data API; times are
//! whole seconds since 1970.

pub mod builders;
pub mod builds;
pub mod buildsets;
pub mod changes;
pub mod control;
pub mod held;
pub mod list;
pub mod locks;
pub mod logs;
pub mod masters;
pub mod overview;
pub mod policy;
pub mod policy_failures;
pub mod query;
pub mod report;
pub mod requests;
pub mod resource;
pub mod revisions;
pub mod schedulers;
pub mod steps;
pub mod tests;
pub mod text;
pub mod triggered;
pub mod waiting;
pub mod workers;

pub use list::{Listed, Scope, exists, list, one, typed};
pub use query::{Query, WrongParameter};
pub use resource::{Field, Kind, Resource};
