//! Axes: round steps in a unit that people read.

use crate::report::Unit;

/// A linear axis from `low` to `high`, which are round.
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    pub fn new(low: f64, high: f64, unit: Unit, about: usize) -> Scale {
        let (low, high) = if high > low { (low, high) } else { (low, low + 1.0) };
        let (factor, word) = in_words(low.abs().max(high.abs()), unit);
        let step = round_step((high - low) / factor / about.max(1) as f64, whole(unit)) * factor;
        let first = (low / step).floor();
        let mut last = (high / step).ceil();
        if unit == Unit::Percent && high <= 100.0 {
            last = last.min((100.0 / step).ceil());
        }
        let count = ((last - first).round() as usize).min(50);
        let digits = if (step / factor).fract().abs() > 1e-9 { if step / factor < 0.1 { 2 } else { 1 } } else { 0 };
        let tick = |n: usize| {
            let value = (first + n as f64) * step;
            (value, format!("{:.digits$}{word}", value / factor))
        };
        Scale { low: first * step, high: last * step, ticks: (0..=count).map(tick).collect() }
    }

    /// Where a value stands, from 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// How much one of the words on the axis is, and the word.
fn in_words(size: f64, unit: Unit) -> (f64, &'static str) {
    let sized = |steps: &[(f64, f64, &'static str)]| {
        steps
            .iter()
            .find(|(below, ..)| size < *below)
            .or(steps.last())
            .map_or((1.0, ""), |(_, factor, word)| (*factor, *word))
    };
    match unit {
        Unit::Seconds => sized(&[
            (0.5, 0.001, " ms"),
            (120.0, 1.0, " s"),
            (7_200.0, 60.0, " min"),
            (172_800.0, 3_600.0, " h"),
            (f64::INFINITY, 86_400.0, " d"),
        ]),
        Unit::Bytes => sized(&[
            (1024.0, 1.0, " B"),
            (1_048_576.0, 1024.0, " KiB"),
            (1_073_741_824.0, 1_048_576.0, " MiB"),
            (1_099_511_627_776.0, 1_073_741_824.0, " GiB"),
            (f64::INFINITY, 1_099_511_627_776.0, " TiB"),
        ]),
        Unit::Percent => (1.0, " %"),
        Unit::Hours => (1.0, " h"),
        _ => sized(&[(10_000.0, 1.0, ""), (10_000_000.0, 1e3, " k"), (f64::INFINITY, 1e6, " M")]),
    }
}

fn whole(unit: Unit) -> bool {
    matches!(unit, Unit::Count | Unit::Id)
}

/// 1, 2 or 5 times a power of ten, not below `raw`.
fn round_step(raw: f64, whole: bool) -> f64 {
    let power = 10f64.powf(raw.max(1e-12).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= raw * 0.999).unwrap_or(10.0 * power);
    if whole { step.max(1.0) } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, unit: Unit) -> Vec<String> {
        Scale::new(low, high, unit, 5).ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_in_the_unit_that_fits() {
        assert_eq!(labels(0.0, 100.0, Unit::Percent), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(labels(0.0, 5400.0, Unit::Seconds), ["0 min", "20 min", "40 min", "60 min", "80 min", "100 min"]);
        assert_eq!(labels(0.0, 3.0, Unit::Count), ["0", "1", "2", "3"]);
        assert_eq!(labels(0.0, 0.9, Unit::Number), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-5.0, 10.0, Unit::Points), ["-5", "0", "5", "10"]);
        assert_eq!(labels(0.0, 0.0, Unit::Count), ["0", "1"]);
        assert_eq!(labels(0.0, 2_000_000.0, Unit::Count).last().unwrap(), "2000 k");
    }
}
