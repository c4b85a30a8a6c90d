//! Who speaks on an IRC network, and what its channels and nicks settled.
//!
//! One notifier holds a network for a time of the database's clock and renews
//! it; what it settles with people is kept for whoever holds it next.

use crate::Result;
use crate::beats::interval;
use crate::changes::clean;
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;

/// Takes a network that nobody holds, or whose holder's time is past. Returns whether it is ours.
pub async fn network_claim(c: &mut PgConnection, network: &str, holder: &str, term: Duration) -> Result<bool> {
    let done = sqlx::query!(
        "insert into notifier_leases as l (network, holder, held_until) values ($1, $2, tidemill_now() + $3)
         on conflict (network) do update set holder = excluded.holder, held_until = excluded.held_until
          where l.holder = excluded.holder or l.held_until < tidemill_now()",
        clean(network),
        holder,
        interval(term)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Goes on holding it. False: somebody else does.
pub async fn network_renew(c: &mut PgConnection, network: &str, holder: &str, term: Duration) -> Result<bool> {
    let done = sqlx::query!(
        "update notifier_leases set held_until = greatest(held_until, tidemill_now() + $3)
          where network = $1 and holder = $2",
        clean(network),
        holder,
        interval(term)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Lets it go, for whoever comes first.
pub async fn network_release(c: &mut PgConnection, network: &str, holder: &str) -> Result<()> {
    sqlx::query!("delete from notifier_leases where network = $1 and holder = $2", clean(network), holder)
        .execute(c)
        .await?;
    Ok(())
}

/// What people see of a network: that it takes what comes, or why not. Only its holder says so.
pub async fn network_state(c: &mut PgConnection, network: &str, why: Option<&str>) -> Result<()> {
    match why {
        None => {
            sqlx::query!(
                "update destinations set failures = 0, not_before = null
                  where kind = 'irc' and name = $1 and (failures > 0 or not_before is not null)",
                clean(network)
            )
            .execute(c)
            .await?
        }
        Some(why) => {
            let why: String = clean(why).split(['\r', '\n']).collect::<Vec<_>>().join(" ").chars().take(1000).collect();
            sqlx::query!(
                "insert into destinations as d (kind, name, failures, error, failed_at)
                 values ('irc', $1, 1, $2, tidemill_now())
                 on conflict (kind, name) do update
                    set failures = d.failures + 1, error = excluded.error, failed_at = excluded.failed_at",
                clean(network),
                why
            )
            .execute(c)
            .await?
        }
    };
    Ok(())
}

/// Parks what waits for networks that the active revision does not name: nobody would ever say it.
/// Nothing, if another revision is active than the caller knows. Returns how many.
pub async fn networks_orphaned(c: &mut PgConnection, revision: i64, networks: &[String]) -> Result<u64> {
    Ok(sqlx::query!(
        "update deliveries d
            set state = 'parked', ended_at = tidemill_now(),
                answer = 'the active configuration has no IRC reporter of this name'
           from destinations n
          where n.id = d.destination_id and n.kind = 'irc' and n.name <> all($2) and d.state = 'due'
            and exists (select from active_revision a where a.revision_id = $1)",
        revision,
        networks
    )
    .execute(c)
    .await?
    .rows_affected())
}

/// A channel or nick with what was settled there.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceRow {
    pub network: String,
    /// Folded.
    pub place: String,
    /// None: as the project file says.
    pub settled: Option<Value>,
    /// Builds of whose end it is told.
    pub watched: Vec<i64>,
}

/// Everything of these networks.
pub async fn places(c: &mut PgConnection, networks: &[String]) -> Result<Vec<PlaceRow>> {
    Ok(sqlx::query_as!(
        PlaceRow,
        "select network, place, settled, watched from irc_places where network = any($1)",
        networks
    )
    .fetch_all(c)
    .await?)
}

/// What was settled in one.
pub async fn place(c: &mut PgConnection, network: &str, place: &str) -> Result<Option<Value>> {
    let row = sqlx::query_scalar!(
        "select settled from irc_places where network = $1 and place = $2",
        clean(network),
        clean(place)
    )
    .fetch_optional(c)
    .await?;
    Ok(row.flatten())
}

/// Most places of a network that settle something: who plans reads all of them, and anybody may come
/// under any nick.
pub const PLACES_MAX: i64 = 2000;

/// Whether this place may settle something: it has before, or there is room for it.
pub async fn place_room(c: &mut PgConnection, network: &str, place: &str) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from irc_places where network = $1 and place = $2)
                  or (select count(*) from irc_places where network = $1) < $3 as "room!""#,
        clean(network),
        clean(place),
        PLACES_MAX
    )
    .fetch_one(c)
    .await?)
}

/// Keeps it. False: somebody else holds the network, and this was said to nobody.
pub async fn place_set(
    c: &mut PgConnection,
    network: &str,
    holder: &str,
    place: &str,
    settled: &Value,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into irc_places (network, place, settled)
         select $1, $3, $4 from notifier_leases where network = $1 and holder = $2
         on conflict (network, place) do update set settled = excluded.settled",
        clean(network),
        holder,
        clean(place),
        crate::changes::clean_json(settled)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Tells a place of the end of a builder's running builds; their numbers. Nobody plans meanwhile: a
/// build that ends now is planned by who sees this.
pub async fn place_watch(c: &mut PgConnection, network: &str, place: &str, builder: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar!("select name from event_readers where name = $1 for update", super::plan::READER)
        .fetch_optional(&mut *c)
        .await?;
    let running = sqlx::query!(
        "select b.id, b.number from leases l join builds b on b.id = l.build_id
          where b.builder_id = $1 and b.state <> 'finished' order by b.number limit 100",
        builder
    )
    .fetch_all(&mut *c)
    .await?;
    let ids: Vec<i64> = running.iter().map(|r| r.id).collect();
    if !ids.is_empty() {
        sqlx::query!(
            "insert into irc_places as p (network, place, watched) values ($1, $2, $3)
             on conflict (network, place) do update
                set watched = array(select distinct x from unnest(p.watched || excluded.watched) x order by 1)",
            clean(network),
            clean(place),
            &ids
        )
        .execute(c)
        .await?;
    }
    Ok(running.into_iter().map(|r| r.number).collect())
}

/// They have ended, and those who watched them are told.
pub async fn places_told(c: &mut PgConnection, networks: &[String], builds: &[i64]) -> Result<()> {
    sqlx::query!(
        "update irc_places set watched = array(select x from unnest(watched) x where x <> all($2))
          where network = any($1) and watched && $2",
        networks,
        builds
    )
    .execute(c)
    .await?;
    Ok(())
}
