//! A share of a limit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of a limit, from 0 to 1, in whole percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u8);

/// A number is not a [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("expected a share from 0.0 to 1.0 instead of {0}")]
pub struct ShareError(f64);

impl Share {
    /// Returns the share of this many percent, 100 at most.
    pub const fn percent(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    /// Returns the share that `part` is of `whole`; all of it if that is less, or nothing.
    pub fn of(part: usize, whole: usize) -> Self {
        let percent = part.saturating_mul(100).checked_div(whole).unwrap_or(100);
        Self::percent(u8::try_from(percent).unwrap_or(100))
    }

    /// Returns the share in percent.
    pub fn as_percent(self) -> u8 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = ShareError;

    fn try_from(share: f64) -> Result<Self, ShareError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(ShareError(share));
        }
        // From 0 to 100.
        Ok(Self((share * 100.0).round() as u8))
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        Self::from(share.0) / 100.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_a_number_from_0_to_1() {
        assert_eq!(Share::try_from(0.9), Ok(Share::percent(90)));
        assert_eq!(serde_json::to_string(&Share::percent(90)).unwrap(), "0.9");
        assert_eq!(serde_json::from_str::<Share>("1").unwrap(), Share(100));
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Share::try_from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn part_of_nothing_is_all() {
        assert_eq!(Share::of(1, 4), Share(25));
        assert_eq!(Share::of(5, 4), Share(100));
        assert_eq!(Share::of(0, 0), Share(100));
        assert_eq!(Share::of(usize::MAX, 1), Share(100));
    }
}
