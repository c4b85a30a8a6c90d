//! The head of a report: comment lines `-- key: text` before the query.
//!
//! A line that begins with `--` and two or more spaces goes on with the one before.

use super::parameters::Parameter;
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub title: String,
    /// Under which heading it stands in lists.
    pub group: String,
    pub question: String,
    pub parameters: Vec<Parameter>,
    /// What columns mean; a report may leave out those that speak for themselves.
    pub columns: Vec<ColumnDoc>,
    pub chart: Option<Chart>,
    /// How to read it, and what to do.
    pub read: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDoc {
    pub name: String,
    pub unit: Unit,
    pub doc: String,
}

/// What the numbers of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Text,
    Time,
    Count,
    /// A number that names something: not for adding up.
    Id,
    Number,
    Seconds,
    Hours,
    Percent,
    /// Differences of percents.
    Points,
    Bytes,
    Money,
}

impl Unit {
    pub const ALL: [Unit; 11] = [
        Unit::Text,
        Unit::Time,
        Unit::Count,
        Unit::Id,
        Unit::Number,
        Unit::Seconds,
        Unit::Hours,
        Unit::Percent,
        Unit::Points,
        Unit::Bytes,
        Unit::Money,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Unit::Text => "text",
            Unit::Time => "time",
            Unit::Count => "count",
            Unit::Id => "id",
            Unit::Number => "number",
            Unit::Seconds => "seconds",
            Unit::Hours => "hours",
            Unit::Percent => "percent",
            Unit::Points => "points",
            Unit::Bytes => "bytes",
            Unit::Money => "money",
        }
    }

    pub fn of(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|u| u.name() == name)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartKind {
    Line,
    Bars,
    Stacked,
    Heatmap,
}

/// Which picture is made of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    pub kind: ChartKind,
    /// What its places are called by: one column, or several together.
    pub x: Vec<String>,
    /// One series each; for a heatmap the one column of its rows.
    pub y: Vec<String>,
    /// What a field of a heatmap shows.
    pub value: Option<String>,
}

type Wrong = (usize, String);
type Entry = (usize, String, String);

impl Head {
    /// The head of a file, and the line on which the query begins.
    pub(super) fn parse(text: &str) -> Result<(Head, usize), Wrong> {
        let (entries, first_line) = entries(text)?;
        let mut title = None;
        let mut group = None;
        let mut question = None;
        let mut chart = None;
        let mut read: Vec<String> = Vec::new();
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut columns: Vec<ColumnDoc> = Vec::new();
        for (line, key, value) in entries {
            let at = |detail: String| (line, detail);
            let once = |slot: &mut Option<(usize, String)>| match slot.replace((line, value.clone())) {
                Some(_) => Err(at(format!("`{key}:` stands twice"))),
                None => Ok(()),
            };
            match key.as_str() {
                "title" => once(&mut title)?,
                "group" => once(&mut group)?,
                "question" => once(&mut question)?,
                "chart" => once(&mut chart)?,
                "read" => read.push(value),
                "parameter" => {
                    let parameter = Parameter::parse(&value).map_err(at)?;
                    if parameters.iter().any(|p| p.name == parameter.name) {
                        return Err((line, format!("the parameter `{}` stands twice", parameter.name)));
                    }
                    parameters.push(parameter);
                }
                "column" => {
                    let column = column(&value).map_err(at)?;
                    if columns.iter().any(|c| c.name == column.name) {
                        return Err((line, format!("the column `{}` stands twice", column.name)));
                    }
                    columns.push(column);
                }
                other => {
                    return Err((
                        line,
                        format!(
                            "`{other}:` is no part of a head; there are title, group, question, parameter, column, chart, read"
                        ),
                    ));
                }
            }
        }
        let needed = |found: Option<(usize, String)>, key: &str| {
            found
                .map(|(_, text)| text)
                .filter(|t| !t.is_empty())
                .ok_or_else(|| (1, format!("the head has no `-- {key}: …`")))
        };
        let chart = match chart {
            None => None,
            Some((line, text)) => parse_chart(&text, &columns).map_err(|detail| (line, detail))?,
        };
        let head = Head {
            title: needed(title, "title")?,
            question: needed(question, "question")?,
            group: group.map_or_else(|| "Own".to_owned(), |(_, text)| text),
            parameters,
            columns,
            chart,
            read: read.join("\n"),
        };
        Ok((head, first_line))
    }

