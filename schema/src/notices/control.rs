//! What somebody on IRC asks for: a row that a master answers, by the functions
//! that serve pages and REST. So the rules stand in one place, and a notifier's
//! role may change nothing of builds. States are drawn in docs/states.md.
//!
//! Carrying out is harmless to repeat (a key makes a forced build once, a stop
//! said twice is told once), so whichever master sees it first does it, and the
//! first answer stays.

use crate::Result;
use crate::beats::interval;
use crate::changes::{clean, clean_json};
use crate::run_tx;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is asked for, of a builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    Force {
        branch: Option<String>,
        revision: Option<String>,
        codebase: Option<String>,
        project: Option<String>,
        properties: BTreeMap<String, String>,
        reason: String,
    },
    /// All its running builds.
    Stop { reason: String },
}

impl Wish {
    fn kind(&self) -> &'static str {
        match self {
            Wish::Force { .. } => "force",
            Wish::Stop { .. } => "stop",
        }
    }
}

/// What a master has to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub id: i64,
    pub builder: String,
    pub wish: Wish,
    pub by: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Ids of requests that were made.
    Requests(Vec<i64>),
    /// Numbers of builds that are told to stop.
    Stopping(Vec<i64>),
    /// Why not, in a sentence.
    Refused(String),
    /// No master came in time.
    Expired,
}

/// Asks for it, for so long.
pub async fn control_ask(
    c: &mut PgConnection,
    builder: &str,
    wish: &Wish,
    by: &str,
    patience: Duration,
) -> Result<i64> {
    let document = serde_json::to_value(wish).map_err(|e| crate::Error::Inconsistent(format!("a wish: {e}")))?;
    Ok(sqlx::query_scalar!(
        "insert into control_requests (kind, builder, wish, asked_by, expires_at)
         values ($1, $2, $3, $4, tidemill_now() + $5) returning id",
        wish.kind(),
        clean(builder),
        clean_json(&document),
        clean(by),
        interval(patience)
    )
    .fetch_one(c)
    .await?)
}

/// What became of it; none while it is open.
pub async fn control_answer(c: &mut PgConnection, id: i64) -> Result<Option<Answer>> {
    let row = sqlx::query!("select state, answer from control_requests where id = $1", id).fetch_optional(c).await?;
    Ok(match row {
        Some(row) if row.state == "open" => None,
        Some(row) => row.answer.and_then(|a| serde_json::from_value(a).ok()).or(Some(Answer::Expired)),
        None => Some(Answer::Expired),
    })
}

/// What nobody has answered, the oldest first. What is too old is not done any more.
pub async fn controls_open(c: &mut PgConnection) -> Result<Vec<Open>> {
    let overdue = sqlx::query_scalar!(
        r#"select exists (select from control_requests where state = 'open' and expires_at < tidemill_now()) as "x!""#
    )
    .fetch_one(&mut *c)
    .await?;
    if overdue {
        sqlx::query!(
            "update control_requests set state = 'expired', ended_at = tidemill_now()
              where state = 'open' and expires_at < tidemill_now()"
        )
        .execute(&mut *c)
        .await?;
    }
    let rows = sqlx::query!(
        "select id, builder, wish, asked_by from control_requests where state = 'open' order by id limit 100"
    )
    .fetch_all(c)
    .await?;
    let open = rows.into_iter().filter_map(|r| {
        let wish = serde_json::from_value(r.wish).ok()?;
        Some(Open { id: r.id, builder: r.builder, wish, by: r.asked_by })
    });
    Ok(open.collect())
}

/// Answers, if nobody has.
pub async fn control_end(c: &mut PgConnection, id: i64, answer: &Answer) -> Result<bool> {
    let state = match answer {
        Answer::Requests(_) | Answer::Stopping(_) => "done",
        Answer::Refused(_) => "refused",
        Answer::Expired => "expired",
    };
    let document: Value =
        serde_json::to_value(answer).map_err(|e| crate::Error::Inconsistent(format!("an answer: {e}")))?;
    let done = sqlx::query!(
        "update control_requests set state = $2, answer = $3, ended_at = tidemill_now() where id = $1 and state = 'open'",
        id,
        state,
        clean_json(&document)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Running builds of a builder: ids and numbers.
pub async fn builds_running(c: &mut PgConnection, builder: i64) -> Result<Vec<(i64, i64)>> {
    let rows = sqlx::query!(
        "select b.id, b.number from leases l join builds b on b.id = l.build_id where b.builder_id = $1 order by 2",
        builder
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.number)).collect())
}

/// Removes what ended more than `days` ago.
pub async fn controls_prune(db: &crate::Db, days: i32) -> Result<u64> {
    run_tx!(db, "controls.prune", |c| sqlx::query!(
        "delete from control_requests where id in (
             select id from control_requests where ended_at < tidemill_now() - $1 * interval '1 day'
              order by ended_at limit 5000)",
        days as f64
    )
    .execute(c)
    .await
    .map_err(crate::Error::from)
    .map(|done| done.rows_affected()))
}
