//! What a delivery said becomes rows: all of it in one transaction, once, with
//! the answer that was given (A12).

use super::{Said, as_one, branch_key};
use crate::app::App;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_lang::definition::Outsiders;
use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::hooks::{Begun, Delivery, NewHeld, change_hold, delivery_answer, delivery_begin, held_supersede};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};

/// Accepted, or nothing of it was of use: the answer of WH-09.
const ACCEPTED: u16 = 202;

/// What is to be stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub changes: Vec<NewChange>,
    /// By pull request; they wait for an approval.
    pub held: Vec<(String, NewChange)>,
    /// Pull requests of which nothing waits any more.
    pub over: Vec<String>,
    /// Why there is less than was sent.
    pub notes: Vec<String>,
}

/// Decides what becomes of what was said.
pub fn plan(said: Said, outsiders: Outsiders, proven: bool) -> Plan {
    let mut plan = Plan::default();
    // Who proves nothing takes the place of nothing that waits.
    let named = |key: String| if proven { key } else { format!("{key} (unproven)") };
    match said {
        Said::Ignored(why) => plan.notes.push(why),
        Said::Pull { key, change } => {
            let key = named(key);
            match change {
                None => plan.notes.push(format!("{key} was closed")),
                Some(change) => plan.sort(*change, &key, outsiders),
            }
            // Who proves nothing ends nothing that waits.
            if proven && plan.held.is_empty() {
                plan.over.push(key);
            }
        }
        Said::Changes(changes) => {
            let mut outside: BTreeMap<String, Vec<NewChange>> = BTreeMap::new();
            for change in changes {
                match change.outsider {
                    None => plan.changes.push(change),
                    Some(_) => outside.entry(named(branch_key(&change))).or_default().push(change),
                }
            }
            for (key, changes) in outside {
                match outsiders {
                    Outsiders::Build => plan.changes.extend(changes.into_iter().map(marked)),
                    // Approved as a whole, by the newest revision.
                    _ => as_one(changes).into_iter().for_each(|change| plan.sort(change, &key, outsiders)),
                }
            }
        }
    }
    plan
}

impl Plan {
    fn sort(&mut self, change: NewChange, key: &str, outsiders: Outsiders) {
        match (&change.outsider, outsiders) {
            (None, _) => self.changes.push(change),
            (Some(_), Outsiders::Build) => self.changes.push(marked(change)),
            (Some(why), Outsiders::Ignore) => self.notes.push(format!("{key} is an outsider's: {why}")),
            (Some(why), Outsiders::Approve) if change.revision.is_none() => {
                self.notes.push(format!("{key} is an outsider's and names no revision that could be approved: {why}"));
            }
            (Some(_), Outsiders::Approve) => self.held.push((key.to_owned(), marked(change))),
        }
    }

    /// What people and forges are told.
    fn detail(&self) -> String {
        let mut parts = vec![];
        match self.changes.len() {
            0 => {}
            1 => parts.push("1 change".to_owned()),
            n => parts.push(format!("{n} changes")),
        }
        for (key, change) in &self.held {
            let revision = change.revision.as_deref().unwrap_or_default();
            parts.push(format!("{key} waits for an approval of {revision}"));
        }
        if self.changes.is_empty() && self.held.is_empty() {
            parts.push("no change found".to_owned());
        }
        parts.extend(self.notes.iter().cloned());
        parts.join("; ")
    }
}

/// For filters of schedulers: a change of an outsider says so.
fn marked(mut change: NewChange) -> NewChange {
    change.properties.set("outsider", true, "Change");
    change
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Answer(u16, Value),
    /// The id was used for another body.
    OtherBody,
}

/// Commits, and wakes who has to look. Without a delivery's id there is nothing
/// to find it again by.
pub async fn store(app: &App, dialect: &str, delivery: Option<&Delivery>, plan: &Plan) -> Result<Stored, Error> {
    let stored = run_tx!(app.people, "hook", |c| write(c, dialect, delivery, plan).await)?;
    if let Some(Written { fresh: true, .. }) = &stored {
        if !plan.changes.is_empty() {
            app.wakes.send(Wake::Changes);
        }
        app.wakes.send(Wake::Events);
    }
    Ok(stored.map_or(Stored::OtherBody, |w| Stored::Answer(w.status, w.answer)))
}

