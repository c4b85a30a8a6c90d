//! Words about steps, for people.

use tidemill_lang::plan::{Action, Command, RenderedStep};
use tidemill_model::Results;

/// Most bytes of a line for people.
const LINE_MAX: usize = 500;

/// What a step says while it runs; empty if there is nothing to add to its name.
pub(super) fn running(step: &RenderedStep) -> String {
    if step.description.is_empty() { String::new() } else { line(&with_suffix(&step.description, step)) }
}

/// What a step says when it is done: `'make test' (failure) (timed out …)`.
///
/// `said` are the step's own words.
pub(super) fn done(step: &RenderedStep, said: Option<&str>, results: Results, note: &str) -> String {
    let mut text = match said {
        Some(said) => said.to_owned(),
        None if step.description_done.is_empty() => with_suffix(&default_words(step), step),
        None => with_suffix(&step.description_done, step),
    };
    if results != Results::Success {
        text.push_str(&format!(" ({results})"));
    }
    if !note.is_empty() {
        text.push_str(&format!(" ({note})"));
    }
    line(&text)
}

fn with_suffix(words: &str, step: &RenderedStep) -> String {
    match step.description_suffix.as_str() {
        "" => words.to_owned(),
        suffix => format!("{words} {suffix}"),
    }
}

fn default_words(step: &RenderedStep) -> String {
    match &step.action {
        Action::Shell(shell) => {
            let words: Vec<&str> = match &shell.command {
                Command::Argv(argv) => argv.iter().map(String::as_str).collect(),
                Command::Line(line) => line.split_whitespace().collect(),
            };
            match words.as_slice() {
                [] => "nothing".into(),
                [one] => format!("'{one}'"),
                [one, two] => format!("'{one} {two}'"),
                [one, two, ..] => format!("'{one} {two} ...'"),
            }
        }
        Action::Git(_) | Action::Svn(_) | Action::Mercurial(_) => "update".into(),
        Action::SetProperty { property, .. } => format!("property '{property}' set"),
        Action::Script(_) => step.name.clone(),
    }
}

/// Most characters of a name that a step gives to something.
const NAME_MAX: usize = 200;

/// Refuses names that nobody could read.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), String> {
    match name.chars().nth(NAME_MAX) {
        Some(_) => {
            let shown: String = name.chars().take(40).collect();
            Err(format!("the name of the {what} {shown:?}… has more than {NAME_MAX} characters"))
        }
        None => Ok(()),
    }
}

/// One line without control characters, of bounded length.
pub(super) fn line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= LINE_MAX {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_lang::plan::{Flags, Shell};

    fn step(words: &[&str]) -> RenderedStep {
        let command = Command::Argv(words.iter().map(|w| w.to_string()).collect());
        RenderedStep {
            name: "s".into(),
            flags: Flags::default(),
            description: String::new(),
            description_done: String::new(),
            description_suffix: String::new(),
            kind: "steps.ShellCommand".into(),
            locks: vec![],
            update_build_summary: None,
            secrets: vec![],
            action: Action::Shell(Shell { command, ..Default::default() }),
        }
    }

    #[test]
    fn a_summary_shows_the_command_and_what_was_wrong() {
        assert_eq!(done(&step(&["make", "test"]), None, Results::Success, ""), "'make test'");
        assert_eq!(done(&step(&["make"]), None, Results::Failure, "timed out"), "'make' (failure) (timed out)");
        let mut named = step(&["a", "b\nc", "d"]);
        assert_eq!(done(&named, None, Results::Success, ""), "'a b c ...'");
        named.description_done = "compile".into();
        named.description_suffix = "on arm".into();
        assert_eq!(done(&named, None, Results::Warnings, ""), "compile on arm (warnings)");
        assert!(line(&"ä".repeat(10_000)).len() < 600);
    }
}
