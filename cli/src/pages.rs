//! Addresses of pages, for people.

use crate::api::{Build, segment};

pub fn build(base: &str, build: &Build) -> String {
    format!("{base}/builders/{}/builds/{}", segment(&build.buildername), build.number)
}
