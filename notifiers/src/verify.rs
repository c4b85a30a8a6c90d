//! How the other side proves who it is.

use std::path::PathBuf;

/// Whether its certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// By the authorities of the machine.
    #[default]
    Yes,
    /// Not at all: whoever answers is believed.
    No,
    /// By those in this file of PEM, and no others.
    Authorities(PathBuf),
}
