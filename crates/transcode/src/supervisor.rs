//! What follows the end of an encoder, decided without a clock.

use std::time::Duration;

/// Pauses between two encoders: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// After an encoder that worked for so long, the next pause is a first one again.
const STABLE: Duration = Duration::from_secs(10);

/// For how long no other is tried after an encoder that made nothing: viewers are given what there is.
const HOPELESS_PAUSE: Duration = Duration::from_secs(10);

/// How the work of an encoder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The stream has changed, so that it needs another encoder.
    Changed,
    /// The stream's publisher has left.
    Offline,
    /// Nobody watches any more.
    Unwatched,
    /// The encoder has failed, or there could be none.
    Failed {
        /// How long it worked.
        after: Duration,
        /// Whether it made pictures.
        made_pictures: bool,
    },
}

/// What is done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another encoder is started at once.
    Again,
    /// Another is started when the stream's publisher comes back, if somebody still watches then.
    AwaitPublisher,
    /// Another is started after this time, if somebody still watches then. Viewers keep what they have.
    Pause(Duration),
    /// The same, but the rendition is taken away, so that viewers are given what there is besides.
    GiveUpFor(Duration),
    /// It is over.
    Stop,
}

/// Decides what follows the end of an encoder.
///
/// ```text
///            Changed: again          Failed with pictures: pause, twice as long each time
///   encoder ─────────────► encoder ──────────────────────────────────────────────────────► encoder
///      │ Offline: await publisher    Failed without: the rendition is given up for a while
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
    /// What is done after this.
    pub(crate) fn handle(&mut self, ending: Ending) -> Next {
        let (after, made_pictures) = match ending {
            Ending::Changed => return Next::Again,
            Ending::Offline => return Next::AwaitPublisher,
            Ending::Unwatched => return Next::Stop,
            Ending::Failed {
                after,
                made_pictures,
            } => (after, made_pictures),
        };
        if after >= STABLE {
            self.pause = BACKOFF.0;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(BACKOFF.1);
        match made_pictures {
            true => Next::Pause(pause),
            false => Next::GiveUpFor(pause.max(HOPELESS_PAUSE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(after: u64, made_pictures: bool) -> Ending {
        let after = Duration::from_secs(after);
        Ending::Failed {
            after,
            made_pictures,
        }
    }

    #[test]
    fn an_encoder_that_breaks_again_and_again_is_started_less_and_less_often() {
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
    fn viewers_are_given_what_there_is_when_an_encoder_makes_nothing() {
        let mut supervisor = Supervisor::default();
        let given_up: Vec<_> = (0..8)
            .map(|_| supervisor.handle(failed(0, false)))
            .collect();
        assert!(
            given_up[..6]
                .iter()
                .all(|next| *next == Next::GiveUpFor(HOPELESS_PAUSE))
        );
        assert_eq!(given_up[7], Next::GiveUpFor(BACKOFF.1), "ever more rarely");
    }

    #[test]
    fn changes_and_pauses_of_the_stream_are_no_failures() {
        let mut supervisor = Supervisor::default();
        assert_eq!(supervisor.handle(failed(0, true)), Next::Pause(BACKOFF.0));
        assert_eq!(supervisor.handle(Ending::Changed), Next::Again);
        assert_eq!(supervisor.handle(Ending::Offline), Next::AwaitPublisher);
        let second = Next::Pause(BACKOFF.0 * 2);
        assert_eq!(supervisor.handle(failed(0, true)), second);
        assert_eq!(supervisor.handle(Ending::Unwatched), Next::Stop);
    }
}
