//! What people see of notices, and do about them.

use crate::Result;
use crate::changes::clean;
use crate::read::list::{self, Scope};
use crate::read::query::Query;
use crate::read::resource::{Resource, int, json, text, time};
use serde::Deserialize;
use sqlx::PgConnection;

pub static DELIVERIES: Resource = Resource {
    name: "deliveries",
    table: "deliveries",
    alias: "d",
    fields: &[
        int("deliveryid", "d.id", "In the order in which they were planned."),
        text("state", "d.state", "due, sending, sent, parked, folded (went with another), superseded, or expired."),
        text("reporter", "d.reporter", "Name of the reporter in the project file."),
        text("kind", "(select x.kind from destinations x where x.id = d.destination_id)", "mail, irc, http or forge."),
        text("destination", "(select x.name from destinations x where x.id = d.destination_id)", "The server."),
        text("address", "d.address", "Who is told: a mailbox, a channel, a URL, a commit."),
        text("moment", "d.moment", "What is told: start, end, buildset, request, worker or test."),
        text("mode", "d.mode", "How the generator calls it, such as `failing` or `change`."),
        int("builderid", "d.builder_id", "The builder."),
        int("buildid", "d.build_id", "The build."),
        int("bsid", "d.buildset_id", "The buildset."),
        int("buildrequestid", "d.request_id", "The request."),
        int("workerid", "d.worker_id", "The worker."),
        int("revisionid", "d.revision_id", "The configuration whose words are used."),
        int("attempts", "d.attempts", "How often it was tried."),
        text(
            "answer",
            "coalesce(d.answer, (select x.error from destinations x
                                  where x.id = d.destination_id and x.failures > 0 and d.state = 'due'))",
            "What the other side said last, or why it was not sent.",
        ),
        text("message_id", "d.message_id", "The same for every attempt."),
        int("folded_into", "d.folded_into", "The delivery that it went with."),
        json("why", "d.facts -> 'why'", "Why this address is told."),
        time!("at", "d.at", "When it happened."),
        time!("planned_at", "d.planned_at", "When it was planned."),
        time!("not_before", "d.not_before", "When it is tried, or was last due."),
        time!("ended_at", "d.ended_at", "When it was sent or given up; null while it waits."),
    ],
};

pub static DESTINATIONS: Resource = Resource {
    name: "destinations",
    table: "destinations",
    alias: "d",
    fields: &[
        int("destinationid", "d.id", "Lasts as long as the name."),
        text("kind", "d.kind", "mail, irc, http or forge."),
        text("name", "d.name", "Host and port, or the name of a network."),
        int("failures", "d.failures", "Failures in a row; 0 while it takes what comes."),
        text("error", "d.error", "The last failure."),
        time!("failed_at", "d.failed_at", "When it last failed."),
        time!("not_before", "d.not_before", "It is down, and tried again then."),
        int(
            "due",
            "(select count(*) from (select from deliveries x where x.destination_id = d.id and x.state = 'due' limit 10000) y)",
            "Notices that wait for it, counted up to 10,000.",
        ),
    ],
};

/// A delivery, as pages show it.
#[derive(Clone, Debug, Deserialize)]
pub struct DeliveryRow {
    pub deliveryid: i64,
    pub state: String,
    pub reporter: String,
    pub kind: String,
    pub destination: String,
    pub address: String,
    pub moment: String,
    pub mode: String,
    pub buildid: Option<i64>,
    pub attempts: i64,
    pub answer: Option<String>,
    pub at: i64,
    pub not_before: i64,
    pub ended_at: Option<i64>,
}

/// A destination, as pages show it.
#[derive(Clone, Debug, Deserialize)]
pub struct DestinationRow {
    pub destinationid: i64,
    pub kind: String,
    pub name: String,
    pub failures: i64,
    pub error: Option<String>,
    pub not_before: Option<i64>,
    pub due: i64,
}

