//! Advice to a publisher about its encoder, over its own connection.

use std::time::{Duration, Instant};

use distributary_hub::{Stream, advice};

/// Interval between two looks at the stream.
const INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of messages to a publisher: many never read what they are sent.
const MAX_MESSAGES: u32 = 4;

/// The advice sent to a publisher so far.
#[derive(Debug)]
pub(super) struct AdviceSender {
    next_look: Instant,
    told: Option<String>,
    messages: u32,
}

impl AdviceSender {
    /// Creates the state for a publisher that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_look: now + INTERVAL,
            told: None,
            messages: 0,
        }
    }

    /// Returns advice that the publisher was not told yet.
    pub(super) fn next(&mut self, stream: &Stream, now: Instant) -> Option<String> {
        if now < self.next_look || self.messages >= MAX_MESSAGES {
            return None;
        }
        self.next_look = now + INTERVAL;
        let advice = advice::of(&stream.stats())?;
        if self.told.as_ref() == Some(&advice) {
            return None;
        }
        self.messages += 1;
        self.told = Some(advice.clone());
        Some(advice)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_hub::{Hub, HubConfig, MissingAudio};
    use distributary_names::StreamName;

    #[test]
    fn new_advice_is_given_once_and_not_without_end() {
        let (hub, start) = (Hub::new(HubConfig::default()), Instant::now());
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, start).unwrap();
        let mut sender = AdviceSender::new(start);
        let mut now = start;
        let mut after = |reason: Option<&str>| {
            publisher.set_missing_audio(reason.map(|reason| MissingAudio {
                reason: reason.to_owned(),
            }));
            assert_eq!(sender.next(publisher.stream(), now), None, "too early");
            now += INTERVAL;
            sender.next(publisher.stream(), now)
        };
        assert_eq!(after(None), None);
        assert!(
            after(Some("it is broken"))
                .unwrap()
                .contains("it is broken")
        );
        assert_eq!(after(Some("it is broken")), None);
        let more = (0..10).filter_map(|n| after(Some(&format!("reason {n}"))));
        assert_eq!(more.count() as u32, MAX_MESSAGES - 1);
    }
}
