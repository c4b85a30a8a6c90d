//! A database with the views for each test.

use crate::views::AFTER;
use tidemill_schema::testing::TestDb;

/// A database of one's own, migrated as `tidemill migrate` does it.
pub async fn db() -> TestDb {
    TestDb::with(AFTER).await
}