    pub fn column(&self, name: &str) -> Option<&ColumnDoc> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Line, key and value of each entry, and the first line after the head.
fn entries(text: &str) -> Result<(Vec<Entry>, usize), Wrong> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut line = 0;
    for text in text.lines() {
        line += 1;
        let Some(rest) = text.trim_end().strip_prefix("--") else { return Ok((entries, line)) };
        if rest.starts_with("  ") || rest.starts_with('\t') {
            let Some((_, _, value)) = entries.last_mut() else {
                return Err((line, "this line goes on with one that is not there".into()));
            };
            value.push(' ');
            value.push_str(rest.trim());
        } else if !rest.trim().is_empty() {
            let Some((key, value)) = rest.trim().split_once(':') else {
                return Err((
                    line,
                    "a line of the head is `-- key: text`, or goes on after `--` and two spaces".into(),
                ));
            };
            entries.push((line, key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok((entries, line + 1))
}

/// `name | unit | meaning`
fn column(text: &str) -> Result<ColumnDoc, String> {
    let mut parts = text.splitn(3, '|').map(str::trim);
    let (Some(name), Some(unit), Some(doc)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a column is `name | unit | meaning`".into());
    };
    let unit = Unit::of(unit).ok_or_else(|| {
        let known: Vec<&str> = Unit::ALL.iter().map(|u| u.name()).collect();
        format!("`{unit}` is no unit; there are {}", known.join(", "))
    })?;
    match name.is_empty() || doc.is_empty() {
        true => Err("a column is `name | unit | meaning`".into()),
        false => Ok(ColumnDoc { name: name.to_owned(), unit, doc: doc.to_owned() }),
    }
}

/// `bars x=builder y=good,bad`, or `none`.
fn parse_chart(text: &str, columns: &[ColumnDoc]) -> Result<Option<Chart>, String> {
    let mut words = text.split_whitespace();
    let kind = match words.next().unwrap_or_default() {
        "none" => return Ok(None),
        "line" => ChartKind::Line,
        "bars" => ChartKind::Bars,
        "stacked" => ChartKind::Stacked,
        "heatmap" => ChartKind::Heatmap,
        other => return Err(format!("`{other}` is no chart; there are line, bars, stacked, heatmap, none")),
    };
    let (mut x, mut y, mut value) = (Vec::new(), Vec::new(), None);
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    for word in words {
        match word.split_once('=') {
            Some(("x", names)) => x = list(names),
            Some(("y", names)) => y = list(names),
            Some(("value", name)) => value = Some(name.to_owned()),
            _ => {
                return Err(format!(
                    "`{word}` is not known here; a chart has x=COLUMN[,COLUMN …], y=COLUMN[,COLUMN …], value=COLUMN"
                ));
            }
        }
    }
    if x.is_empty() || y.is_empty() {
        return Err("a chart needs x=COLUMN and y=COLUMN".into());
    }
    let heatmap = kind == ChartKind::Heatmap;
    if heatmap != value.is_some() || (heatmap && (x.len(), y.len()) != (1, 1)) {
        return Err("a heatmap has one x, one y and value=COLUMN, other charts have no value".into());
    }
    let known = |name: &&String| columns.is_empty() || columns.iter().any(|c| c.name == **name);
    match x.iter().chain(&y).chain(&value).find(|name| !known(name)) {
        Some(name) => Err(format!("the chart's `{name}` is no column of the head")),
        None => Ok(Some(Chart { kind, x, y, value })),
    }
}
