//! From who wrote a change to a mailbox: by the address in the author's name, by
//! the ways a project knows its people, never by guessing. Author names are
//! strangers' text: what does not read as one plain address is refused with a
//! word that says why.

use crate::line::{harmful, one_line};
use lettre::Address;
use lettre::message::Mailbox;
use std::collections::{BTreeMap, HashMap};
use url::Host;

const NAME_MAX: usize = 100;

/// How the people of a project are found.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// Only who is an address already.
    None,
    /// A bare login is one at this domain.
    Domain(&'a str),
    /// By the whole author, the address or the login, as they stand there.
    Table(&'a BTreeMap<String, String>),
    Mailmap(&'a Mailmap),
    /// What a function or a directory said of this author; none is nobody.
    Answer(Option<&'a str>),
}

/// The mailbox of an author.
///
/// # Errors
/// Who has none, and why.
pub fn who(author: &str, lookup: &Lookup<'_>) -> Result<Mailbox, String> {
    let (name, address) = split(author);
    let nobody = |why: &str| Err(format!("{}: {why}", shown(author)));
    let found = match lookup {
        Lookup::Answer(Some(answer)) => mailbox(answer)?,
        Lookup::Answer(None) => return nobody("the lookup knows no address"),
        Lookup::Table(table) => {
            let keys = [Some(author.trim()), address, name.filter(|n| !n.is_empty())];
            match (keys.into_iter().flatten().find_map(|key| table.get(key)), address) {
                (Some(found), _) => mailbox(found)?,
                (None, Some(_)) => mailbox(author)?,
                (None, None) => return nobody("the table of addresses does not know this author"),
            }
        }
        Lookup::Mailmap(map) => {
            let (name, address) = map.apply(name.unwrap_or_default(), address.unwrap_or_default());
            if address.is_empty() {
                return nobody("the mailmap does not know this author");
            }
            named(&name, &address)?
        }
        Lookup::Domain(domain) if address.is_none() => {
            let login = author.trim();
            if login.contains(char::is_whitespace) {
                return nobody("this is a name and no login");
            }
            mailbox(&format!("{login}@{}", domain.trim().trim_start_matches('@')))?
        }
        Lookup::Domain(_) | Lookup::None => mailbox(author)?,
    };
    let (user, domain) = (found.email.user().to_ascii_lowercase(), found.email.domain());
    if domain.starts_with("users.noreply.") || matches!(user.as_str(), "noreply" | "no-reply") {
        return nobody("this address takes no mail");
    }
    Ok(found)
}

/// One mailbox, `Ann <ann@example.org>` or `ann@example.org`.
///
/// # Errors
/// If it is none: what is wrong with it.
pub fn mailbox(text: &str) -> Result<Mailbox, String> {
    match split(text) {
        (name, Some(address)) => named(name.unwrap_or_default(), address),
        _ => Err(format!("{} is no mail address: it holds none, or more than one", shown(text))),
    }
}

fn named(name: &str, address: &str) -> Result<Mailbox, String> {
    let name = one_line(name, NAME_MAX);
    let email = parsed(address).map_err(|why| format!("{} is no mail address: {why}", shown(address)))?;
    Ok(Mailbox::new(Some(name).filter(|n| !n.is_empty()), email))
}

/// The name and the address of a person, of whatever stands there.
fn split(text: &str) -> (Option<&str>, Option<&str>) {
    let text = text.trim();
    if let Some((name, rest)) = text.rsplit_once('<') {
        let name = name.trim();
        if name.contains('<') && name.contains('@') {
            return (Some(name), None);
        }
        let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name);
        return (Some(name), rest.strip_suffix('>').map(str::trim).filter(|a| a.contains('@')));
    }
    if text.contains('@') { (None, Some(text)) } else { (Some(text), None) }
}

/// One address without quotes, comments or routes, in its domain's form of ASCII.
fn parsed(address: &str) -> Result<Address, &'static str> {
    const ATOM: &str = "!#$%&'*+/=?^_`{|}~-.";
    let (user, domain) = address.rsplit_once('@').ok_or("it has no `@`")?;
    if address.chars().any(|c| c.is_whitespace() || harmful(c)) {
        return Err("it holds spaces or control characters");
    }
    if user.is_empty() || user.len() > 64 || address.len() > 254 {
        return Err("it is empty or too long");
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || ATOM.contains(c) || (!c.is_ascii() && c.is_alphanumeric());
    if !user.chars().all(letter) || user.starts_with('.') || user.ends_with('.') || user.contains("..") {
        return Err("what stands before the `@` is no plain word");
    }
    if !domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_')) {
        return Err("what stands behind the `@` is no domain");
    }
    match Host::parse(domain) {
        Ok(Host::Domain(domain)) => Address::new(user, domain).map_err(|_| "it is not of the form that mail knows"),
        _ => Err("what stands behind the `@` is no domain"),
    }
}

fn shown(text: &str) -> String {
    format!("`{}`", one_line(text, 80))
}

/// Git's map from how people commit to who they are.
#[derive(Clone, Debug, Default)]
pub struct Mailmap {
    /// By the address of commits in lower case, and there by its name; the empty one is any.
    entries: HashMap<String, HashMap<String, Person>>,
}

#[derive(Clone, Debug, Default)]
struct Person {
    name: Option<String>,
    address: Option<String>,
}

impl Mailmap {
    /// Reads git's format; what is no entry is passed over, as git does.
    pub fn parse(text: &str) -> Mailmap {
        let mut map = Mailmap::default();
        for line in text.lines().filter(|l| !l.trim_start().starts_with('#')) {
            let Some((first_name, first, rest)) = next(line) else { continue };
            match next(rest) {
                Some((second_name, second, _)) => {
                    map.add(first_name.as_deref(), first, second_name.as_deref(), Some(second));
                }
                None => map.add(first_name.as_deref(), first, None, None),
            }
        }
        map
    }

    /// One line of it: `Name <address> Commit Name <commit address>`. Without the
    /// latter it only names who has this address; a later line adds to an earlier.
    pub fn add(&mut self, name: Option<&str>, address: &str, commit_name: Option<&str>, commit_address: Option<&str>) {
        let by_name = self.entries.entry(commit_address.unwrap_or(address).to_lowercase()).or_default();
        let known = by_name.entry(commit_name.unwrap_or_default().to_lowercase()).or_default();
        if let Some(name) = name {
            known.name = Some(name.to_owned());
        }
        if commit_address.is_some() {
            known.address = Some(address.to_owned());
        }
    }

    /// Who this is, by name and address; unchanged where the map has nothing.
    pub fn apply(&self, name: &str, address: &str) -> (String, String) {
        let known = self.entries.get(&address.to_lowercase());
        let person = known.and_then(|by_name| by_name.get(&name.to_lowercase()).or_else(|| by_name.get("")));
        let Some(person) = person else { return (name.to_owned(), address.to_owned()) };
        (
            person.name.clone().unwrap_or_else(|| name.to_owned()),
            person.address.clone().unwrap_or_else(|| address.to_owned()),
        )
    }
}

/// The next `Name <address>` of a line, and what follows.
fn next(line: &str) -> Option<(Option<String>, &str, &str)> {
    let (name, rest) = line.split_once('<')?;
    let (address, rest) = rest.split_once('>')?;
    Some((Some(name.trim().to_owned()).filter(|n| !n.is_empty()), address.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(author: &str, lookup: &Lookup<'_>) -> String {
        who(author, lookup).map_or_else(|why| format!("! {why}"), |m| m.to_string())
    }

    #[test]
    fn addresses_are_read_and_what_is_none_is_refused_with_a_reason() {
        let read = |text: &str| mailbox(text).map(|m| (m.name.unwrap_or_default(), m.email.to_string()));
        assert_eq!(read("Ann Lee <ann@example.org>").unwrap(), ("Ann Lee".into(), "ann@example.org".into()));
        assert_eq!(read(" ann+ci@Example.ORG ").unwrap(), (String::new(), "ann+ci@example.org".into()));
        assert_eq!(read("\"Lee, Ann\" <ann@example.org>").unwrap().0, "Lee, Ann");
        assert_eq!(read("root@localhost").unwrap().1, "root@localhost");
        assert_eq!(read("Jörg <jörg@bücher.example>").unwrap().1, "jörg@xn--bcher-kva.example");
        assert_eq!(read("A\r\nBcc: x <a@b.org>").unwrap().0, "A Bcc: x");
        let wrong = [
            "",
            "ann",
            "Ann <ann>",
            "ann@",
            "@example.org",
            "a@b@c.org",
            "a b@c.org",
            "a@b.org, c@d.org",
            "a@b.org>\r\nDATA",
            "<a@b.org>\nRCPT TO:<c@d.org>",
            "a\0@b.org",
            "..a@b.org",
            "a@b.org\r\nBcc: x@y.org",
            "\"a\"@b.org",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@b.org?cc=x@y",
            "-oQ/tmp a@b.org",
            "A <@x.org:a@b.org>",
        ];
        for text in wrong {
            let why = mailbox(text).unwrap_err();
            assert!(why.contains("no mail address") && !why.contains(['\r', '\n', '\0']), "{text:?}: {why}");
        }
        assert!(mailbox(&format!("{}@b.org", "a".repeat(65))).is_err());
        assert!(mailbox(&format!("a@{}.org", "b".repeat(300))).is_err());
        assert_eq!(mailbox(&format!("{} <a@b.org>", "x".repeat(10_000))).unwrap().name.unwrap().len(), 102);
    }

    #[test]
    fn authors_are_found_by_address_domain_table_or_an_answer() {
        let none = Lookup::None;
        assert_eq!(found("Ann <ann@x.org>", &none), "Ann <ann@x.org>");
        assert!(found("ann", &none).starts_with("! `ann` is no mail address"));
        let domain = Lookup::Domain("x.org");
        assert_eq!(found("ann", &domain), "ann@x.org");
        assert_eq!(found("ann@y.org", &domain), "ann@y.org");
        assert!(found("Ann Lee", &domain).contains("a name and no login"));
        let table = BTreeMap::from([
            ("ann".to_owned(), "Ann <ann@x.org>".to_owned()),
            ("old@x.org".to_owned(), "new@x.org".to_owned()),
        ]);
        let table = Lookup::Table(&table);
        assert_eq!(found("ann", &table), "Ann <ann@x.org>");
        assert_eq!(found("Bob <old@x.org>", &table), "new@x.org");
        assert_eq!(found("Eve <eve@x.org>", &table), "Eve <eve@x.org>");
        assert!(found("eve", &table).contains("does not know"));
        assert_eq!(found("anything", &Lookup::Answer(Some("a@x.org"))), "a@x.org");
        assert!(found("a@x.org", &Lookup::Answer(None)).contains("knows no address"));
        assert!(found("a", &Lookup::Answer(Some("a\r\nb"))).contains("no mail address"));
        assert!(found("A <1+a@users.noreply.github.com>", &none).contains("takes no mail"));
    }

    #[test]
    fn a_mailmap_is_read_as_git_does() {
        let map = Mailmap::parse(
            "# people\n\
             Ann Lee <ann@old.org>\n\
             <bob@x.org> <bob@laptop>\n\
             Cid <cid@x.org> <CID@old.org>  # moved\n\
             Dee <dee@x.org> Root <root@host>\n\
             Eve <eve@x.org> <root@host>\n\
             nothing here\n",
        );
        let map = Lookup::Mailmap(&map);
        assert_eq!(found("ann <ann@old.org>", &map), "Ann Lee <ann@old.org>");
        assert_eq!(found("Bob <BOB@laptop>", &map), "Bob <bob@x.org>");
        assert_eq!(found("c <cid@old.org>", &map), "Cid <cid@x.org>");
        assert_eq!(found("root <root@host>", &map), "Dee <dee@x.org>");
        assert_eq!(found("other <root@host>", &map), "Eve <eve@x.org>");
        assert_eq!(found("New <new@x.org>", &map), "New <new@x.org>");
        assert!(found("login", &map).contains("does not know"));
    }
}
