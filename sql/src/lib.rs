//! Reporting: what people ask of history, in SQL. `views/` is the schema `report`,
//! which is documented and versioned; `reports/` are the questions that come with
//! Tidemill. What is here registers the ones and runs the others; it changes no row.

pub mod format;
pub mod report;
