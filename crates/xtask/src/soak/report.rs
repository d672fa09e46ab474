//! The results as text and as comma-separated values.

use std::fmt::Write as _;
use std::time::Duration;

use super::course::{Course, value};
use super::outcome::Soak;
use super::sample::{QUANTITIES, Sample};

/// Characters of a curve.
const WIDTH: usize = 60;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns a line about one sample.
pub(super) fn progress(at: Duration, sample: &Sample) -> String {
    let mut line = format!("{:>5} s", at.as_secs());
    for (quantity, value) in QUANTITIES.iter().zip(sample) {
        // It fails for no string.
        let _ = write!(line, "  {} {value:.1}", quantity.name);
    }
    line
}

/// Returns a table with a line for each value.
pub(super) fn table(soak: &Soak) -> String {
    let mut text = format!(
        "{:<13}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}  {:<8}{:>9}\n",
        "", "before", "mean", "max", "growth", "per hour", "flat is <", "", "after"
    );
    let quantities = QUANTITIES.iter().zip(&soak.trends).enumerate();
    for (index, (quantity, trend)) in quantities {
        let verdict = if trend.is_flat() { "flat" } else { "GROWS" };
        // It fails for no string.
        let _ = writeln!(
            text,
            "{:<13}{:>9.1}{:>9.1}{:>9.1}{:>10.2}{:>10.1}{:>10.2}  {verdict:<8}{:>9.1}",
            quantity.name,
            value(&soak.course.before, index),
            trend.mean,
            trend.max,
            trend.growth,
            trend.per_hour,
            trend.allowed,
            value(&soak.course.after, index)
        );
    }
    text
}

/// Returns a curve for each value, from zero to its greatest.
pub(super) fn curves(course: &Course) -> String {
    let mut text = String::new();
    for (index, quantity) in QUANTITIES.iter().enumerate() {
        let values: Vec<f64> = course
            .load
            .iter()
            .map(|(_, sample)| value(sample, index))
            .collect();
        // It fails for no string.
        let _ = writeln!(text, "{:<13}{}", quantity.name, curve(&values));
    }
    text
}

fn curve(values: &[f64]) -> String {
    let columns = values.len().min(WIDTH);
    let max = values.iter().copied().fold(0.0, f64::max);
    let block = |column: usize| {
        let sample = column * values.len() / columns;
        let part = values.get(sample).map_or(0.0, |value| value / max);
        let height = part * (BLOCKS.len() - 1) as f64;
        BLOCKS.get(height.round() as usize).copied().unwrap_or(' ')
    };
    (0..columns).map(block).collect()
}

/// Returns all samples. Those before and after the load have no time.
pub(super) fn csv(course: &Course) -> String {
    let names = QUANTITIES.map(|quantity| quantity.name.replace(' ', "_"));
    let mut text = format!("seconds,{}\n", names.join(","));
    let mut line = |time: String, sample: &Sample| {
        let values = sample.map(|value| format!("{value:.3}"));
        text += &format!("{time},{}\n", values.join(","));
    };
    line("before".to_owned(), &course.before);
    for (at, sample) in &course.load {
        line(format!("{:.1}", at.as_secs_f64()), sample);
    }
    line("after".to_owned(), &course.after);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::sample::COUNT;
    use crate::soak::trend::Trend;

    fn course() -> Course {
        let load = (0..12).map(|sample| (Duration::from_secs(sample), [sample as f64; COUNT]));
        Course {
            before: [0.0; COUNT],
            load: load.collect(),
            after: [1.0; COUNT],
        }
    }

    #[test]
    fn file_has_a_line_for_each_sample() {
        let csv = csv(&course());
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 15);
        assert!(lines[0].starts_with("seconds,rss_MiB,"), "{csv}");
        assert!(lines[4].starts_with("2.0,2.000,"), "{csv}");
        let columns = |line: &&str| line.split(',').count() == COUNT + 1;
        assert!(lines.iter().all(columns), "{csv}");
    }

    #[test]
    fn curve_goes_from_zero_to_the_greatest_value() {
        assert_eq!(curve(&[0.0, 3.5, 7.0]), "▁▅█");
        assert_eq!(curve(&[0.0; 3]), "▁▁▁");
        assert_eq!(curve(&[1.0; 600]).chars().count(), WIDTH);
        assert_eq!(curve(&[]), "");
    }

    #[test]
    fn table_names_what_grows() {
        let course = course();
        let trend = |index| Trend::of(&course.since(Duration::ZERO, index), 2.0).unwrap();
        let trends = (0..COUNT).map(trend).collect();
        let soak = Soak {
            course,
            trends,
            notes: Vec::new(),
            findings: Vec::new(),
        };
        let table = table(&soak);
        assert_eq!(table.matches("GROWS").count(), COUNT, "{table}");
    }
}