struct Written {
    status: u16,
    answer: Value,
    fresh: bool,
}

async fn write(
    c: &mut PgConnection,
    dialect: &str,
    delivery: Option<&Delivery>,
    plan: &Plan,
) -> Result<Option<Written>, Error> {
    let row = match delivery {
        None => None,
        Some(delivery) => match delivery_begin(c, delivery).await? {
            Begun::New(row) => Some(row),
            Begun::Again { status, answer } => return Ok(Some(Written { status, answer, fresh: false })),
            Begun::Other => return Ok(None),
        },
    };
    for key in &plan.over {
        held_supersede(c, dialect, key).await?;
    }
    let ids: Vec<i64> = changes_insert(c, &plan.changes, None).await?.iter().map(|id| id.0).collect();
    let mut held = Vec::with_capacity(plan.held.len());
    for (key, change) in &plan.held {
        let why = change.outsider.clone().unwrap_or_default();
        let new = NewHeld { dialect: dialect.to_owned(), pull: key.clone(), change: change.clone(), why };
        held.push(change_hold(c, row, &new).await?);
    }
    let answer = json!({ "changes": ids.len(), "changeids": ids, "held": held, "detail": plan.detail() });
    if let Some(row) = row {
        delivery_answer(c, row, ACCEPTED, &answer).await?;
    }
    Ok(Some(Written { status: ACCEPTED, answer, fresh: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: Option<&str>, outsider: bool) -> NewChange {
        NewChange {
            revision: revision.map(str::to_owned),
            branch: Some("b".into()),
            outsider: outsider.then(|| "why".to_owned()),
            ..NewChange::default()
        }
    }

    fn pull(change: Option<NewChange>) -> Said {
        Said::Pull { key: "o/r#1".into(), change: change.map(Box::new) }
    }

    #[test]
    fn an_outsiders_change_waits_is_built_or_is_left_alone_as_the_project_says() {
        let of = |outsiders| plan(pull(Some(change(Some("r1"), true))), outsiders, true);
        let held = of(Outsiders::Approve);
        assert_eq!((held.changes.len(), held.held.len(), held.over.len()), (0, 1, 0));
        assert!(held.detail().contains("o/r#1 waits for an approval of r1"), "{}", held.detail());
        let built = of(Outsiders::Build);
        assert_eq!(built.changes[0].properties.get("outsider"), Some(&json!(true)));
        assert!(built.held.is_empty());
        let ignored = of(Outsiders::Ignore);
        assert_eq!((ignored.changes.len(), ignored.held.len()), (0, 0));
        assert!(ignored.detail().starts_with("no change found"), "{}", ignored.detail());
        let nameless = plan(pull(Some(change(None, true))), Outsiders::Approve, true);
        assert!(nameless.held.is_empty() && nameless.detail().contains("names no revision"));
    }

    #[test]
    fn what_waited_is_over_when_the_pull_request_closes_or_becomes_trusted_but_never_without_proof() {
        let closed = plan(pull(None), Outsiders::Approve, true);
        assert_eq!(closed.over, ["o/r#1"]);
        assert_eq!(closed.detail(), "no change found; o/r#1 was closed");
        assert_eq!(plan(pull(Some(change(Some("r"), false))), Outsiders::Approve, true).over, ["o/r#1"]);
        assert!(plan(pull(None), Outsiders::Approve, false).over.is_empty());
        let unproven = plan(pull(Some(change(Some("r"), true))), Outsiders::Approve, false);
        assert_ne!(unproven.held[0].0, "o/r#1", "what waits of the pull request itself stays");
    }

    #[test]
    fn a_push_that_proves_nothing_waits_as_a_whole() {
        let said = Said::Changes(vec![change(Some("r1"), true), change(Some("r2"), true), change(Some("r3"), false)]);
        let p = plan(said, Outsiders::Approve, false);
        assert_eq!(p.changes.len(), 1);
        assert_eq!(p.held.len(), 1);
        assert_eq!(p.held[0].1.revision.as_deref(), Some("r2"));
    }
}
