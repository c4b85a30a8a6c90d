//! list, workers, commits.

use super::super::backend::{Backend, Commit};
use super::super::bot::{Answer, Asked, Bot, Complaint, Presence};
use super::super::events::lasted;
use super::super::text::{clean, shorten};
use super::{count, words};

/// Names in one answer.
const NAMES: usize = 100;
/// Changes shown if no number is given.
const COMMITS: usize = 5;

pub async fn list<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    match words.first().map(String::as_str).unwrap_or("builders") {
        "builders" => builders(bot).await,
        "workers" => workers(bot).await,
        "changes" => {
            let count = words.get(1).and_then(|w| count(w)).unwrap_or(COMMITS);
            told(bot.backend.commits(None, count).await?)
        }
        other => Err(Complaint::Usage(format!("I cannot list «{}»", shorten(&clean(other), 30)))),
    }
}

async fn builders<B: Backend, P: Presence>(bot: &Bot<B, P>) -> Answer {
    let builders = bot.backend.builders(&bot.settings.tags).await?;
    if builders.is_empty() {
        return Ok(vec!["there are no builders".to_owned()]);
    }
    let names = builders.iter().map(|b| {
        let mut notes = Vec::new();
        if b.offline {
            notes.push("offline".to_owned());
        }
        if b.running > 0 {
            notes.push(format!("{} running", b.running));
        }
        if b.waiting > 0 {
            notes.push(format!("{} waiting", b.waiting));
        }
        noted(&b.name, &notes)
    });
    Ok(vec![format!("builders: {}", joined(names.collect()))])
}

pub async fn workers<B: Backend, P: Presence>(bot: &Bot<B, P>) -> Answer {
    let workers = bot.backend.workers().await?;
    if workers.is_empty() {
        return Ok(vec!["there are no workers".to_owned()]);
    }
    let names = workers.iter().map(|w| {
        let mut notes = Vec::new();
        if !w.connected {
            notes.push("offline".to_owned());
        }
        if w.paused {
            notes.push("paused".to_owned());
        }
        noted(&w.name, &notes)
    });
    Ok(vec![format!("workers: {}", joined(names.collect()))])
}

pub async fn commits<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    let (builder, number) = match words.as_slice() {
        [] => (None, None),
        [one] => match count(one) {
            Some(n) => (None, Some(n)),
            None => (Some(one.as_str()), None),
        },
        [builder, number] => match count(number) {
            Some(n) => (Some(builder.as_str()), Some(n)),
            None => return Err(Complaint::Usage(format!("«{}» is no number", shorten(&clean(number), 30)))),
        },
        _ => return Err(Complaint::Usage("too many words; a name with spaces stands in quotes".to_owned())),
    };
    told(bot.backend.commits(builder, number.unwrap_or(COMMITS)).await?)
}

/// One line a change, whatever its author wrote.
fn told(commits: Vec<Commit>) -> Answer {
    if commits.is_empty() {
        return Ok(vec!["there are no changes".to_owned()]);
    }
    Ok(commits
        .iter()
        .map(|c| {
            let revision = c.revision.as_deref().map(clean).unwrap_or_default();
            let revision = revision.chars().take(12).collect::<String>();
            let branch = c.branch.as_deref().map(|b| format!(" on {}", shorten(&clean(b), 60))).unwrap_or_default();
            let comments = shorten(&clean(&c.comments), 200);
            let author = shorten(&clean(&c.author), 60);
            format!("{revision}{branch} by {author}, {} ago: {comments}", lasted(c.ago)).trim_start().to_owned()
        })
        .collect())
}

fn noted(name: &str, notes: &[String]) -> String {
    let name = clean(name);
    if notes.is_empty() { name } else { format!("{name} ({})", notes.join(", ")) }
}

fn joined(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}
