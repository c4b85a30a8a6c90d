//! notify: which events a channel or a person hears.

use super::super::backend::{Backend, Place};
use super::super::bot::{Answer, Asked, Bot, Complaint, Presence};
use super::super::events::NotifyEvent;
use super::words;
use std::collections::BTreeSet;

pub async fn notify<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    let (what, events) = words.split_first().ok_or_else(|| Complaint::Usage("on, off or list?".to_owned()))?;
    let events: BTreeSet<NotifyEvent> = events
        .iter()
        .map(|w| w.parse())
        .collect::<Result<_, _>>()
        .map_err(|e: super::super::events::NoEvent| Complaint::Usage(e.to_string()))?;
    let mut place = bot.backend.place(asked.place).await?;
    match what.as_str() {
        "list" => return Ok(vec![told(&place)]),
        "on" if events.is_empty() => place.events.extend(usual(bot)),
        "on" => place.events.extend(events),
        "off" if events.is_empty() => place.events.clear(),
        "off" => place.events.retain(|e| !events.contains(e)),
        _ => return Err(Complaint::Usage("on, off or list?".to_owned())),
    }
    bot.backend.set_place(asked.place, &place).await?;
    Ok(vec![told(&place)])
}

/// As configured; else what a channel most often wants to hear.
fn usual<B, P>(bot: &Bot<B, P>) -> BTreeSet<NotifyEvent> {
    let configured = &bot.settings.notify_events;
    if configured.is_empty() {
        BTreeSet::from([NotifyEvent::Started, NotifyEvent::Finished])
    } else {
        configured.clone()
    }
}

fn told(place: &Place) -> String {
    if place.events.is_empty() {
        return "nothing is told here".to_owned();
    }
    let names: Vec<String> = place.events.iter().map(ToString::to_string).collect();
    format!("told here: {}", names.join(", "))
}
