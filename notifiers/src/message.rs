//! What a formatter made of an event, before a transport dresses it.

use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub subject: Option<String>,
    pub body: Body,
    /// What a formatter gives beside the text, for transports that know it.
    pub extra: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Plain(String),
    /// The markup, and the same in plain words for readers without it.
    Html {
        html: String,
        plain: String,
    },
    Json(Value),
}

impl Default for Body {
    fn default() -> Body {
        Body::Plain(String::new())
    }
}

impl Body {
    /// In plain words.
    pub fn plain(&self) -> String {
        match self {
            Body::Plain(text) | Body::Html { plain: text, .. } => text.clone(),
            Body::Json(value) => value.to_string(),
        }
    }
}
