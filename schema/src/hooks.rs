//! Deliveries of hooks, and changes that wait for an approval.
//!
//! A delivery is stored in the transaction that stores what it announced, with
//! the answer: two replicas that get the same one at once store it once, the
//! second waits for the first and gives its answer; one that comes again after
//! a lost answer gets the first's. What is not taken is not stored, so that the
//! same may come again when it is repaired.

use crate::changes::{changes_insert, clean, clean_json, clean_option, cleaned};
use crate::{Db, Error, Result, run_tx};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{ChangeId, NewChange};

/// Rows that one transaction removes.
const PRUNE: i64 = 5_000;

/// What tells deliveries apart.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// As in the address.
    pub dialect: String,
    /// The sender's id of it.
    pub id: Option<String>,
    /// SHA-256 of the body.
    pub body: [u8; 32],
    /// Whether the same body under another id is the same delivery.
    pub once: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The first of it: its row, for [`delivery_answer`].
    New(i64),
    /// It was taken before, with this answer.
    Again { status: u16, answer: Value },
    /// The id was used for another body.
    Other,
}

/// Takes a delivery, or finds what was answered before. Waits for another
/// transaction that takes the same.
pub async fn delivery_begin(c: &mut PgConnection, delivery: &Delivery) -> Result<Begun> {
    let (dialect, id) = (clean(&delivery.dialect), clean_option(&delivery.id));
    let signed = delivery.once.then_some(&delivery.body[..]);
    let made = sqlx::query_scalar!(
        "insert into hook_deliveries (dialect, delivery, signed, body) values ($1, $2, $3, $4)
         on conflict do nothing returning id",
        dialect,
        id,
        signed,
        &delivery.body[..]
    )
    .fetch_optional(&mut *c)
    .await?;
    if let Some(made) = made {
        return Ok(Begun::New(made));
    }
    // A statement of its own sees what the insert has waited for.
    let old = sqlx::query!(
        r#"select body, status, answer as "answer: Json<Value>" from hook_deliveries
            where dialect = $1 and (delivery = $2 or signed = $3)
            order by delivery is not distinct from $2 desc limit 1"#,
        dialect,
        id,
        signed
    )
    .fetch_optional(&mut *c)
    .await?;
    match old {
        Some(old) if old.body != delivery.body => Ok(Begun::Other),
        Some(old) => Ok(Begun::Again {
            status: u16::try_from(old.status).unwrap_or(202),
            answer: old.answer.map(|a| a.0).unwrap_or_default(),
        }),
        // Housekeeping removed it between the two statements.
        None => Err(Error::Conflict("the delivery was removed while it came again; send it once more".into())),
    }
}

/// What is answered to it, now and whenever it comes again.
pub async fn delivery_answer(c: &mut PgConnection, delivery: i64, status: u16, answer: &Value) -> Result<()> {
    let done = sqlx::query!(
        "update hook_deliveries set status = $2, answer = $3 where id = $1 and answer is null",
        delivery,
        i16::try_from(status).unwrap_or(202),
        clean_json(answer)
    )
    .execute(c)
    .await?;
    crate::error::expect("hook delivery answered", 1, done.rows_affected())
}

/// Forgets deliveries of so many days ago.
pub async fn deliveries_prune(db: &Db, days: i32) -> Result<()> {
    loop {
        let removed = run_tx!(db, "hooks.prune", |c| prune(c, days).await)?;
        if removed < PRUNE as u64 {
            return Ok(());
        }
    }
}

async fn prune(c: &mut PgConnection, days: i32) -> Result<u64> {
    let removed = sqlx::query!(
        "delete from hook_deliveries where id in (
           select id from hook_deliveries where received_at < tidemill_now() - make_interval(days => $1)
            order by received_at limit $2)",
        days,
        PRUNE
    )
    .execute(c)
    .await?;
    Ok(removed.rows_affected())
}

/// A change that is to wait.
#[derive(Clone, Debug)]
pub struct NewHeld {
    pub dialect: String,
    /// Which pull request it is the newest of.
    pub pull: String,
    pub change: NewChange,
    /// Why it waits.
    pub why: String,
}

