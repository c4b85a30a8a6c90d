//! What must not be read where others answer: some repeat a request, with what it proved itself by.

use std::fmt;
use tidemill_model::repository::percent_encoded;

/// Shorter ones are words that any text may hold.
const SHORTEST: usize = 4;
const SHOWN: &str = "<secret>";

/// Values that are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(Vec<String>);

impl Hidden {
    /// In each form in which it may come back.
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.len() < SHORTEST {
            return;
        }
        let json = serde_json::Value::from(value).to_string();
        let query: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for form in [value.to_owned(), percent_encoded(value), query, json[1..json.len() - 1].to_owned()] {
            if !self.0.contains(&form) {
                self.0.push(form);
            }
        }
        // What holds another is hidden as a whole.
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| match text.contains(value.as_str()) {
            true => text.replace(value.as_str(), SHOWN),
            false => text,
        })
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_each_of_its_forms() {
        let mut hidden = Hidden::default();
        hidden.add(" ge\"hei m ");
        hidden.add("ge\"hei mnis");
        hidden.add("ok");
        for (said, shown) in [
            ("token ge\"hei m, ok", "token <secret>, ok"),
            (r#"{"token": "ge\"hei m"}"#, r#"{"token": "<secret>"}"#),
            ("?t=ge%22hei%20m&ge%22hei+m", "?t=<secret>&<secret>"),
            ("ge\"hei mnis", "<secret>"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(hidden.mask(said), shown);
        }
        assert_eq!(format!("{hidden:?}"), "Hidden(…)");
    }
}
