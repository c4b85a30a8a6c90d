//! status, last, watch: what becomes of builds.

use super::super::backend::{Backend, Finished, Status};
use super::super::bot::{Answer, Asked, Bot, Complaint, LINES, Presence};
use super::super::events::{colour, lasted};
use super::super::text::{clean, paint, shorten};
use super::{count, words};

pub async fn status<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    match words(asked)?.as_slice() {
        [] => summary(bot).await,
        [all] if all == "all" => every(bot).await,
        [builder] => Ok(told(&bot.backend.status(builder).await?, bot.settings.colours)),
        _ => Err(Complaint::Usage("one builder at a time; a name with spaces stands in quotes".to_owned())),
    }
}

/// Counts, and who is busy.
async fn summary<B: Backend, P: Presence>(bot: &Bot<B, P>) -> Answer {
    let builders = bot.backend.builders(&bot.settings.tags).await?;
    let sum = |of: fn(&super::super::backend::Builder) -> usize| builders.iter().map(of).sum::<usize>();
    let offline = builders.iter().filter(|b| b.offline).count();
    let offline = if offline > 0 { format!(" ({offline} offline)") } else { String::new() };
    let mut lines = vec![format!(
        "{} builders{offline}, {} builds running, {} requests waiting",
        builders.len(),
        sum(|b| b.running),
        sum(|b| b.waiting)
    )];
    let busy: Vec<String> = builders.iter().filter(|b| b.running > 0).take(30).map(|b| clean(&b.name)).collect();
    if !busy.is_empty() {
        lines.push(format!("busy: {}", busy.join(", ")));
    }
    Ok(lines)
}

/// A line a builder that is busy, waited for or offline.
async fn every<B: Backend, P: Presence>(bot: &Bot<B, P>) -> Answer {
    let builders = bot.backend.builders(&bot.settings.tags).await?;
    let mut lines = Vec::new();
    // The rest would not be shown.
    for builder in builders.iter().filter(|b| b.offline || b.running + b.waiting > 0).take(LINES) {
        lines.extend(told(&bot.backend.status(&builder.name).await?, bot.settings.colours).into_iter().next());
    }
    let idle = builders.iter().filter(|b| !b.offline && b.running + b.waiting == 0).count();
    if idle > 0 {
        lines.insert(0, format!("{idle} of {} builders are idle", builders.len()));
    }
    if lines.is_empty() {
        lines.push("there are no builders".to_owned());
    }
    Ok(lines)
}

fn told(status: &Status, colours: bool) -> Vec<String> {
    let mut parts = Vec::new();
    if status.offline {
        parts.push("offline".to_owned());
    }
    parts.push(match status.running.len() {
        0 => "idle".to_owned(),
        n => format!("{n} running"),
    });
    if status.waiting > 0 {
        parts.push(format!("{} waiting", status.waiting));
    }
    if let Some(last) = &status.last {
        parts.push(format!("last build {}", finished(last, colours)));
    }
    let mut lines = vec![format!("{}: {}", clean(&status.builder), parts.join(", "))];
    lines.extend(status.running.iter().map(|r| {
        let step = r.step.as_deref().map(|s| format!(", in {}", shorten(&clean(s), 60))).unwrap_or_default();
        let url = r.url.as_deref().map(|u| format!(" | {}", clean(u))).unwrap_or_default();
        format!("build #{} runs since {}{step}{url}", r.number, lasted(r.since))
    }));
    lines
}

fn finished(build: &Finished, colours: bool) -> String {
    let result = paint(build.results.name(), colour(build.results), colours);
    let state = shorten(&clean(&build.state), 100);
    let state = if build.results.is_good() || state.is_empty() { String::new() } else { format!(" ({state})") };
    let url = build.url.as_deref().map(|u| format!(" | {}", clean(u))).unwrap_or_default();
    format!("#{} {result}{state} {} ago{url}", build.number, lasted(build.ago))
}

pub async fn last<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    let builder = words.first().map(String::as_str).unwrap_or("all");
    let number = match words.get(1) {
        None => 1,
        Some(word) => {
            count(word).ok_or_else(|| Complaint::Usage("the second word is a number of builds".to_owned()))?
        }
    };
    let names = match builder {
        "all" => bot.backend.builders(&bot.settings.tags).await?.into_iter().map(|b| b.name).take(LINES).collect(),
        one => vec![one.to_owned()],
    };
    let mut lines = Vec::new();
    for name in names {
        let builds = bot.backend.last(&name, number).await?;
        if builds.is_empty() {
            lines.push(format!("{}: no build has finished", clean(&name)));
        }
        lines.extend(builds.iter().map(|b| format!("{}: {}", clean(&name), finished(b, bot.settings.colours))));
    }
    if lines.is_empty() {
        lines.push("there are no builders".to_owned());
    }
    Ok(lines)
}

pub async fn watch<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let words = words(asked)?;
    let [builder] = words.as_slice() else {
        return Err(Complaint::Usage("name one builder".to_owned()));
    };
    let numbers = bot.backend.watch(builder, asked.place).await?;
    let builder = clean(builder);
    Ok(vec![match numbers.as_slice() {
        [] => format!("{builder} builds nothing just now"),
        [one] => format!("I shall tell when build #{one} of {builder} ends"),
        many => {
            let many: Vec<String> = many.iter().map(|n| format!("#{n}")).collect();
            format!("I shall tell when builds {} of {builder} end", many.join(", "))
        }
    }])
}