/// Keeps a change apart until it is approved. What waited of the same pull
/// request is superseded: an approval is for one revision.
pub async fn change_hold(c: &mut PgConnection, delivery: Option<i64>, held: &NewHeld) -> Result<i64> {
    held_supersede(c, &held.dialect, &held.pull).await?;
    let change = cleaned(&held.change);
    let data = serde_json::to_value(&change).unwrap_or_default();
    Ok(sqlx::query_scalar!(
        r#"with made as (
             insert into held_changes (delivery_id, dialect, pull, repository, branch, revision, change, why)
             values ($1, $2, $3, $4, $5, $6, $7, $8) returning id
         ), told as (
             insert into events (kind, data) select 'changes.held', jsonb_build_object('heldchangeid', id) from made
         )
         select id as "id!" from made"#,
        delivery,
        clean(&held.dialect),
        clean(&held.pull),
        change.repository,
        change.branch,
        change.revision.unwrap_or_default(),
        data,
        clean(&held.why)
    )
    .fetch_one(c)
    .await?)
}

/// Nothing of this pull request waits any more: something newer came, or it was closed.
pub async fn held_supersede(c: &mut PgConnection, dialect: &str, pull: &str) -> Result<u64> {
    let (dialect, pull) = (clean(dialect), clean(pull));
    // Two of one pull request at once: the second waits here and supersedes the first.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 7))", dialect, pull)
        .execute(&mut *c)
        .await?;
    let gone = sqlx::query!(
        "with gone as (
           update held_changes set state = 'superseded', decided_at = tidemill_now()
            where dialect = $1 and pull = $2 and state = 'waiting' returning id
         )
         insert into events (kind, data)
         select 'changes.superseded', jsonb_build_object('heldchangeid', id) from gone",
        dialect,
        pull
    )
    .execute(c)
    .await?;
    Ok(gone.rows_affected())
}

/// Approves the revision that waits, and no other; from now on schedulers see
/// the change. Approved again it is the same change.
pub async fn held_approve(c: &mut PgConnection, held: i64, revision: &str, by: &str) -> Result<ChangeId> {
    let row = sqlx::query!(
        r#"select revision, state, change_id, change as "change: Json<NewChange>" from held_changes where id = $1 for update"#,
        held
    )
    .fetch_optional(&mut *c)
    .await?
    .ok_or_else(|| missing(held))?;
    if row.revision != clean(revision) {
        return Err(Error::Conflict(format!(
            "change {held} waits with the revision {}, not with {revision}: look at it again",
            row.revision
        )));
    }
    match (row.state.as_str(), row.change_id) {
        ("approved", Some(change)) => return Ok(ChangeId(change)),
        ("waiting", _) => {}
        (state, _) => return Err(decided(held, state)),
    }
    let change = changes_insert(c, &[row.change.0], None).await?[0];
    let done = sqlx::query!(
        "update held_changes set state = 'approved', decided_at = tidemill_now(), decided_by = $2, change_id = $3
          where id = $1 and state = 'waiting'",
        held,
        clean(by),
        change.0
    )
    .execute(c)
    .await?;
    crate::error::expect("held change approved", 1, done.rows_affected())?;
    Ok(change)
}

/// It is not to be built. Twice is once.
pub async fn held_refuse(c: &mut PgConnection, held: i64, by: &str) -> Result<()> {
    let done = sqlx::query!(
        "with gone as (
           update held_changes set state = 'refused', decided_at = tidemill_now(), decided_by = $2
            where id = $1 and state = 'waiting' returning id
         )
         insert into events (kind, data) select 'changes.refused', jsonb_build_object('heldchangeid', id) from gone",
        held,
        clean(by)
    )
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let state = sqlx::query_scalar!("select state from held_changes where id = $1", held).fetch_optional(c).await?;
    match state.as_deref() {
        None => Err(missing(held)),
        Some("refused") => Ok(()),
        Some(state) => Err(decided(held, state)),
    }
}

fn missing(held: i64) -> Error {
    Error::NotFound(format!("no change {held} waits for an approval").into())
}

fn decided(held: i64, state: &str) -> Error {
    Error::Conflict(match state {
        "superseded" => format!("change {held} was superseded: its pull request has something newer, or was closed"),
        state => format!("change {held} was {state} before"),
    })
}

/// Lets change sources poll now: those of these names that are active, or all.
/// Returns the names of those that will.
pub async fn sources_poll_now(c: &mut PgConnection, names: Option<&[String]>) -> Result<Vec<String>> {
    let all = names.is_none();
    let names = names.unwrap_or_default();
    Ok(sqlx::query_scalar!(
        "update change_sources set next_at = tidemill_now(), poll_now = held_until is not null
          where active and next_at is not null and ($1 or name = any($2)) returning name",
        all,
        names
    )
    .fetch_all(c)
    .await?)
}

/// Names of the active change sources.
pub async fn source_names(c: &mut PgConnection) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!("select name from change_sources where active order by name").fetch_all(c).await?)
}
