//! hello, help, commands, version, source, shutdown: what needs no builds.

use super::super::backend::Backend;
use super::super::bot::{Answer, Asked, Bot, Complaint, Presence};
use super::super::text::{clean, shorten};
use super::{COMMANDS, find};

pub fn hello(asked: &Asked<'_>) -> Vec<String> {
    vec![format!("hello, {}; «commands» lists what I can do", clean(&asked.speaker.nick))]
}

pub fn commands() -> Vec<String> {
    let names: Vec<&str> = COMMANDS.iter().map(|e| e.name).collect();
    vec![format!("I know: {}; «help COMMAND» explains one", names.join(", "))]
}

pub fn help(asked: &Asked<'_>) -> Answer {
    let name = asked.rest.to_lowercase();
    if name.is_empty() {
        let to = if asked.channel { format!("{}: ", asked.me) } else { String::new() };
        return Ok(vec![format!("say «{to}COMMAND»; «commands» lists them, «help COMMAND» explains one")]);
    }
    // The first word: «help force build» is about force.
    let name = name.split_whitespace().next().unwrap_or_default();
    match find(name) {
        Some(e) => Ok(vec![format!("{} | {}", e.usage, e.about)]),
        None => Err(Complaint::Usage(format!("there is no command «{}»", shorten(&clean(name), 30)))),
    }
}

pub async fn version<B: Backend, P: Presence>(bot: &Bot<B, P>) -> Answer {
    let about = bot.backend.about().await?;
    let title = Some(clean(&about.title)).filter(|t| !t.is_empty()).map(|t| format!(" for {t}")).unwrap_or_default();
    let url = Some(clean(&about.url)).filter(|u| !u.is_empty()).map(|u| format!(", {u}")).unwrap_or_default();
    Ok(vec![format!("Tidemill {}{title}{url}", clean(&about.version))])
}

pub fn source() -> Vec<String> {
    vec![
        "I am Tidemill, written in Rust, under MIT or Apache-2.0; my source is where your administrators got me"
            .to_owned(),
    ]
}

/// Many masters share the work, and who runs them ends them: one that a chat
/// could switch off would be started again by its supervisor.
pub fn shutdown() -> Answer {
    Err(Complaint::Refused(
        "I do not shut down from here: masters are stopped by whoever runs them (SIGTERM lets one finish what it does)"
            .to_owned(),
    ))
}
