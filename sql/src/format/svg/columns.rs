//! Bars that stand, a column for each moment.

use super::data::Data;
use super::scale::Scale;
use super::{WIDTH, at, escaped, legend, width_of};
use std::fmt::Write;

const HEIGHT: f64 = 320.0;

/// The plot's edges, its grid and labels: also that of lines.
pub struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub scale: Scale,
    pub out: String,
}

impl Frame {
    pub fn new(data: &Data, low: f64, high: f64) -> Frame {
        let scale = Scale::new(low, high, data.unit(), 5);
        let left = scale.ticks.iter().map(|(_, label)| width_of(label)).fold(20.0, f64::max) + 20.0;
        let (right, top, bottom) = (WIDTH - 40.0, 40.0, HEIGHT - 34.0);
        let mut frame = Frame { left, right, top, bottom, scale, out: legend(data, 18.0) };
        let mut grid = String::new();
        for (value, label) in &frame.scale.ticks {
            let class = if *value == 0.0 { "zero" } else { "grid" };
            let y = frame.y(*value);
            let _ = writeln!(
                grid,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\"/>\
                 <text class=\"dim end\" x=\"{}\" y=\"{}\">{label}</text>",
                left - 8.0,
                y + 4.0
            );
        }
        frame.out.push_str(&grid);
        frame
    }

    pub fn y(&self, value: f64) -> f64 {
        at(self.bottom - self.scale.place(value) * (self.bottom - self.top))
    }

    pub fn label(&mut self, x: f64, text: &str) {
        let _ = writeln!(
            self.out,
            "<text class=\"dim mid\" x=\"{}\" y=\"{}\">{}</text>",
            at(x),
            self.bottom + 18.0,
            escaped(&super::shortened(text, 17))
        );
    }

    pub fn done(self) -> (f64, String) {
        (HEIGHT, self.out)
    }
}

pub fn draw(data: &Data, stacked: bool) -> (f64, String) {
    let (low, high) = data.range(stacked);
    let mut frame = Frame::new(data, low, high);
    let places = data.labels.len();
    let width = (frame.right - frame.left) / places as f64;
    let in_place = if stacked { 1 } else { data.series.len() };
    let bar = (width * 0.8 / in_place as f64).min(60.0);
    for n in 0..places {
        let middle = frame.left + (n as f64 + 0.5) * width;
        let mut from = 0.0;
        for (s, series) in data.series.iter().enumerate() {
            let Some(value) = series.values[n] else { continue };
            let x = middle - bar * in_place as f64 / 2.0 + if stacked { 0.0 } else { s as f64 * bar };
            let (upper, lower) = match stacked {
                true => (frame.y(from + value.max(0.0)), frame.y(from)),
                false => (frame.y(value.max(0.0)), frame.y(value.min(0.0))),
            };
            from += value.max(0.0);
            let _ = writeln!(
                frame.out,
                "<rect class=\"s{}\" x=\"{}\" y=\"{upper}\" width=\"{}\" height=\"{}\"><title>{}: {} {}</title></rect>",
                s % 6,
                at(x),
                at((bar - 1.0).max(0.5)),
                at((lower - upper).max(0.0)),
                escaped(&data.labels[n]),
                escaped(&series.name),
                series.shown(value)
            );
        }
    }
    for n in data.labelled(7) {
        frame.label(frame.left + (n as f64 + 0.5) * width, &data.labels[n]);
    }
    frame.done()
}
