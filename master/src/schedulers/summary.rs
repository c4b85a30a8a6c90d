//! What a scheduler is doing, in words, for pages, the API and the command line.

use super::cron::words;
use super::{any_branch, nightly_triggerable, single_branch, timed};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidemill_lang::definition::{SchedulerDef, SchedulerKind, TimedDef};

/// What its definition and state say; an unknown state says nothing.
pub fn summary(def: &SchedulerDef, state: &Value) -> String {
    match &def.kind {
        SchedulerKind::SingleBranch { tree_stable_us, .. } => {
            let state: single_branch::State = read(state);
            tree_stable(*tree_stable_us, state.collected.count(), state.fires_at_us.is_some(), 1)
        }
        SchedulerKind::AnyBranch { tree_stable_us, .. } => {
            let state: any_branch::State = read(state);
            let waits = || state.branches.values();
            let runs = waits().any(|b| b.fires_at_us.is_some());
            tree_stable(*tree_stable_us, waits().map(|b| b.collected.count()).sum(), runs, state.branches.len())
        }
        SchedulerKind::Dependent { upstream } => format!("after buildsets of {upstream} that end well"),
        SchedulerKind::Periodic { interval_us, timed } => {
            let every = humantime(*interval_us);
            format!("every {every}{}", changed(timed, &read(state)))
        }
        SchedulerKind::Nightly(nightly) => {
            let force = nightly.force_at.as_ref();
            let force = force.map(|at| format!(", also without a change at {}", words(at))).unwrap_or_default();
            format!("at {}{force}{}", words(&nightly.at), changed(&nightly.timed, &read(state)))
        }
        SchedulerKind::NightlyTriggerable { at } => {
            let one = read::<nightly_triggerable::State>(state).latest.is_some();
            format!("the latest trigger at {}{}", words(at), if one { "; one waits for that" } else { "" })
        }
        SchedulerKind::Triggerable => "when a Trigger step says so".into(),
        SchedulerKind::Force(_) => "when somebody says so".into(),
        SchedulerKind::Custom(_) => "a rule of the project".into(),
        SchedulerKind::Declared(_) => "accepted, and not run by this release".into(),
    }
}

/// Whether «run now» has something to do, and if not, what to tell.
pub fn runnable(def: &SchedulerDef, state: &Value) -> Result<(), &'static str> {
    let collected = match &def.kind {
        SchedulerKind::SingleBranch { .. } => read::<single_branch::State>(state).collected.count(),
        SchedulerKind::AnyBranch { .. } => read::<any_branch::State>(state).branches.len() as u64,
        SchedulerKind::Periodic { .. } | SchedulerKind::Nightly(_) => 1,
        SchedulerKind::Dependent { .. } => {
            return Err("it builds what its upstream built: rebuild or force what you want instead");
        }
        SchedulerKind::Triggerable | SchedulerKind::NightlyTriggerable { .. } => {
            return Err("it is set off by a Trigger step");
        }
        SchedulerKind::Force(_) => return Err("it is set off by its form: force a build instead"),
        SchedulerKind::Custom(_) => return Err("its rule decides when it runs"),
        SchedulerKind::Declared(_) => return Err("this release does not run it"),
    };
    if collected == 0 { Err("no change waits for its timer: force a build instead") } else { Ok(()) }
}

fn tree_stable(tree_stable_us: Option<u64>, waiting: u64, runs: bool, branches: usize) -> String {
    let Some(us) = tree_stable_us else { return "at once for each important change".into() };
    let stable = format!("when {} passed without a change", humantime(us));
    let on = if branches > 1 { format!(" on {branches} branches") } else { String::new() };
    match (waiting, runs) {
        (0, _) => stable,
        (1, true) => format!("{stable}; 1 change waits for that"),
        (n, true) => format!("{stable}; {n} changes{on} wait for that"),
        (n, false) => format!("{stable}; {n} unimportant{on} so far"),
    }
}

fn changed(def: &TimedDef, state: &timed::State) -> String {
    if !def.only_if_changed {
        return String::new();
    }
    let so_far = match (state.baseline, state.important, state.collected.count()) {
        (false, ..) => "not built yet".to_owned(),
        (_, true, n) => format!("{n} since the last build"),
        (_, _, 0) => "none since the last build".to_owned(),
        (_, _, n) => format!("{n} since the last build, none important"),
    };
    format!(", if there was a change: {so_far}")
}

fn read<T: DeserializeOwned + Default>(state: &Value) -> T {
    T::deserialize(state).unwrap_or_default()
}

/// `1 h 30 min`, `2.5 s`.
fn humantime(us: u64) -> String {
    let whole = us / 1_000_000;
    if whole < 60 || !us.is_multiple_of(1_000_000) {
        return format!("{} s", us as f64 / 1e6);
    }
    let parts = [(whole / 86_400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "min"), (whole % 60, "s")];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_said_shortly() {
        let said = [500_000, 60_000_000, 90_000_000, 3_600_000_000, 90_061_000_000].map(humantime);
        assert_eq!(said, ["0.5 s", "1 min", "1 min 30 s", "1 h", "1 d 1 h 1 min 1 s"]);
    }

    #[test]
    fn what_waits_is_counted() {
        let def = |kind: Value| -> SchedulerDef {
            serde_json::from_value(json!({ "name": "s", "kind": kind, "builder_names": [] })).unwrap()
        };
        let any = def(json!({ "any_branch": { "tree_stable_us": 60_000_000, "only_important": false } }));
        let state = json!({ "branches": {
            "a": { "collected": [1, 2], "fires_at_us": 5 }, "b": { "collected": [3], "left_out": 4 } } });
        assert_eq!(summary(&any, &state), "when 1 min passed without a change; 7 changes on 2 branches wait for that");
        assert_eq!(runnable(&any, &state), Ok(()));
        assert_eq!(summary(&any, &json!({})), "when 1 min passed without a change");
        assert!(runnable(&any, &json!({})).is_err());
        let nightly = def(json!({ "nightly": {
            "at": { "minute": "0", "hour": "3", "day_of_month": "*", "month": "*", "day_of_week": "*", "timezone": "UTC" },
            "timed": { "only_if_changed": true } } }));
        assert_eq!(
            summary(&nightly, &json!({ "baseline": true, "collected": [9] })),
            "at 0 3 * * * (UTC), if there was a change: 1 since the last build, none important"
        );
        assert_eq!(runnable(&nightly, &json!("of another release")), Ok(()));
    }
}
