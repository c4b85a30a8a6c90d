//! The query operators of lists, parsed against a resource.

use super::resource::{Field, Kind, Resource, nearest};

/// Rows given when nobody says how many.
pub const LIMIT_DEFAULT: i64 = 100;
/// Most rows in one answer.
pub const LIMIT_MAX: i64 = 1000;
/// Most conditions in one query, and most values of one.
const CONDITIONS_MAX: usize = 50;
const VALUES_MAX: usize = 1000;

/// What one list is to give.
#[derive(Clone, Debug)]
pub struct Query {
    /// Chosen fields; empty means all.
    pub fields: Vec<&'static Field>,
    pub filters: Vec<Filter>,
    pub order: Vec<(&'static Field, Direction)>,
    pub limit: i64,
    pub offset: i64,
    /// Names of properties to give with each row; `*` is all of them.
    pub properties: Vec<String>,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            fields: Vec::new(),
            filters: Vec::new(),
            order: Vec::new(),
            limit: LIMIT_DEFAULT,
            offset: 0,
            properties: Vec::new(),
        }
    }
}

/// One condition; several values are alternatives.
#[derive(Clone, Debug)]
pub struct Filter {
    pub field: &'static Field,
    pub op: Op,
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Bools(Vec<bool>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// A list has the element; a text has the part.
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// A parameter that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongParameter {
    pub name: String,
    pub detail: String,
}

impl Op {
    fn of(suffix: &str) -> Option<Op> {
        Some(match suffix {
            "eq" => Op::Eq,
            "ne" => Op::Ne,
            "lt" => Op::Lt,
            "le" => Op::Le,
            "gt" => Op::Gt,
            "ge" => Op::Ge,
            "contains" => Op::Contains,
            _ => return None,
        })
    }

    fn fits(self, kind: Kind) -> bool {
        match self {
            Op::Eq | Op::Ne => kind != Kind::Texts,
            Op::Lt | Op::Le | Op::Gt | Op::Ge => matches!(kind, Kind::Int | Kind::Text | Kind::Time),
            Op::Contains => matches!(kind, Kind::Text | Kind::Texts),
        }
    }
}

impl Query {
    /// The newest rows first.
    pub fn newest(resource: &Resource) -> Query {
        Query { order: vec![(resource.id(), Direction::Down)], ..Query::default() }
    }

    /// With all properties.
    pub fn with_properties(self) -> Query {
        Query { properties: vec!["*".into()], ..self }
    }

    /// Parses the parameters of a list; all that are wrong are told at once.
    pub fn parse<'a>(
        resource: &'static Resource,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Query, Vec<WrongParameter>> {
        let mut query = Query::default();
        let mut wrong = Vec::new();
        for (key, value) in pairs {
            if let Err(detail) = query.take(resource, key, value) {
                wrong.push(WrongParameter { name: key.chars().take(100).collect(), detail });
            }
        }
        if query.filters.len() > CONDITIONS_MAX {
            wrong.push(WrongParameter {
                name: query.filters[CONDITIONS_MAX].field.name.into(),
                detail: format!("there are more than {CONDITIONS_MAX} conditions; make several queries"),
            });
        }
        if wrong.is_empty() { Ok(query) } else { Err(wrong) }
    }

    fn take(&mut self, resource: &'static Resource, key: &str, value: &str) -> Result<(), String> {
        if value.contains('\0') {
            return Err("a value cannot contain a NUL character".into());
        }
        match key {
            "limit" => {
                self.limit = number(value)?;
                if !(0..=LIMIT_MAX).contains(&self.limit) {
                    return Err(format!(
                        "give 0 to {LIMIT_MAX}; for more rows follow `meta.next`, or filter by `{}`",
                        resource.id().name
                    ));
                }
            }
            "offset" => {
                self.offset = number(value)?;
                if self.offset < 0 {
                    return Err("an offset is not negative".into());
                }
            }
            "field" => {
                let field = known(resource, value)?;
                if !self.fields.iter().any(|f| f.name == field.name) {
                    self.fields.push(field);
                }
            }
            "order" => {
                let (name, direction) = match value.strip_prefix('-') {
                    Some(name) => (name, Direction::Down),
                    None => (value, Direction::Up),
                };
                let field = known(resource, name)?;
                if !field.kind.comparable() {
                    return Err(format!("`{name}` has no order"));
                }
                if self.order.len() == 5 {
                    return Err("at most five fields can give the order".into());
                }
                self.order.push((field, direction));
            }
            "property" if resource.fields.iter().any(|f| f.kind == Kind::Properties) => {
                if self.properties.len() == VALUES_MAX {
                    return Err(format!("at most {VALUES_MAX} names"));
                }
                self.properties.push(value.to_owned());
            }
            _ => return self.filter(resource, key, value),
        }
        Ok(())
    }

