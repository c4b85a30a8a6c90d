//! Lines over time, or over rows as they come; a missing value is a gap.

use super::columns::Frame;
use super::data::Data;
use super::{at, escaped};
use std::fmt::Write;

pub fn draw(data: &Data) -> (f64, String) {
    let (mut low, high) = data.range(false);
    let least = data.series.iter().flat_map(|s| s.values.iter().flatten().copied()).fold(f64::INFINITY, f64::min);
    // What moves far above zero would be flat with it; a line, unlike a bar, needs none.
    if least > 0.6 * high && least < high {
        low = least - (high - least) * 0.1;
    }
    let mut frame = Frame::new(data, low, high);
    let places = data.labels.len();
    let ends = data.times.as_ref().map(|t| {
        (t.iter().copied().fold(f64::INFINITY, f64::min), t.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    });
    let (left, right) = (frame.left, frame.right);
    let x = |n: usize| {
        let share = match (&data.times, ends) {
            (Some(times), Some((first, last))) if last > first => (times[n] - first) / (last - first),
            _ if places > 1 => n as f64 / (places - 1) as f64,
            _ => 0.5,
        };
        at(left + 16.0 + share * (right - left - 32.0))
    };
    for (s, series) in data.series.iter().enumerate() {
        let mut path = String::new();
        let mut drawing = false;
        for (n, value) in series.values.iter().enumerate() {
            match value {
                Some(value) => {
                    let _ = write!(path, "{}{} {} ", if drawing { "L" } else { "M" }, x(n), frame.y(*value));
                    drawing = true;
                }
                None => drawing = false,
            }
        }
        let _ = writeln!(frame.out, "<path class=\"path s{}\" d=\"{}\"/>", s % 6, path.trim_end());
        let radius = if places > 120 { 1.5 } else { 3.5 };
        for (n, value) in series.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let _ = writeln!(
                frame.out,
                "<circle class=\"s{}\" cx=\"{}\" cy=\"{}\" r=\"{radius}\"><title>{}: {} {}</title></circle>",
                s % 6,
                x(n),
                frame.y(*value),
                escaped(&data.labels[n]),
                escaped(&series.name),
                series.shown(*value)
            );
        }
    }
    for n in data.labelled(7) {
        frame.label(x(n), &data.labels[n]);
    }
    frame.done()
}
