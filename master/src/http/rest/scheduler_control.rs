//! What people may do to schedulers, by REST or by a form on a page: each
//! commits first, and then wakes who has to look.

use super::answer::missing;
use crate::app::App;
use crate::http::ApiError;
use crate::schedulers::summary::runnable;
use tidemill_lang::definition::SchedulerDef;
use tidemill_model::problem::kinds;
use tidemill_schema::scheduler_controls::{scheduler_ask, scheduler_enable, scheduler_lock};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};

/// Enables or disables. Whether it was not so already.
pub async fn enable(app: &App, id: i64, enabled: bool, by: &str) -> Result<bool, ApiError> {
    let changed = run_tx!(app.people, "scheduler.enable", |c| {
        match scheduler_lock(c, id).await? {
            Some(_) => scheduler_enable(c, id, enabled, by).await.map(Some),
            None => Ok::<_, Error>(None),
        }
    })?;
    let changed = changed.ok_or_else(|| missing("scheduler", id))?;
    wake(app);
    Ok(changed)
}

/// Asks it to run now, with what it has.
pub async fn run(app: &App, id: i64, by: &str) -> Result<(), ApiError> {
    let asked = run_tx!(app.people, "scheduler.run", |c| ask(c, id, by).await)?;
    match asked {
        None => Err(missing("scheduler", id)),
        Some(Err(why)) => Err(ApiError::conflict(kinds::CONFLICT, why)),
        Some(Ok(())) => {
            wake(app);
            Ok(())
        }
    }
}

/// Under the lock of its row, so that what was to be run is still there.
async fn ask(c: &mut sqlx::PgConnection, id: i64, by: &str) -> Result<Option<Result<(), String>>, Error> {
    let Some(found) = scheduler_lock(c, id).await? else { return Ok(None) };
    let name = &found.name;
    let definition: Result<SchedulerDef, _> = serde_json::from_value(found.definition);
    let may = match definition {
        _ if !found.active => Err(format!("the active revision has no scheduler `{name}`")),
        _ if !found.enabled => Err(format!("scheduler `{name}` is disabled: enable it first")),
        Err(_) => Err(format!("this release cannot read the definition of scheduler `{name}`")),
        Ok(def) => runnable(&def, &found.state).map_err(|why| format!("scheduler `{name}` cannot be run now: {why}")),
    };
    if may.is_ok() {
        scheduler_ask(c, id, by).await?;
    }
    Ok(Some(may))
}

fn wake(app: &App) {
    app.wakes.send(Wake::Changes);
    app.wakes.send(Wake::Events);
}