    fn filter(&mut self, resource: &'static Resource, key: &str, value: &str) -> Result<(), String> {
        let (name, op) = match key.rsplit_once("__") {
            Some((name, suffix)) => match Op::of(suffix) {
                Some(op) => (name, op),
                None => {
                    return Err(format!(
                        "there is no operator `{}`; there are eq, ne, lt, le, gt, ge and contains",
                        suffix.chars().take(40).collect::<String>()
                    ));
                }
            },
            None => (key, Op::Eq),
        };
        let field = known(resource, name)?;
        if !field.kind.comparable() || !op.fits(field.kind) {
            let can = match field.kind {
                Kind::Json | Kind::Properties => "cannot be compared",
                Kind::Texts => "is a list: use `__contains`",
                Kind::Bool => "can be compared with eq and ne",
                Kind::Int | Kind::Time => "can be compared with eq, ne, lt, le, gt and ge",
                Kind::Text => "can be compared with eq, ne, lt, le, gt, ge and contains",
            };
            return Err(format!("`{name}` {can}"));
        }
        let values = match field.kind {
            Kind::Int | Kind::Time => Values::Ints(vec![number(value)?]),
            Kind::Bool => Values::Bools(vec![boolean(value)?]),
            _ => Values::Texts(vec![value.to_owned()]),
        };
        // The same condition again adds an alternative, as in Buildbot.
        let several = matches!(op, Op::Eq | Op::Ne | Op::Contains);
        match self.filters.iter_mut().find(|f| several && f.op == op && f.field.name == field.name) {
            None => self.filters.push(Filter { field, op, values }),
            Some(f) => match (&mut f.values, values) {
                (Values::Ints(a), Values::Ints(b)) if a.len() < VALUES_MAX => a.extend(b),
                (Values::Texts(a), Values::Texts(b)) if a.len() < VALUES_MAX => a.extend(b),
                (Values::Bools(a), Values::Bools(b)) if a.len() < VALUES_MAX => a.extend(b),
                _ => return Err(format!("at most {VALUES_MAX} values")),
            },
        }
        Ok(())
    }

    /// Whether rows come in the order of their key, and in which direction:
    /// then a page can go on from the last key instead of counting an offset.
    pub fn by_id(&self, resource: &Resource) -> Option<Direction> {
        match self.order.as_slice() {
            [] => Some(Direction::Up),
            [(field, direction), ..] if field.name == resource.id().name => Some(*direction),
            _ => None,
        }
    }
}

fn known(resource: &'static Resource, name: &str) -> Result<&'static Field, String> {
    if let Some(field) = resource.field(name) {
        return Ok(field);
    }
    let operators = ["limit", "offset", "order", "field"];
    let shown: String = name.chars().take(100).collect();
    let mut detail = format!("{} have no field `{shown}`", resource.name);
    match resource.nearest(name).or_else(|| nearest(name, operators.into_iter())) {
        Some(near) => detail += &format!("; did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = resource.fields.iter().map(|f| f.name).collect();
            detail += &format!("; there are {}", names.join(", "));
        }
    }
    Err(detail)
}

fn number(value: &str) -> Result<i64, String> {
    value.trim().parse().map_err(|_| format!("`{}` is not a whole number", value.chars().take(40).collect::<String>()))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err("give true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::builds::BUILDS;

    fn parse(text: &str) -> Result<Query, Vec<WrongParameter>> {
        Query::parse(&BUILDS, text.split('&').map(|p| p.split_once('=').unwrap()))
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_the_nearest() {
        let wrong = parse("buidlerid=3&limit=5").unwrap_err();
        assert_eq!(wrong.len(), 1);
        assert_eq!(wrong[0].name, "buidlerid");
        assert!(wrong[0].detail.contains("did you mean `builderid`"), "{}", wrong[0].detail);
    }

    #[test]
    fn values_of_one_condition_are_alternatives() {
        let q = parse("results=2&results__eq=4&number__gt=7&number__gt=9").unwrap();
        assert_eq!(q.filters[0].values, Values::Ints(vec![2, 4]));
        assert_eq!(q.filters.len(), 3);
    }

    #[test]
    fn what_cannot_be_compared_says_what_can() {
        for bad in [
            "number=x",
            "number__like=3",
            "properties=1",
            "order=properties",
            "limit=1001",
            "offset=-1",
            "complete=maybe",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_order_by_the_key_can_be_paged_by_the_key() {
        assert_eq!(parse("order=-buildid").unwrap().by_id(&BUILDS), Some(Direction::Down));
        assert_eq!(parse("limit=1").unwrap().by_id(&BUILDS), Some(Direction::Up));
        assert_eq!(parse("order=number").unwrap().by_id(&BUILDS), None);
    }
}
