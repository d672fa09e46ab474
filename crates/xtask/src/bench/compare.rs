//! Two builds in turns: on a machine whose speed changes from minute to minute, only the ratio of
//! neighboring runs means something.

use super::load::Load;

/// The costs of a load with two builds.
pub(super) struct Comparison {
    load: Load,
    shards: usize,
    /// CPU microseconds per packet of this build and of the other one, for each round.
    rounds: Vec<(f64, f64)>,
}

impl Comparison {
    pub(super) fn new(load: Load, shards: usize) -> Self {
        Self {
            load,
            shards,
            rounds: Vec::new(),
        }
    }

    /// Adds the costs of a round; those of a run without packets are unknown.
    pub(super) fn add(&mut self, this: Option<f64>, other: Option<f64>) {
        self.rounds.extend(this.zip(other));
    }

    fn line(&self) -> String {
        let median =
            |value: fn(&(f64, f64)) -> f64| median(self.rounds.iter().map(value).collect());
        let shown = |value: Option<f64>, digits: usize| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        let cells = [
            self.load.to_string(),
            self.shards.to_string(),
            self.rounds.len().to_string(),
            shown(median(|(this, _)| *this), 2),
            shown(median(|(_, other)| *other), 2),
            shown(median(|(this, other)| this / other), 3),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

/// Returns all comparisons as a table in Markdown.
pub(super) fn render(comparisons: &[Comparison]) -> String {
    let mut text = "| streams x viewers | shards | rounds | this build, CPU us/packet | the other | median of the ratios |\n\
                    | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    text.extend(comparisons.iter().map(Comparison::line));
    text
}

/// Returns the middle value, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_that_of_neighboring_runs() {
        let mut comparison = Comparison::new("1x100".parse().unwrap(), 2);
        // The machine is twice as slow in the second round.
        for (this, other) in [(0.9, 1.0), (1.8, 2.0), (1.0, 1.0)] {
            comparison.add(Some(this), Some(other));
        }
        comparison.add(None, Some(1.0));
        let rendered = render(&[comparison]);
        assert!(
            rendered.ends_with("| 1 x 100 | 2 | 3 | 1.00 | 1.00 | 0.900 |\n"),
            "{rendered}"
        );
    }

    #[test]
    fn median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
