//! JSON: what was asked, the columns, and an object a row, in their order.

use crate::report::head::ChartKind;
use crate::report::table::{Cell, Column, ColumnJson, Table, instant};
use crate::report::{Report, Unit, Values};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The answer to a report.
pub fn json(report: &Report, values: &Values, table: &Table) -> String {
    #[derive(Serialize)]
    struct Answer<'t> {
        report: Value,
        parameters: Value,
        columns: Vec<ColumnJson>,
        rows: Vec<Row<'t>>,
        meta: Value,
    }
    let parameters = report.head.parameters.iter().enumerate().map(|(n, p)| (p.name.clone(), json!(values.text(n))));
    let answer = Answer {
        report: json!({ "name": report.name, "title": report.head.title, "question": report.head.question }),
        parameters: Value::Object(parameters.collect()),
        columns: table.columns.iter().map(Column::json).collect(),
        rows: table.rows.iter().map(|row| Row(&table.columns, row)).collect(),
        meta: json!({ "rows": table.rows.len(), "more": table.more }),
    };
    serde_json::to_string(&answer).unwrap_or_else(|_| "{}".into())
}

/// A report as lists describe it.
pub fn report_json(report: &Report) -> Value {
    let head = &report.head;
    let parameters = head.parameters.iter().map(
        |p| json!({ "name": p.name, "type": p.kind.sql(), "default": p.default, "choices": p.choices, "doc": p.doc }),
    );
    let columns = head.columns.iter().map(|c| json!({ "name": c.name, "unit": c.unit.name(), "doc": c.doc }));
    json!({
        "name": report.name, "title": head.title, "group": head.group, "question": head.question, "read": head.read,
        "built_in": report.built_in,
        "chart": head.chart.as_ref().map(|c| match c.kind {
            ChartKind::Line => "line",
            ChartKind::Bars => "bars",
            ChartKind::Stacked => "stacked",
            ChartKind::Heatmap => "heatmap",
        }),
        "parameters": parameters.collect::<Vec<_>>(), "columns": columns.collect::<Vec<_>>(),
    })
}

/// The table of an answer of [`json`].
pub fn from_json(answer: &Value) -> Option<Table> {
    let columns: Vec<ColumnJson> = serde_json::from_value(answer.get("columns")?.clone()).ok()?;
    let columns: Vec<Column> = columns
        .into_iter()
        .map(|c| Column { unit: Unit::of(&c.unit).unwrap_or(Unit::Text), name: c.name, doc: c.doc })
        .collect();
    let cell = |value: &Value, unit: Unit| match value {
        Value::Bool(b) => Cell::Bool(*b),
        Value::Number(n) => n.as_i64().map_or_else(|| Cell::Float(n.as_f64().unwrap_or(f64::NAN)), Cell::Int),
        Value::String(text) if unit == Unit::Time => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(at) => Cell::Time(at),
            Err(_) => Cell::Text(text.clone()),
        },
        Value::String(text) => Cell::Text(text.clone()),
        _ => Cell::Null,
    };
    let row = |row: &Value| columns.iter().map(|c| cell(&row[&c.name], c.unit)).collect();
    let rows = answer.get("rows")?.as_array()?.iter().map(row).collect();
    Some(Table { rows, more: answer["meta"]["more"].as_bool().unwrap_or(false), columns })
}

struct Row<'t>(&'t [Column], &'t [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            match cell {
                Cell::Null => map.serialize_entry(&column.name, &())?,
                Cell::Bool(b) => map.serialize_entry(&column.name, b)?,
                Cell::Int(n) => map.serialize_entry(&column.name, n)?,
                // What is no number for JSON is null there.
                Cell::Float(f) => map.serialize_entry(&column.name, &Some(*f).filter(|f| f.is_finite()))?,
                Cell::Text(text) => map.serialize_entry(&column.name, text)?,
                Cell::Time(at) => map.serialize_entry(&column.name, &instant(*at))?,
            }
        }
        map.end()
    }
}
