//! force and stop: they change what is built.

use super::super::args::{parse, properties};
use super::super::backend::{Backend, Force};
use super::super::bot::{Answer, Asked, Bot, Complaint, Presence};
use super::super::text::clean;

pub async fn force<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let known = ["branch", "revision", "codebase", "project", "props"];
    let mut args = parse(after_build(asked)?, &known, 1).map_err(Complaint::Usage)?;
    if args.words.is_empty() {
        return Err(Complaint::Usage("name the builder".to_owned()));
    }
    let builder = args.words.remove(0);
    let props = args.options.remove("props").unwrap_or_default();
    let properties = properties(&props).map_err(Complaint::Usage)?;
    let reason = clean(&args.words.join(" "));
    let reason = if reason.is_empty() { "forced on IRC".to_owned() } else { reason };
    let mut option = |name: &str| args.options.remove(name).filter(|v| !v.is_empty());
    let force = Force {
        builder,
        branch: option("branch"),
        revision: option("revision"),
        codebase: option("codebase"),
        project: option("project"),
        properties,
        reason,
        who: asked.who(),
    };
    let made = bot.backend.force(&force).await?;
    Ok(vec![format!("asked for a build of {}: {}", clean(&force.builder), clean(&made))])
}

pub async fn stop<B: Backend, P: Presence>(bot: &Bot<B, P>, asked: &Asked<'_>) -> Answer {
    let mut args = parse(after_build(asked)?, &[], 1).map_err(Complaint::Usage)?;
    if args.words.is_empty() {
        return Err(Complaint::Usage("name the builder".to_owned()));
    }
    let builder = args.words.remove(0);
    let reason = clean(&args.words.join(" "));
    let reason = if reason.is_empty() { "stopped on IRC".to_owned() } else { reason };
    let stopped = bot.backend.stop(&builder, &reason, &asked.who()).await?;
    let builder = clean(&builder);
    let numbers: Vec<String> = stopped.iter().map(|n| format!("#{n}")).collect();
    Ok(vec![match numbers.as_slice() {
        [] => format!("{builder} builds nothing just now"),
        [one] => format!("build {one} of {builder} is told to stop"),
        many => format!("builds {} of {builder} are told to stop", many.join(", ")),
    }])
}

/// What follows the word `build`.
fn after_build<'a>(asked: &Asked<'a>) -> Result<&'a str, Complaint> {
    let (word, rest) = asked.rest.split_once(char::is_whitespace).unwrap_or((asked.rest, ""));
    if word.eq_ignore_ascii_case("build") {
        Ok(rest)
    } else {
        Err(Complaint::Usage("the word «build» comes first".to_owned()))
    }
}
