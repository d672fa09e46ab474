//! Whether everything returns when all clients have left.

use super::course::{Course, value};
use super::sample::QUANTITIES;

/// Returns a sentence about each value that stays above what it was before the clients came.
pub(super) fn findings(course: &Course) -> Vec<String> {
    let quantities = QUANTITIES.iter().enumerate();
    let findings = quantities.filter_map(|(index, quantity)| {
        let before = value(&course.before, index);
        let after = value(&course.after, index);
        // A comparison with an unknown value is false.
        let has_returned = after <= before + quantity.remainder;
        (!has_returned).then(|| {
            format!(
                "{} was {before:.1} before all clients, and is {after:.1} after them: more than {} above it",
                quantity.name, quantity.remainder
            )
        })
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::sample::{COUNT, SESSIONS};

    #[test]
    fn only_what_stays_is_a_finding() {
        let mut course = Course {
            before: [10.0; COUNT],
            ..Course::default()
        };
        course.after = course.before;
        assert!(findings(&course).is_empty());
        course.after[SESSIONS] += 1.0;
        let found = findings(&course);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("sessions was 10.0"), "{found:?}");
        course.after[SESSIONS] = f64::NAN;
        assert_eq!(findings(&course).len(), 1);
    }
}
