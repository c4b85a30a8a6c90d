//! Requirements over the labels of workers, such as `os == "linux" and mem >= 8`.
//!
//! Operators: `or`, `and`, `not`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in` a list
//! in brackets, and parentheses. A bare name holds if the label is there and is
//! neither false, 0 nor empty. A label that is missing equals nothing and is in
//! no order to anything, so `gpu != "none"` holds without it and `mem >= 8` does
//! not. Numbers compare with numbers only, texts with texts.

use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Labels of a worker: texts, numbers, true or false.
pub type Labels = BTreeMap<String, Value>;

/// Longest text, in bytes; deepest nesting.
const LENGTH_MAX: usize = 4 << 10;
const DEPTH_MAX: u32 = 50;

/// Why a text is no requirement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct RequiresError {
    /// From 1.
    pub at: usize,
    pub what: String,
}

/// A parsed requirement.
#[derive(Clone, Debug, PartialEq)]
pub struct Requires(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Is(Term),
    Compare(Term, Op, Term),
    In(Term, Vec<Term>),
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Label(String),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Requires {
    pub fn parse(text: &str) -> Result<Requires, RequiresError> {
        if text.len() > LENGTH_MAX {
            return Err(RequiresError { at: 1, what: format!("it is longer than {LENGTH_MAX} bytes") });
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let node = parser.any()?;
        match parser.peek() {
            Token::End => Ok(Requires(node)),
            _ => Err(parser.error("`and`, `or` or the end is expected here")),
        }
    }

    /// Whether a worker with these labels fits.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.0.holds(labels)
    }
}

impl Node {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Node::Any(all) => all.iter().any(|n| n.holds(labels)),
            Node::All(all) => all.iter().all(|n| n.holds(labels)),
            Node::Not(inner) => !inner.holds(labels),
            Node::Is(term) => term.of(labels).is_some_and(|v| match v {
                Value::Bool(yes) => *yes,
                Value::Number(n) => n.as_f64() != Some(0.0),
                Value::String(text) => !text.is_empty(),
                _ => false,
            }),
            Node::Compare(a, op, b) => {
                let order = a.of(labels).zip(b.of(labels)).and_then(|(a, b)| compare(a, b));
                match op {
                    Op::Equal => order == Some(Ordering::Equal),
                    Op::Different => order != Some(Ordering::Equal),
                    Op::Less => order == Some(Ordering::Less),
                    Op::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Op::Greater => order == Some(Ordering::Greater),
                    Op::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                }
            }
            Node::In(term, list) => term.of(labels).is_some_and(|v| {
                list.iter().filter_map(|t| t.of(labels)).any(|w| compare(v, w) == Some(Ordering::Equal))
            }),
        }
    }
}

