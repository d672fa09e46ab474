//! Whether values grow.

/// Part of the mean by which a value may grow over the observed time: with clients that come and go,
/// none is constant.
const RELATIVE: f64 = 0.05;

/// The course of one value as a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    pub(super) mean: f64,
    pub(super) max: f64,
    /// Growth over the observed time, along the line.
    pub(super) growth: f64,
    /// Growth in an hour, along the line.
    pub(super) per_hour: f64,
    /// Growth over the observed time that is still called flat.
    pub(super) allowed: f64,
}

impl Trend {
    /// Fits the line with the least squares to values at seconds; `None` for fewer than three.
    pub(super) fn of(points: &[(f64, f64)], tolerance: f64) -> Option<Self> {
        let (&(begin, _), &(end, _)) = (points.first()?, points.last()?);
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let mean_time = points.iter().map(|(time, _)| time).sum::<f64>() / count;
        let mean = points.iter().map(|(_, value)| value).sum::<f64>() / count;
        let product = |(time, value): &(f64, f64)| (time - mean_time) * (value - mean);
        let square = |(time, _): &(f64, f64)| (time - mean_time).powi(2);
        let slope =
            points.iter().map(product).sum::<f64>() / points.iter().map(square).sum::<f64>();
        Some(Self {
            mean,
            max: points
                .iter()
                .map(|(_, value)| *value)
                .fold(f64::MIN, f64::max),
            growth: slope * (end - begin),
            per_hour: slope * 3600.0,
            allowed: tolerance.max(mean * RELATIVE),
        })
    }

    /// Returns whether the value does not grow. One that is not known grows.
    pub(super) fn is_flat(&self) -> bool {
        self.growth <= self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let times = (0..60).map(|sample| f64::from(sample) * 10.0);
        times.map(|time| (time, value(time))).collect()
    }

    #[test]
    fn growth_is_that_of_the_line_through_the_values() {
        let zigzag = |time: f64| if time % 20.0 == 0.0 { 3.0 } else { -3.0 };
        let leak = Trend::of(&points(|time| 100.0 + time / 60.0 + zigzag(time)), 4.0).unwrap();
        assert!((leak.per_hour - 60.0).abs() < 2.0, "{leak:?}");
        assert!((leak.growth - 590.0 / 60.0).abs() < 0.3, "{leak:?}");
        assert!(!leak.is_flat(), "{leak:?}");
        let flat = Trend::of(&points(|time| 100.0 + zigzag(time)), 4.0).unwrap();
        assert!(flat.growth.abs() < 0.3 && flat.is_flat(), "{flat:?}");
        assert_eq!(flat.max, 103.0);
    }

    #[test]
    fn tolerance_is_the_larger_of_both() {
        let large = Trend::of(&points(|time| 1000.0 + time / 20.0), 4.0).unwrap();
        assert!(large.growth > 29.0 && large.is_flat(), "{large:?}");
        let small = Trend::of(&points(|time| time / 200.0), 4.0).unwrap();
        assert!(small.growth > 2.9 && small.is_flat(), "{small:?}");
        assert!(
            !Trend::of(&points(|time| time / 100.0), 4.0)
                .unwrap()
                .is_flat()
        );
    }

    #[test]
    fn value_that_falls_does_not_grow_and_unknown_ones_do() {
        assert!(
            Trend::of(&points(|time| 900.0 - time), 4.0)
                .unwrap()
                .is_flat()
        );
        assert!(!Trend::of(&points(|_| f64::NAN), 4.0).unwrap().is_flat());
        assert_eq!(Trend::of(&[(0.0, 1.0), (10.0, 2.0)], 4.0), None);
    }
}
