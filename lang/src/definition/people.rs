//! From names of people to addresses, as far as a definition knows them.

use super::transports::{LookupDef, MailMapLine};

impl LookupDef {
    /// The address of a person, where that needs neither a function nor a directory.
    pub fn find(&self, name: &str) -> Option<String> {
        match self {
            LookupDef::Domain(domain) => LookupDef::address_in(name).or_else(|| {
                let plain = !name.is_empty() && !name.contains(char::is_whitespace) && !name.contains('@');
                plain.then(|| format!("{name}@{}", domain.trim_start_matches('@')))
            }),
            LookupDef::Table(table) => {
                let address = LookupDef::address_in(name);
                let known = table.get(name).or_else(|| table.get(bare(name)));
                known.or_else(|| table.get(address.as_deref()?)).cloned().or(address)
            }
            LookupDef::MailMap(lines) => {
                let address = LookupDef::address_in(name);
                mapped(lines, bare(name), address.as_deref()).or(address)
            }
            LookupDef::Function | LookupDef::Ldap(_) => None,
        }
    }

    /// The address that a name holds: `Ada <ada@example.org>`, or `ada@example.org` by itself. Who
    /// holds several has none: nobody knows which is meant.
    pub fn address_in(name: &str) -> Option<String> {
        let inner = match (name.rfind('<'), name.rfind('>')) {
            (Some(open), Some(close)) if open < close => {
                let before = &name[..open];
                if before.contains('<') && before.contains('@') {
                    return None;
                }
                &name[open + 1..close]
            }
            _ => name,
        };
        LookupDef::is_address(inner.trim()).then(|| inner.trim().to_owned())
    }

    /// Whether a mail can be sent there: one `@` with something around it, nothing that breaks a line or a list.
    pub fn is_address(text: &str) -> bool {
        let parts = text.rsplit_once('@');
        let fits = |c: char| !c.is_control() && !c.is_whitespace() && !"<>,;\"\\()".contains(c);
        text.len() <= 254
            && text.chars().all(fits)
            && parts.is_some_and(|(local, domain)| {
                !local.is_empty() && !local.contains('@') && !domain.is_empty() && !domain.starts_with('.')
            })
    }
}

/// The name without its address.
fn bare(name: &str) -> &str {
    name.split('<').next().unwrap_or_default().trim()
}

/// As git reads it: a line with both name and address is better than one with the address alone.
fn mapped(lines: &[MailMapLine], name: &str, address: Option<&str>) -> Option<String> {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let by_address = |line: &&MailMapLine| match (&line.commit_address, address) {
        (Some(old), Some(address)) => same(old, address),
        (Some(old), None) => old.is_empty() && line.commit_name.is_some(),
        (None, Some(address)) => same(&line.address, address),
        (None, None) => false,
    };
    let named = |line: &&MailMapLine| line.commit_name.as_ref().is_some_and(|n| same(n, name));
    let plain = |line: &&MailMapLine| line.commit_name.is_none();
    let fitting = || lines.iter().filter(by_address);
    let found = fitting().find(named).or_else(|| fitting().find(plain));
    // Somebody without an address is found by the name that the line gives.
    let by_name = || lines.iter().find(|l| address.is_none() && l.name.as_ref().is_some_and(|n| same(n, name)));
    found.or_else(by_name).map(|line| line.address.clone())
}

impl MailMapLine {
    /// Reads the text of a `.mailmap`.
    ///
    /// # Errors
    /// The number of a line, from 1, that is none.
    pub fn read(text: &str) -> Result<Vec<MailMapLine>, usize> {
        let mut lines = vec![];
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                lines.push(MailMapLine::one(line).ok_or(i + 1)?);
            }
        }
        Ok(lines)
    }

    fn one(line: &str) -> Option<MailMapLine> {
        let (name, rest) = line.split_once('<')?;
        let (address, rest) = rest.split_once('>')?;
        let some = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        let mut found = MailMapLine { name: some(name), address: address.trim().to_owned(), ..Default::default() };
        if !rest.trim().is_empty() {
            let (name, rest) = rest.split_once('<')?;
            let (address, rest) = rest.split_once('>')?;
            found.commit_name = some(name);
            found.commit_address = Some(address.trim().to_owned());
            if !rest.trim().is_empty() {
                return None;
            }
        }
        LookupDef::is_address(&found.address).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_a_name_and_what_would_break_a_header_is_none() {
        for (name, wanted) in [
            ("Ada <ada@example.org>", Some("ada@example.org")),
            ("ada@example.org", Some("ada@example.org")),
            ("Ada < ada@example.org >", Some("ada@example.org")),
            ("Ada <ada@example.org>, <bob@example.org>", None),
            ("ada", None),
            ("<>", None),
            ("a@b@c", None),
            ("Ada <ada@example.org\r\nBcc: x@y>", None),
            ("x,y@example.org", None),
        ] {
            assert_eq!(LookupDef::address_in(name).as_deref(), wanted, "{name:?}");
        }
    }

    #[test]
    fn people_are_found_by_domain_table_and_mail_map() {
        let domain = LookupDef::Domain("example.org".into());
        assert_eq!(domain.find("ada").as_deref(), Some("ada@example.org"));
        assert_eq!(domain.find("Ada Lovelace"), None);
        let table = LookupDef::Table([("ada".into(), "a@x.org".into()), ("old@x".into(), "b@x.org".into())].into());
        assert_eq!(table.find("ada").as_deref(), Some("a@x.org"));
        assert_eq!(table.find("Bea <old@x>").as_deref(), Some("b@x.org"));
        assert_eq!(table.find("Bea <new@x>").as_deref(), Some("new@x"));
        let text = "# people\nAda L <ada@x.org> <ada@laptop>\nGrace <grace@x.org> gh <root@localhost>\n<root@x.org> <root@localhost>\n";
        let map = LookupDef::MailMap(MailMapLine::read(text).unwrap());
        for (name, wanted) in [
            ("whoever <ADA@laptop>", "ada@x.org"),
            ("gh <root@localhost>", "grace@x.org"),
            ("other <root@localhost>", "root@x.org"),
            ("Grace", "grace@x.org"),
            ("New <new@x.org>", "new@x.org"),
        ] {
            assert_eq!(map.find(name).as_deref(), Some(wanted), "{name}");
        }
        assert_eq!(map.find("nobody"), None);
        assert_eq!(MailMapLine::read("Ada <ada@x.org>\nno line\n"), Err(2));
    }
}
