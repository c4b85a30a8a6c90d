//! The project's functions, as a replica asks them: off the async threads, each
//! call under limits, with a few bounded questions to the database.

pub mod host;

pub use host::Host;