pub async fn deliveries(c: &mut PgConnection, query: &Query) -> Result<Vec<DeliveryRow>> {
    list::typed(&list::list(c, &DELIVERIES, &[], query).await?.rows)
}

pub async fn destinations(c: &mut PgConnection, query: &Query) -> Result<Vec<DestinationRow>> {
    list::typed(&list::list(c, &DESTINATIONS, &[], query).await?.rows)
}

pub fn delivery(id: i64) -> Scope {
    Scope::new("d.id = ", id)
}

pub fn destination(id: i64) -> Scope {
    Scope::new("d.id = ", id)
}

/// Asks for a notice that only tries whether it arrives. Planned like any other; its delivery has
/// the message id that this returns.
pub async fn test_notice(c: &mut PgConnection, reporter: &str, to: Option<&str>, by: &str) -> Result<String> {
    Ok(sqlx::query_scalar!(
        r#"insert into events (kind, data)
           select 'notices.test', jsonb_build_object('reporter', $1::text, 'to', $2::text, 'by', $3::text,
                                                     'message_id', gen_random_uuid()::text)
           returning data ->> 'message_id' as "id!""#,
        clean(reporter),
        to.map(clean),
        clean(by)
    )
    .fetch_one(c)
    .await?)
}

/// What became of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// Due again, by the active configuration's words.
    pub due: Vec<i64>,
    /// Named, and neither parked nor expired.
    pub left: Vec<i64>,
}

/// Makes parked and expired deliveries due again, as of the active configuration, with all their
/// attempts before them and a day's time. Without ids: all that are parked.
pub async fn deliveries_retry(c: &mut PgConnection, ids: Option<&[i64]>) -> Result<Retried> {
    let due = sqlx::query_scalar!(
        r#"update deliveries d
              set state = 'due', attempts = 0, not_before = tidemill_now(), ended_at = null, folded_into = null,
                  expires_at = greatest(d.expires_at, tidemill_now() + interval '1 day'),
                  revision_id = coalesce((select revision_id from active_revision), d.revision_id)
            where d.state in ('parked', 'expired')
              and (d.id = any($1) or ($1 is null and d.state = 'parked'))
           returning d.id"#,
        ids
    )
    .fetch_all(c)
    .await?;
    let left = ids.unwrap_or_default().iter().copied().filter(|id| !due.contains(id)).collect();
    Ok(Retried { due, left })
}

/// What waits for its next attempt is due now, and what is down is tried now: somebody has mended
/// it. What is still gathered goes on gathering. Returns the ids.
pub async fn deliveries_hasten(c: &mut PgConnection) -> Result<Vec<i64>> {
    sqlx::query!("update destinations set not_before = null where not_before > tidemill_now()")
        .execute(&mut *c)
        .await?;
    Ok(sqlx::query_scalar!(
        "update deliveries set not_before = tidemill_now()
          where state = 'due' and not_before > tidemill_now() and not (gathered and answer is null) returning id"
    )
    .fetch_all(c)
    .await?)
}

/// Tells this address nothing more of a reporter; an empty name is all of them.
pub async fn optout(c: &mut PgConnection, address: &str, reporter: &str) -> Result<()> {
    sqlx::query!(
        "insert into notice_optouts (address, reporter) values (lower($1), $2) on conflict do nothing",
        clean(address),
        clean(reporter)
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Takes an opt-out back. Returns whether there was one.
pub async fn optin(c: &mut PgConnection, address: &str, reporter: &str) -> Result<bool> {
    let done = sqlx::query!(
        "delete from notice_optouts where address = lower($1) and reporter = $2",
        clean(address),
        clean(reporter)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Those of these addresses, in small letters, that want nothing of this reporter.
pub async fn opted_out(c: &mut PgConnection, addresses: &[String], reporter: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "select distinct address from notice_optouts where address = any($1) and reporter in ('', $2)",
        addresses,
        reporter
    )
    .fetch_all(c)
    .await?)
}
