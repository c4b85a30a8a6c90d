//! Cancels what nobody waits for any more (D-18): of a build that was stopped,
//! was lost or is over, the builds that it waited for. What it started without
//! waiting goes on.
//!
//! A crash between two passes costs nothing: the trigger is `waiting` until its
//! build is over and each of its requests is complete or its build asked to stop.

use crate::builds::build_stop;
use crate::requests::requests_cancel;
use crate::{Result, error};
use sqlx::PgConnection;
use tidemill_model::{BuildId, RequestId, Results};

/// A trigger for which nobody waits.
#[derive(Clone, Debug)]
pub struct Forsaken {
    pub trigger: i64,
    /// Its build is final: nobody will wait again.
    pub over: bool,
    /// For people who look at what is cancelled.
    pub why: String,
}

/// What was cancelled.
#[derive(Clone, Debug, Default)]
pub struct LetGo {
    pub requests: Vec<RequestId>,
    /// Asked to stop.
    pub builds: Vec<BuildId>,
    /// A request changed hands meanwhile: look again.
    pub more: bool,
}

/// Triggers for which nobody waits, and of which something may be left; at most `limit`.
pub async fn triggers_forsaken(c: &mut PgConnection, limit: i64) -> Result<Vec<Forsaken>> {
    let rows = sqlx::query!(
        r#"select t.id, b.number, u.name, b.state = 'finished' as "over!", b.results, b.stop_reason
             from triggers t
            cross join lateral (select k.number, k.builder_id, k.state, k.results, k.stop_reason
                                  from builds k where k.id = t.build_id limit 1) b
             join builders u on u.id = b.builder_id
            where t.state = 'waiting' and (b.state = 'finished' or b.stop_reason is not null and not t.after_stop)
              and (b.state = 'finished' or exists (
                   select 1 from trigger_buildsets s join build_requests r on r.buildset_id = s.buildset_id
                    where s.trigger_id = t.id and r.complete_at is null
                      and not exists (select 1 from builds x where x.request_id = r.id
                                         and x.state <> 'finished' and x.stop_reason is not null)))
            order by t.id limit $1"#,
        limit
    )
    .fetch_all(c)
    .await?;
    let forsaken = rows.into_iter().map(|r| {
        let waiter = format!("{} #{}, which waited for it,", r.name, r.number);
        let why = match (r.results.and_then(|code| Results::try_from(code).ok()), r.stop_reason) {
            (Some(Results::Retry), _) => format!("{waiter} was lost"),
            (_, Some(reason)) if reason.is_empty() => format!("{waiter} was stopped"),
            (_, Some(reason)) => format!("{waiter} was stopped: {reason}"),
            (_, None) => format!("{waiter} is over"),
        };
        Forsaken { trigger: r.id, over: r.over, why }
    });
    Ok(forsaken.collect())
}

/// Cancels what is left of a trigger: what is pending at once, and what runs is
/// asked to stop. Nothing if another replica does so now.
pub async fn children_let_go(c: &mut PgConnection, forsaken: &Forsaken) -> Result<LetGo> {
    let mine = sqlx::query_scalar!(
        "select id from triggers where id = $1 and state = 'waiting' for update skip locked",
        forsaken.trigger
    );
    if mine.fetch_optional(&mut *c).await?.is_none() {
        return Ok(LetGo::default());
    }
    let open = sqlx::query!(
        r#"select r.id, b.id as "build?", b.stop_reason as "stop_reason?"
             from trigger_buildsets s
             join build_requests r on r.buildset_id = s.buildset_id
             left join builds b on b.request_id = r.id and b.state <> 'finished'
            where s.trigger_id = $1 and r.complete_at is null
            order by b.id"#,
        forsaken.trigger
    )
    .fetch_all(&mut *c)
    .await?;
    let mut done = LetGo::default();
    // Leases before buildsets, and in the order of their ids, as all who write builds lock them.
    for build in open.iter().filter(|o| o.stop_reason.is_none()).filter_map(|o| o.build.map(BuildId)) {
        if build_stop(c, build, &forsaken.why, Results::Cancelled).await? {
            done.builds.push(build);
        } else {
            done.more = true;
        }
    }
    let pending: Vec<RequestId> = open.iter().filter(|o| o.build.is_none()).map(|o| RequestId(o.id)).collect();
    if !pending.is_empty() {
        done.requests = requests_cancel(c, &pending, &forsaken.why).await?;
        done.more |= done.requests.len() < pending.len();
    }
    if forsaken.over && !done.more {
        let over =
            sqlx::query!("update triggers set state = 'over' where id = $1 and state = 'waiting'", forsaken.trigger);
        error::expect("triggers over", 1, over.execute(c).await?.rows_affected())?;
    }
    Ok(done)
}
