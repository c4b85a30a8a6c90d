//! IRC: real servers, and people on them.

pub mod person;
pub mod servers;
