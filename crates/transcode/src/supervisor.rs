//! Decides whether and when an ended encoder is restarted, without a clock.

use std::time::Duration;

/// Backoff between two encoders: first and maximum.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Run time after which the backoff starts over.
const STABLE: Duration = Duration::from_secs(10);

/// Minimum backoff after an encoder without output; meanwhile viewers get the stream itself.
const NO_OUTPUT_BACKOFF: Duration = Duration::from_secs(10);

/// The way in which an encoder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The stream has changed, so that it needs another encoder.
    Changed,
    /// The stream's publisher has left.
    Offline,
    /// No viewer needs the transcode.
    Unwatched,
    /// The encoder failed, or could not be started.
    Failed {
        /// Its run time.
        after: Duration,
        /// True if it returned frames.
        has_output: bool,
    },
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start another encoder at once.
    Again,
    /// Start another when the stream's publisher reconnects, if somebody still watches then.
    AwaitPublisher,
    /// Start another after this time, if somebody still watches then. The rendition stays live.
    Pause(Duration),
    /// Start another after this time, but end the rendition meanwhile, so that viewers get the
    /// stream itself.
    GiveUpFor(Duration),
    /// Stop.
    Stop,
}

/// Decides what to do when an encoder ends.
///
/// ```text
///            Changed: again          Failed with output: pause, twice as long each time
///   encoder ─────────────► encoder ──────────────────────────────────────────────────────► encoder
///      │ Offline: await publisher    Failed without: the rendition ends for a while
///      └─ Unwatched: stop
/// ```
#[derive(Debug)]
pub(crate) struct Supervisor {
    pause: Duration,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { pause: BACKOFF.0 }
    }
}

impl Supervisor {
    /// Returns the action after an encoder ended.
    pub(crate) fn handle(&mut self, ending: Ending) -> Next {
        let (after, has_output) = match ending {
            Ending::Changed => return Next::Again,
            Ending::Offline => return Next::AwaitPublisher,
            Ending::Unwatched => return Next::Stop,
            Ending::Failed { after, has_output } => (after, has_output),
        };
        if after >= STABLE {
            self.pause = BACKOFF.0;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(BACKOFF.1);
        if has_output {
            Next::Pause(pause)
        } else {
            Next::GiveUpFor(pause.max(NO_OUTPUT_BACKOFF))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(after: u64, has_output: bool) -> Ending {
        let after = Duration::from_secs(after);
        Ending::Failed { after, has_output }
    }

    #[test]
    fn backoff_grows_while_the_encoder_keeps_failing() {
        let mut supervisor = Supervisor::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            match supervisor.handle(failed(1, true)) {
                Next::Pause(pause) => pauses.push(pause.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        let expected = [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(pauses, expected);
        let first = Next::Pause(BACKOFF.0);
        assert_eq!(supervisor.handle(failed(10, true)), first, "it was stable");
    }

    #[test]
    fn rendition_ends_when_the_encoder_has_no_output() {
        let mut supervisor = Supervisor::default();
        let given_up: Vec<_> = (0..8)
            .map(|_| supervisor.handle(failed(0, false)))
            .collect();
        assert!(
            given_up[..6]
                .iter()
                .all(|next| *next == Next::GiveUpFor(NO_OUTPUT_BACKOFF))
        );
        assert_eq!(given_up[7], Next::GiveUpFor(BACKOFF.1), "the backoff grows");
    }

    #[test]
    fn changed_or_offline_stream_is_no_failure() {
        let mut supervisor = Supervisor::default();
        assert_eq!(supervisor.handle(failed(0, true)), Next::Pause(BACKOFF.0));
        assert_eq!(supervisor.handle(Ending::Changed), Next::Again);
        assert_eq!(supervisor.handle(Ending::Offline), Next::AwaitPublisher);
        let second = Next::Pause(BACKOFF.0 * 2);
        assert_eq!(supervisor.handle(failed(0, true)), second);
        assert_eq!(supervisor.handle(Ending::Unwatched), Next::Stop);
    }
}
