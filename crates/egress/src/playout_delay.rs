//! Playout delay of viewers in the configuration: `"auto"`, or bounds such as `"0ms..200ms"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use distributary_config::time;
use distributary_webrtc::peer::DelayPolicy;
use distributary_webrtc::rtp::extension::PlayoutDelay;

/// The playout delay that viewers are asked to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayoutDelaySetting {
    /// `"auto"`: as long as repairs of lost packets need on the viewer's path.
    #[default]
    Auto,
    /// `""`: the viewer decides.
    Viewer,
    /// The shortest and the longest delay.
    Bounds(Duration, Duration),
}

/// The value is neither `"auto"` nor two durations with two dots between them, the lesser first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected \"auto\", \"\", or the least and the most delay, such as \"0ms..200ms\" (at most {} s), \
     instead of {value:?}",
    PlayoutDelay::MAX_MILLIS / 1000
)]
pub struct PlayoutDelayError {
    value: String,
}

impl PlayoutDelaySetting {
    /// Returns the policy for the peers of viewers.
    pub fn policy(self) -> DelayPolicy {
        match self {
            Self::Auto => DelayPolicy::Auto,
            Self::Viewer => DelayPolicy::Viewer,
            Self::Bounds(min, max) => {
                extension(min, max).map_or(DelayPolicy::Viewer, DelayPolicy::Fixed)
            }
        }
    }
}

fn extension(min: Duration, max: Duration) -> Option<PlayoutDelay> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
    PlayoutDelay::from_millis(millis(min)?, millis(max)?)
}

impl FromStr for PlayoutDelaySetting {
    type Err = PlayoutDelayError;

    fn from_str(text: &str) -> Result<Self, PlayoutDelayError> {
        match text {
            "auto" => return Ok(Self::Auto),
            "" => return Ok(Self::Viewer),
            _ => {}
        }
        let bounds = text.split_once("..").and_then(|(min, max)| {
            Some((time::parse(min.trim()).ok()?, time::parse(max.trim()).ok()?))
        });
        bounds
            .filter(|(min, max)| extension(*min, *max).is_some())
            .map(|(min, max)| Self::Bounds(min, max))
            .ok_or_else(|| PlayoutDelayError {
                value: text.to_owned(),
            })
    }
}

impl fmt::Display for PlayoutDelaySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Viewer => Ok(()),
            Self::Bounds(min, max) => {
                write!(f, "{}..{}", time::Display(*min), time::Display(*max))
            }
        }
    }
}

distributary_config::serde_as_text!(PlayoutDelaySetting);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_auto_or_two_durations_or_empty() {
        for (text, policy) in [
            ("auto", DelayPolicy::Auto),
            ("", DelayPolicy::Viewer),
            ("0ms..200ms", fixed(0, 200)),
            ("40ms..1s", fixed(40, 1000)),
        ] {
            let setting: PlayoutDelaySetting = text.parse().unwrap();
            assert_eq!(setting.to_string(), text);
            assert_eq!(setting.policy(), policy);
        }
    }

    fn fixed(min: u64, max: u64) -> DelayPolicy {
        DelayPolicy::Fixed(PlayoutDelay::from_millis(min, max).unwrap())
    }

    #[test]
    fn bounds_that_the_extension_cannot_carry_are_refused() {
        for text in [
            "0ms",
            "200ms..0ms",
            "0..200",
            "0ms..41s",
            "0ms-200ms",
            "Auto",
        ] {
            let error = text.parse::<PlayoutDelaySetting>().unwrap_err().to_string();
            assert!(error.contains("\"0ms..200ms\" (at most 40 s)"), "{error}");
        }
    }
}
