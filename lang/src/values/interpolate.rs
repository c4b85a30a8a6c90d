//! The templates of `util.Interpolate`: text with `%(prop:NAME)s`,
//! `%(src:CODEBASE:ATTRIBUTE)s`, `%(kw:NAME)s`, `%(secret:NAME)s`,
//! `%(worker:NAME)s` and `%s`. Also the older templates of `util.WithProperties`.
//!
//! After the name may stand `:-text` (if there is no value), `:~text` (if it is
//! missing or false), `:+text` (if there is one), `:?|yes|no` (whether there is
//! one) and `:#?|yes|no` (whether it is true). These texts are templates again.

/// Deepest template in a template.
const DEPTH_MAX: usize = 20;
const SOURCE_ATTRIBUTES: [&str; 5] = ["branch", "codebase", "project", "repository", "revision"];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub source: String,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Lookup { from: From, operator: Option<Operator> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    Property(String),
    Source { codebase: String, attribute: String },
    Keyword(String),
    Secret(String),
    Worker(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operator {
    /// `:-`
    IfMissing(Template),
    /// `:~`
    IfFalse(Template),
    /// `:+`
    IfPresent(Template),
    /// `:?` and, with `truth`, `:#?`
    Choice { truth: bool, yes: Template, no: Template },
}

/// Reads a template. The error says what is wrong and what would be right.
pub(crate) fn parse(source: &str) -> Result<Template, String> {
    Parser { positional: 0, old: false }.template(source, 0)
}

/// Reads a template of `util.WithProperties`: names of properties without a selector.
pub(crate) fn parse_old(source: &str) -> Result<Template, String> {
    Parser { positional: 0, old: true }.template(source, 0)
}

impl Template {
    /// Names of the keyword arguments that it uses; `%s` uses `0`, `1` ….
    pub fn keywords(&self) -> Vec<(&str, bool)> {
        let mut names = vec![];
        for part in &self.parts {
            let Part::Lookup { from, operator } = part else { continue };
            if let From::Keyword(name) = from {
                names.push((name.as_str(), operator.is_none()));
            }
            match operator {
                Some(Operator::IfMissing(t) | Operator::IfFalse(t) | Operator::IfPresent(t)) => {
                    names.extend(t.keywords());
                }
                Some(Operator::Choice { yes, no, .. }) => names.extend(yes.keywords().into_iter().chain(no.keywords())),
                None => {}
            }
        }
        names
    }
}

struct Parser {
    /// How many `%s` were read.
    positional: usize,
    /// `%(NAME)s` is a keyword, or the property.
    old: bool,
}

impl Parser {
    fn template(&mut self, source: &str, depth: usize) -> Result<Template, String> {
        if depth > DEPTH_MAX {
            return Err("templates are nested too deep".into());
        }
        let mut parts = vec![];
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let part = match rest.chars().next() {
                Some('%') => {
                    text.push('%');
                    rest = &rest[1..];
                    continue;
                }
                Some('s') => {
                    rest = &rest[1..];
                    self.positional += 1;
                    Part::Lookup { from: From::Keyword((self.positional - 1).to_string()), operator: None }
                }
                Some('(') => {
                    let end = closing(rest).ok_or_else(|| format!("`%{}` has no closing bracket", short(rest)))?;
                    let inside = &rest[1..end];
                    rest = rest[end + 1..]
                        .strip_prefix('s')
                        .ok_or_else(|| format!("`%({inside})` must be followed by the letter s"))?;
                    self.lookup(inside, depth)?
                }
                _ => return Err(format!("`%{}` is not a placeholder; write %% for a percent sign", short(rest))),
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template { source: source.to_owned(), parts })
    }

    fn lookup(&mut self, inside: &str, depth: usize) -> Result<Part, String> {
        if self.old {
            let (name, rest) = name_and_rest(inside);
            if name.is_empty() {
                return Err(format!("`%({inside})s` names nothing"));
            }
            let operator = rest.map(|r| self.operator(r, inside, depth)).transpose()?;
            return Ok(Part::Lookup { from: From::Property(name.into()), operator });
        }
        let (selector, rest) = inside
            .split_once(':')
            .ok_or_else(|| format!("`%({inside})s` needs a selector, as in %(prop:{inside})s"))?;
        let (from, rest) = match selector {
            "prop" | "kw" | "secret" | "worker" => {
                let (name, rest) = name_and_rest(rest);
                if name.is_empty() {
                    return Err(format!("`%({inside})s` names nothing"));
                }
                let name = name.to_owned();
                let from = match selector {
                    "prop" => From::Property(name),
                    "kw" => From::Keyword(name),
                    "secret" => From::Secret(name),
                    _ => From::Worker(name),
                };
                (from, rest)
            }
            "src" => {
                let usage = || {
                    format!(
                        "`%({inside})s` needs a codebase (empty for the only one) and an attribute, as in %(src::branch)s"
                    )
                };
                let (codebase, rest) = rest.split_once(':').ok_or_else(usage)?;
                let (attribute, rest) = name_and_rest(rest);
                if !SOURCE_ATTRIBUTES.contains(&attribute) {
                    return Err(format!("`{attribute}` is not one of {}", SOURCE_ATTRIBUTES.join(", ")));
                }
                (From::Source { codebase: codebase.into(), attribute: attribute.into() }, rest)
            }
            other => return Err(format!("`{other}` in `%({inside})s` is not one of prop, src, kw, secret, worker")),
        };
        let operator = rest.map(|r| self.operator(r, inside, depth)).transpose()?;
        Ok(Part::Lookup { from, operator })
    }

    fn operator(&mut self, text: &str, inside: &str, depth: usize) -> Result<Operator, String> {
        let (choice, truth) = match text.strip_prefix("#?") {
            Some(rest) => (Some(rest), true),
            None => (text.strip_prefix('?'), false),
        };
        if let Some(rest) = choice {
            let usage = || format!("`%({inside})s` needs two texts, as in %(prop:x:?|yes|no)s");
            let bar = rest.chars().next().ok_or_else(usage)?;
            let (yes, no) = rest[bar.len_utf8()..].split_once(bar).ok_or_else(usage)?;
            let (yes, no) = (self.template(yes, depth + 1)?, self.template(no, depth + 1)?);
            return Ok(Operator::Choice { truth, yes, no });
        }
        let mut chars = text.chars();
        let sign = chars.next();
        let rest = chars.as_str();
        match sign {
            Some('-') => Ok(Operator::IfMissing(self.template(rest, depth + 1)?)),
            Some('~') => Ok(Operator::IfFalse(self.template(rest, depth + 1)?)),
            Some('+') => Ok(Operator::IfPresent(self.template(rest, depth + 1)?)),
            _ => Err(format!("in `%({inside})s`, `:{}` is not one of :-  :~  :+  :?  :#?", short(text))),
        }
    }
}

/// A name, and what follows the colon after it.
fn name_and_rest(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    }
}

/// Index of the bracket that closes the one at the start.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn short(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_into_its_parts() {
        let t = parse("a%%%(prop:x:-d%(kw:y)s)s%(src:lib:revision)s").unwrap();
        assert_eq!(t.parts.len(), 3);
        assert_eq!(t.parts[0], Part::Text("a%".into()));
        assert_eq!(t.keywords(), [("y", true)]);
        assert_eq!(parse("%s-%s").unwrap().keywords(), [("0", true), ("1", true)]);
        assert_eq!(parse("").unwrap().parts, []);
    }

    #[test]
    fn a_wrong_template_says_what_is_wrong() {
        for (bad, word) in [
            ("100%", "%%"),
            ("%d", "%%"),
            ("%(x)s", "prop:x"),
            ("%(prop:x", "closing"),
            ("%(prop:x)d", "letter s"),
            ("%(prop:)s", "names nothing"),
            ("%(prop:x:=y)s", ":-"),
            ("%(prop:x:?|y)s", "two texts"),
            ("%(src:x)s", "attribute"),
            ("%(src::brunch)s", "branch"),
            ("%(secret:)s", "names nothing"),
            ("%(foo:x)s", "prop, src, kw"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
        let deep = (0..100).fold("x".to_owned(), |t, _| format!("%(prop:a:-{t})s"));
        assert!(parse(&deep).is_err());
    }
}
