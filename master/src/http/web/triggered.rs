//! Who triggered whom: the line above a build or request, and the table below it.

use super::show::{Badge, build_path};
use crate::http::ApiError;
use sqlx::PgConnection;
use tidemill_schema::read::triggered::{self, Child, Parent};

/// Most rows of the table.
const CHILDREN: i64 = 200;

pub struct TriggeredBy {
    pub parent: Parent,
    pub path: String,
}

impl TriggeredBy {
    pub async fn of(c: &mut PgConnection, buildset: i64) -> Result<Option<TriggeredBy>, ApiError> {
        let parent = triggered::parent(c, buildset).await?;
        Ok(parent.map(|parent| TriggeredBy { path: build_path(&parent.buildername, parent.number), parent }))
    }
}

pub struct ChildRow {
    pub child: Child,
    pub badge: Badge,
    /// Of its newest build, or of the request that waits.
    pub path: String,
}

pub async fn children(c: &mut PgConnection, build: i64) -> Result<Vec<ChildRow>, ApiError> {
    let rows = triggered::children(c, build, CHILDREN).await?.into_iter().map(|child| {
        let badge = match (child.complete, &child.build) {
            (true, _) => Badge::of(child.results),
            (false, Some(_)) => Badge::of(None),
            (false, None) => Badge::WAITING,
        };
        let path = match &child.build {
            Some((number, _)) => build_path(&child.buildername, *number),
            None => format!("/buildrequests/{}", child.requestid),
        };
        ChildRow { child, badge, path }
    });
    Ok(rows.collect())
}
