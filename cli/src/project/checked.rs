//! Evaluation of project files before anybody is asked to accept them, in a
//! child process under limits, as a master does it.

use crate::error::{Failure, Result};
use crate::exit::Exit;
use tidemill_lang::{Definition, Diagnostic, Severity};
use tidemill_master::projects::{Evaluated, evaluate_apart};
use tidemill_model::revision::Files;

/// A project without errors.
pub struct Checked {
    pub definition: Definition,
    /// Warnings and notes.
    pub diagnostics: Vec<Diagnostic>,
}

/// All that is found, good or bad.
pub async fn look(files: &Files) -> Result<Evaluated> {
    evaluate_apart(files).await.map_err(|e| Failure::new(Exit::Failure, e.to_string()))
}

/// The definition; the failure's text has every error.
pub async fn evaluate(files: &Files) -> Result<Checked> {
    let evaluated = look(files).await?;
    match evaluated.definition {
        Some(definition) => Ok(Checked { definition, diagnostics: evaluated.diagnostics }),
        None => {
            let errors = evaluated.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            let text: Vec<String> = errors.map(ToString::to_string).collect();
            Err(Failure::new(Exit::Failure, text.join("\n\n")))
        }
    }
}
