//! Bounds of the playout delay of viewers, in the format of the configuration: `"0ms..200ms"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use distributary_config::time;
use distributary_webrtc::rtp::extension::PlayoutDelay;

/// Least and most delay. An empty text means none: the viewer decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayBounds(Option<(Duration, Duration)>);

/// The value is not two durations with two dots between them, the lesser first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected \"\" or the least and the most delay, such as \"0ms..200ms\" (at most {} s), instead of {value:?}",
    PlayoutDelay::MAX_MILLIS / 1000
)]
pub struct DelayError {
    value: String,
}

impl DelayBounds {
    /// Returns the bounds to send; `None` if the viewer decides.
    pub fn playout_delay(self) -> Option<PlayoutDelay> {
        let (min, max) = self.0?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
        PlayoutDelay::from_millis(millis(min)?, millis(max)?)
    }
}

impl FromStr for DelayBounds {
    type Err = DelayError;

    fn from_str(text: &str) -> Result<Self, DelayError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let bounds = text.split_once("..").and_then(|(min, max)| {
            Some((time::parse(min.trim()).ok()?, time::parse(max.trim()).ok()?))
        });
        let bounds = Self(bounds);
        match bounds.playout_delay() {
            Some(_) => Ok(bounds),
            None => Err(DelayError {
                value: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for DelayBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((min, max)) => write!(f, "{}..{}", time::Display(min), time::Display(max)),
            None => Ok(()),
        }
    }
}

distributary_config::serde_as_text!(DelayBounds);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_two_durations_or_none() {
        for text in ["", "0ms..200ms", "40ms..1s"] {
            let bounds: DelayBounds = text.parse().unwrap();
            assert_eq!(bounds.to_string(), text);
            let expected = match text {
                "" => None,
                "0ms..200ms" => PlayoutDelay::from_millis(0, 200),
                _ => PlayoutDelay::from_millis(40, 1000),
            };
            assert_eq!(bounds.playout_delay(), expected);
        }
    }

    #[test]
    fn bounds_that_the_extension_cannot_carry_are_refused() {
        for text in ["0ms", "200ms..0ms", "0..200", "0ms..41s", "0ms-200ms"] {
            let error = text.parse::<DelayBounds>().unwrap_err().to_string();
            assert!(error.contains("\"0ms..200ms\" (at most 40 s)"), "{error}");
        }
    }
}
