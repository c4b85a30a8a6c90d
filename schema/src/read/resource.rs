//! What can be asked of one table.

/// The rows of one table as clients see them.
#[derive(Debug)]
pub struct Resource {
    /// Key of the list in an answer, such as `builds`.
    pub name: &'static str,
    /// Table, and the alias that every field's SQL uses.
    pub table: &'static str,
    pub alias: &'static str,
    pub fields: &'static [Field],
}

/// One field of a resource.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// An expression over the alias. For a key a bare column, so that its index serves.
    pub sql: &'static str,
    /// For a [`Kind::Bool`]: a condition that holds for every row where it is
    /// false, and that an index or a small table answers. Open builds are few
    /// among millions.
    pub when_false: Option<&'static str>,
    /// One sentence for the API's description.
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Bool,
    /// Whole seconds since 1970.
    Time,
    /// A list of texts.
    Texts,
    /// Anything else: can be chosen, not compared.
    Json,
    /// `{name: [value, source]}` of those names that the parameter `property`
    /// asks for. The SQL has `$P` where the names go.
    Properties,
}

impl Kind {
    pub fn comparable(self) -> bool {
        !matches!(self, Kind::Json | Kind::Properties)
    }
}

impl Resource {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The key: always the first field.
    pub fn id(&self) -> &'static Field {
        let fields: &'static [Field] = self.fields;
        &fields[0]
    }

    /// The field that was most likely meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.fields.iter().map(|f| f.name))
    }
}

/// The candidate with the fewest edits, if they are fewer than half of it.
pub(crate) fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // What is far too long is no slip of a finger, and dear to compare.
    if name.len() > 64 {
        return None;
    }
    candidates
        .map(|c| (distance(name, c), c))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, c)| *d <= (c.len() / 2).max(1))
        .map(|(_, c)| c)
}

/// Insertions, removals and replacements that make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const fn field(name: &'static str, kind: Kind, sql: &'static str, doc: &'static str) -> Field {
    Field { name, kind, sql, when_false: None, doc }
}

pub(crate) const fn int(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Int, sql, doc)
}

pub(crate) const fn text(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Text, sql, doc)
}

pub(crate) const fn flag(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Bool, sql, doc)
}

/// A flag that is false for few rows, found by another condition.
pub(crate) const fn flag_open(
    name: &'static str,
    sql: &'static str,
    when_false: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, kind: Kind::Bool, sql, when_false: Some(when_false), doc }
}

pub(crate) const fn texts(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Texts, sql, doc)
}

pub(crate) const fn json(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Json, sql, doc)
}

pub(crate) const fn properties(name: &'static str, sql: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Properties, sql, doc)
}

/// A time field; the macro makes whole seconds of the column.
macro_rules! time {
    ($name:literal, $sql:literal, $doc:literal) => {
        $crate::read::resource::Field {
            name: $name,
            kind: $crate::read::resource::Kind::Time,
            sql: concat!("floor(extract(epoch from ", $sql, "))::bigint"),
            when_false: None,
            doc: $doc,
        }
    };
}
pub(crate) use time;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_field_that_was_meant() {
        let names = ["buildid", "builderid", "complete_at"];
        assert_eq!(nearest("buidid", names.into_iter()), Some("buildid"));
        assert_eq!(nearest("completed_at", names.into_iter()), Some("complete_at"));
        assert_eq!(nearest("xyzzy", names.into_iter()), None);
        assert_eq!(nearest(&"b".repeat(100_000), names.into_iter()), None);
    }
}