impl Term {
    fn of<'a>(&'a self, labels: &'a Labels) -> Option<&'a Value> {
        match self {
            Term::Label(name) => labels.get(name),
            Term::Value(value) => Some(value),
        }
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => (a == b).then_some(Ordering::Equal),
        _ => None,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Value(Value),
    Op(Op),
    Open(char),
    Close(char),
    Comma,
    End,
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, RequiresError> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    let error = |at: usize, what: &str| RequiresError { at: at + 1, what: what.to_owned() };
    while let Some(c) = chars.get(at).copied() {
        let begin = at;
        let token = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' | '[' => Token::Open(c),
            ')' | ']' => Token::Close(c),
            ',' => Token::Comma,
            '=' | '!' | '<' | '>' => {
                let equals = chars.get(at + 1) == Some(&'=');
                at += usize::from(equals);
                Token::Op(match (c, equals) {
                    ('=', true) => Op::Equal,
                    ('!', true) => Op::Different,
                    ('<', false) => Op::Less,
                    ('<', true) => Op::LessOrEqual,
                    ('>', false) => Op::Greater,
                    ('>', true) => Op::GreaterOrEqual,
                    ('=', false) => return Err(error(begin, "write `==`")),
                    _ => return Err(error(begin, "write `!=` or `not`")),
                })
            }
            '"' | '\'' => {
                let end = chars[at + 1..].iter().position(|d| *d == c);
                let end = at + 1 + end.ok_or_else(|| error(begin, "the text has no end"))?;
                let inner: String = chars[at + 1..end].iter().collect();
                at = end;
                Token::Value(inner.into())
            }
            c if c.is_ascii_digit() || c == '-' => {
                while chars.get(at + 1).is_some_and(|d| d.is_ascii_digit() || *d == '.') {
                    at += 1;
                }
                let digits: String = chars[begin..=at].iter().collect();
                let whole = digits.parse::<i64>().ok().map(Value::from);
                let number = whole.or(digits.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from));
                Token::Value(number.ok_or_else(|| error(begin, "this is no number"))?)
            }
            c if c.is_alphabetic() || c == '_' => {
                while chars.get(at + 1).is_some_and(|d| d.is_alphanumeric() || "_-.".contains(*d)) {
                    at += 1;
                }
                let name: String = chars[begin..=at].iter().collect();
                match name.as_str() {
                    "True" | "true" => Token::Value(true.into()),
                    "False" | "false" => Token::Value(false.into()),
                    _ => Token::Name(name),
                }
            }
            _ => return Err(error(begin, "this character means nothing here")),
        };
        at += 1;
        found.push((begin, token));
    }
    found.push((chars.len(), Token::End));
    Ok(found)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: u32,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].1.clone();
        // The end stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Token::Name(name) if name == word);
        if there {
            self.next();
        }
        there
    }

    fn error(&self, what: &str) -> RequiresError {
        RequiresError { at: self.tokens[self.at].0 + 1, what: what.to_owned() }
    }

    fn any(&mut self) -> Result<Node, RequiresError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("it is nested too deep"));
        }
        let mut all = vec![self.all()?];
        while self.word("or") {
            all.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Any(all) })
    }

    fn all(&mut self) -> Result<Node, RequiresError> {
        let mut all = vec![self.not()?];
        while self.word("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Node::All(all) })
    }

    fn not(&mut self) -> Result<Node, RequiresError> {
        let mut negated = false;
        while self.word("not") {
            negated = !negated;
        }
        let inner = self.comparison()?;
        Ok(if negated { Node::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Node, RequiresError> {
        if *self.peek() == Token::Open('(') {
            self.next();
            let inner = self.any()?;
            return match self.next() {
                Token::Close(')') => Ok(inner),
                _ => Err(self.error("`)` is missing")),
            };
        }
        let left = self.term()?;
        if let Token::Op(op) = *self.peek() {
            self.next();
            return Ok(Node::Compare(left, op, self.term()?));
        }
        if self.word("in") {
            return Ok(Node::In(left, self.list()?));
        }
        if matches!(self.peek(), Token::Name(name) if name == "not") {
            self.next();
            if !self.word("in") {
                return Err(self.error("`in` is expected after `not` here"));
            }
            return Ok(Node::Not(Box::new(Node::In(left, self.list()?))));
        }
        Ok(Node::Is(left))
    }

    fn list(&mut self) -> Result<Vec<Term>, RequiresError> {
        if !matches!(self.peek(), Token::Open('[' | '(')) {
            return Err(self.error("a list is expected, as in [\"a\", \"b\"]"));
        }
        self.next();
        let mut all = Vec::new();
        loop {
            if matches!(self.peek(), Token::Close(_)) {
                self.next();
                return Ok(all);
            }
            all.push(self.term()?);
            match self.peek() {
                Token::Comma => drop(self.next()),
                Token::Close(_) => {}
                _ => return Err(self.error("`,` or the end of the list is expected here")),
            }
        }
    }

    fn term(&mut self) -> Result<Term, RequiresError> {
        match self.peek().clone() {
            Token::Name(name) if !["and", "or", "not", "in"].contains(&name.as_str()) => {
                self.next();
                Ok(Term::Label(name))
            }
            Token::Value(value) => {
                self.next();
                Ok(Term::Value(value))
            }
            _ => Err(self.error("a label, a text in quotes or a number is expected here")),
        }
    }
}

/// Labels as a worker's setting gives them: `os=linux,mem=16,gpu`. Digits are a
/// number; a name alone is true.
pub fn labels(text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = match part.split_once('=') {
            None => (part, Value::Bool(true)),
            Some((name, value)) => {
                let value = match value.trim() {
                    "true" | "True" => true.into(),
                    "false" | "False" => false.into(),
                    other => match (other.parse::<i64>(), other.parse::<f64>()) {
                        (Ok(n), _) => n.into(),
                        (_, Ok(f)) if f.is_finite() => f.into(),
                        _ => other.into(),
                    },
                };
                (name.trim(), value)
            }
        };
        if !matches!(Requires::parse(name), Ok(Requires(Node::Is(Term::Label(_))))) {
            return Err(format!("`{name}` cannot be the name of a label: use letters, digits, `_`, `-` and `.`"));
        }
        labels.insert(name.to_owned(), value);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        Requires::parse(text).unwrap().fits(&labels("os=linux, mem=16, gpu, cores=1.5, arch=x86_64").unwrap())
    }

    #[test]
    fn a_worker_fits_by_its_labels() {
        for yes in [
            "os == \"linux\" and mem >= 8",
            "gpu",
            "not (os == 'mac') and (mem < 8 or mem > 8)",
            "os in [\"linux\", \"mac\",]",
            "os not in [\"mac\"]",
            "sound != \"loud\"",
            "not sound",
            "cores < 2",
            "gpu == True",
            "8 <= mem",
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in
            ["sound", "sound == \"loud\"", "sound >= 1", "mem == \"16\"", "os > 3", "os in []", "not gpu", "False"]
        {
            assert!(!fits(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_requirement_is_refused_at_its_place() {
        for (text, at) in [
            ("", 1),
            ("os = \"linux\"", 4),
            ("os == ", 7),
            ("os == \"linux", 7),
            ("(os", 4),
            ("os linux", 4),
            ("a and", 6),
            ("a in b", 6),
            ("a $ b", 3),
            ("1.2.3 < a", 1),
        ] {
            assert_eq!(Requires::parse(text).unwrap_err().at, at, "{text}");
        }
        assert!(Requires::parse(&"(".repeat(4000)).is_err());
        assert!(Requires::parse(&"not ".repeat(1000)).is_err());
        assert!(Requires::parse(&"a ".repeat(4000)).is_err());
    }

    #[test]
    fn labels_are_read_as_numbers_truths_and_texts() {
        let all = labels("a=1,b=x y,c,d=false,").unwrap();
        assert_eq!(serde_json::to_value(&all).unwrap(), serde_json::json!({"a": 1, "b": "x y", "c": true, "d": false}));
        for bad in ["1=2", "a b=1", "=x", "and=1"] {
            assert!(labels(bad).is_err(), "{bad}");
        }
    }
}
