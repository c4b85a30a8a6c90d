//! join, leave, mute, unmute: where the bot is, and whether it speaks there.

use super::super::backend::{Backend, Membership};
use super::super::bot::{Answer, Asked, Bot, Complaint, Presence};
use super::super::message::{is_channel, is_target};
use super::super::settings::Hidden;
use super::super::text::{clean, shorten};
use super::words;

pub async fn join<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    let (name, key) = match words.as_slice() {
        [name] => (name, None),
        [name, key] => (name, Some(key.clone())),
        _ => return Err(Complaint::Usage("name one channel, and its key if it has one".to_owned())),
    };
    let name = channel(name)?;
    let mut place = bot.backend.place(&name).await?;
    place.membership = Some(Membership::Joined { key: key.clone() });
    bot.backend.set_place(&name, &place).await?;
    bot.presence.join(&name, key.map(Hidden));
    Ok(vec![format!("on my way to {name}")])
}

pub async fn leave<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let name = this_or(asked, "I can only leave channels; name one")?;
    let mut place = bot.backend.place(&name).await?;
    place.membership = Some(Membership::Left);
    bot.backend.set_place(&name, &place).await?;
    bot.presence.leave(&name);
    // Said there it would come too late.
    Ok(if name.eq_ignore_ascii_case(asked.place) { Vec::new() } else { vec![format!("I leave {name}")] })
}

pub async fn mute<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>, muted: bool) -> Answer {
    let name = this_or(asked, "I can only be silent in channels; name one")?;
    let mut place = bot.backend.place(&name).await?;
    let as_before = place.muted == muted;
    place.muted = muted;
    bot.backend.set_place(&name, &place).await?;
    let there = if name.eq_ignore_ascii_case(asked.place) { "here".to_owned() } else { format!("in {name}") };
    Ok(vec![match (muted, as_before) {
        (true, false) => format!("I am silent {there} until «unmute»"),
        (true, true) => format!("I am already silent {there}"),
        (false, false) => format!("I speak {there} again"),
        (false, true) => format!("I was not silent {there}"),
    }])
}

/// The channel that is named, or the one we are spoken to in.
fn this_or(asked: &Asked<'_>, otherwise: &str) -> Result<String, Complaint> {
    match words(asked)?.as_slice() {
        [] if asked.channel => Ok(asked.place.to_owned()),
        [] => Err(Complaint::Usage(otherwise.to_owned())),
        [name] => channel(name),
        _ => Err(Complaint::Usage("name one channel".to_owned())),
    }
}

fn channel(name: &str) -> Result<String, Complaint> {
    if is_channel(name) && is_target(name) {
        Ok(name.to_owned())
    } else {
        Err(Complaint::Usage(format!("«{}» is no name of a channel", shorten(&clean(name), 40))))
    }
}
