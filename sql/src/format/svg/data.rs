//! The rows of a table as series over one axis.

use crate::report::Table;
use crate::report::head::{Chart, Unit};
use crate::report::table::{Cell, in_unit, minute, number};

pub struct Data {
    /// What each place on the axis is called.
    pub labels: Vec<String>,
    /// Seconds since 1970 of each, if they are all times.
    pub times: Option<Vec<f64>>,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    pub unit: Unit,
    pub values: Vec<Option<f64>>,
}

impl Series {
    pub fn shown(&self, value: f64) -> String {
        in_unit(value, self.unit)
    }
}

impl Data {
    /// None if there is nothing to draw.
    pub fn new(chart: &Chart, table: &Table) -> Option<Data> {
        let x: Vec<usize> = chart.x.iter().map(|name| table.column(name)).collect::<Option<_>>()?;
        let label = |row: &Vec<Cell>| x.iter().map(|n| table.shown(row, *n)).collect::<Vec<_>>().join(" ");
        let labels: Vec<String> = table.rows.iter().map(label).collect();
        let time = |row: &Vec<Cell>| match (&row[*x.first()?], x.len()) {
            (Cell::Time(at), 1) => Some(at.unix_timestamp() as f64),
            _ => None,
        };
        let times: Option<Vec<f64>> = table.rows.iter().map(time).collect();
        let series: Vec<Series> = chart
            .y
            .iter()
            .filter_map(|name| {
                let n = table.column(name)?;
                let column = &table.columns[n];
                let values = table.rows.iter().map(|row| number(&row[n])).collect();
                Some(Series { name: column.heading(), unit: column.unit, values })
            })
            .collect();
        let any = series.iter().any(|s| s.values.iter().any(Option::is_some));
        any.then_some(Data { labels, times, series })
    }

    /// The unit of the axis: that of the first series.
    pub fn unit(&self) -> Unit {
        self.series[0].unit
    }

    /// The least and the greatest of all values, zero among them.
    pub fn range(&self, stacked: bool) -> (f64, f64) {
        let all = || self.series.iter().flat_map(|s| s.values.iter().flatten().copied());
        let low = all().fold(0.0, f64::min);
        let high = match stacked {
            false => all().fold(0.0, f64::max),
            true => {
                let sum = |n: usize| self.series.iter().filter_map(|s| s.values[n]).map(|v| v.max(0.0)).sum::<f64>();
                (0..self.labels.len()).map(sum).fold(0.0, f64::max)
            }
        };
        (low, high)
    }

    /// Of the places on the axis those that get a label, at most so many.
    pub fn labelled(&self, most: usize) -> Vec<usize> {
        let step = self.labels.len().div_ceil(most.max(1)).max(1);
        (0..self.labels.len()).step_by(step).collect()
    }
}

/// A field's key, for axes of words: as it is shown.
pub fn key(cell: &Cell, unit: Unit) -> String {
    match cell {
        Cell::Time(at) => minute(*at),
        other => crate::report::table::shown(other, unit),
    }
}
