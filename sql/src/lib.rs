//! Reporting: what people ask of history, in SQL. `views/` is the schema `report`,
//! which is documented and versioned; `reports/` are the questions that come with
//! Tidemill. What is here registers the ones and runs the others; it changes no row.

pub mod format;
pub mod report;
#[cfg(feature = "testing")]
pub mod testing;
pub mod views;

use tidemill_schema::migrate::Report;
use tidemill_schema::{Db, Result};

/// Brings the database up to this release: its tables, then the views of `report`.
pub async fn migrate(db: &Db) -> Result<Report> {
    tidemill_schema::migrate::migrate_with(db, views::AFTER).await
}
