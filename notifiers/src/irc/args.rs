//! The words of a command: quotes, options, and errors that say how it is done.

use super::text::{clean, shorten};
use std::collections::BTreeMap;

/// Words and `--name=value` options, told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pub words: Vec<String>,
    pub options: BTreeMap<String, String>,
}

/// Words as typed: quotes keep spaces, a backslash keeps the next sign.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(chars.next().unwrap_or('\\')),
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            // An apostrophe inside a word is one: «don't».
            ('"', None) => {
                quote = Some('"');
                word.get_or_insert_default();
            }
            ('\'', None) if word.as_ref().is_none_or(|w| w.ends_with('=')) => {
                quote = Some('\'');
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// Splits options off. Only those `known`; behind the `free` first words
/// everything is text (a reason may hold dashes). `--` ends options too.
pub fn parse(text: &str, known: &[&str], free: usize) -> Result<Args, String> {
    let mut args = Args::default();
    let mut given = words(text)?.into_iter();
    let mut open = true;
    while let Some(word) = given.next() {
        if open && word == "--" {
            open = false;
            continue;
        }
        let option = word.strip_prefix("--").filter(|o| open && !o.is_empty());
        let Some(option) = option else {
            args.words.push(word);
            open &= args.words.len() < free;
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        };
        if !known.contains(&name.as_str()) {
            let known: Vec<String> = known.iter().map(|k| format!("--{k}")).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            return Err(format!("there is no option --{} (known: {known})", shorten(&clean(&name), 30)));
        }
        let Some(value) = value.or_else(|| given.next()) else { return Err(format!("--{name} needs a value")) };
        if args.options.insert(name.clone(), value).is_some() {
            return Err(format!("--{name} is given twice"));
        }
    }
    Ok(args)
}

/// `a=1,b=2` as pairs.
pub fn properties(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for pair in text.split(',').filter(|p| !p.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("«{}» is no property: write name=value,name=value", shorten(&clean(pair), 40)));
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
            return Err(format!("«{}» is no name of a property", shorten(&clean(name), 40)));
        }
        if out.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the property {name} is given twice"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        assert_eq!(
            words(r#"force "my builder" it\ is don't 'a b'"#).unwrap(),
            ["force", "my builder", "it is", "don't", "a b"]
        );
        assert_eq!(words("--props='a b' \"\"").unwrap(), ["--props=a b", ""]);
        assert!(words("\"open").is_err());
    }

    #[test]
    fn options_end_where_free_text_begins() {
        let args = parse("--branch=main linux --force is no option", &["branch"], 1).unwrap();
        assert_eq!(args.words, ["linux", "--force", "is", "no", "option"]);
        assert_eq!(args.options["branch"], "main");
        assert_eq!(parse("--branch main -- --x", &["branch"], 9).unwrap().words, ["--x"]);
    }

    #[test]
    fn wrong_options_are_named() {
        assert_eq!(parse("--brunch=x", &["branch"], 1), Err("there is no option --brunch (known: --branch)".into()));
        assert_eq!(parse("--branch", &["branch"], 1), Err("--branch needs a value".into()));
        assert!(parse("--branch=a --branch=b", &["branch"], 1).is_err());
    }

    #[test]
    fn properties_are_pairs() {
        let pairs = properties("a=1,b=x=y").unwrap();
        assert_eq!((pairs["a"].as_str(), pairs["b"].as_str()), ("1", "x=y"));
        assert!(properties("a").is_err() && properties("=1").is_err() && properties("a=1,a=2").is_err());
    }
}
