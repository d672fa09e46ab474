//! The ends of sessions: each one is logged once, with a reason that its viewer or its stream has
//! given.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use distributary_webrtc::ice::CONSENT_TIMEOUT;
use distributary_webrtc::peer::CloseReason;
use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::{Event, Id, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::scenario::{Leaving, ViewerPlan};

/// Time that the goodbye of a viewer needs at the longest.
const GOODBYE: Duration = Duration::from_secs(1);

/// Time by which the end of a session may be late: viewers are looked at once a second, and checks
/// may be on their way.
const SLACK: Duration = Duration::from_secs(3);

/// The reason for which a session has ended, as the log says it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The viewer said goodbye.
    Left,
    /// Nothing was heard of the viewer.
    Silent,
    /// The handshake has failed, or the viewer has not proved to be at its address.
    Unfinished(String),
    /// The gateway ended it: by DELETE, at shutdown, or because the stream was over.
    Local,
    /// It was ended before its first packet.
    Deleted,
    /// Its viewer has not come.
    Unreached,
    /// Something that must not happen in a simulation.
    Other(String),
}

impl End {
    /// Returns the end that a line of the log tells; `None` if it tells something else.
    fn of(message: &str) -> Option<Self> {
        let is = |reason: CloseReason| message == reason.to_string();
        Some(if is(CloseReason::Left) {
            Self::Left
        } else if is(CloseReason::Silent) {
            Self::Silent
        } else if is(CloseReason::Local) {
            Self::Local
        } else if is(CloseReason::HandshakeTimeout)
            || is(CloseReason::Unproven)
            || message.starts_with("the DTLS handshake failed")
        {
            Self::Unfinished(message.to_owned())
        } else if message == "ended before its first packet" {
            Self::Deleted
        } else if message.starts_with("the viewer never came") {
            Self::Unreached
        } else if is(CloseReason::Displaced)
            || is(CloseReason::KeysUsedUp)
            || message.starts_with("the viewer came, but")
            || message.starts_with("the stream ended before")
            || message.starts_with("cannot serve")
        {
            Self::Other(message.to_owned())
        } else {
            return None;
        })
    }
}

/// Collects the lines of the log that tell the end of a session.
#[derive(Clone, Default)]
pub(crate) struct EndLog(Arc<Mutex<Vec<(String, End)>>>);

impl EndLog {
    fn take(&self) -> Vec<(String, End)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The viewer that a span of the log names.
struct Named(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EndLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut viewer = Text::of("viewer");
        attributes.record(&mut viewer);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Named(viewer.text));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Text::of("message");
        event.record(&mut message);
        let Some(end) = End::of(&message.text) else {
            return;
        };
        let Some(span) = context.event_span(event) else {
            return;
        };
        if let Some(Named(viewer)) = span.extensions().get() {
            let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push((viewer.clone(), end));
        }
    }
}

/// The text of one field.
struct Text {
    field: &'static str,
    text: String,
}

impl Text {
    fn of(field: &'static str) -> Self {
        let text = String::new();
        Self { field, text }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.field {
            // Writing to a string does not fail.
            let _ = write!(self.text, "{value:?}");
        }
    }
}

/// The state of the gateway that ends sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endings {
    /// The stream has had no publisher for as long as sessions wait for one, or the gateway has ended
    /// all sessions.
    pub(crate) is_over: bool,
}

/// The history of a session, as far as it concerns its end.
#[derive(Clone, Copy, Debug)]
struct Story {
    viewer: usize,
    /// It is str0m, which may end by itself.
    is_independent: bool,
    /// It may get media before its handshake is done.
    has_early_media: bool,
    /// Its path has lost datagrams, or its address has changed.
    is_lossy: bool,
    /// Its viewer has got media.
    has_played: bool,
    /// When and how its viewer has left.
    left: Option<(Instant, Leaving)>,
    has_ended: bool,
}

/// All sessions of a simulation.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(crate) log: EndLog,
    by_name: BTreeMap<String, Story>,
}

impl Sessions {
    /// Records a new session, whose id begins with `name`.
    pub(crate) fn begin(&mut self, name: String, viewer: usize, plan: &ViewerPlan) {
        let story = Story {
            viewer,
            is_independent: plan.is_independent,
            has_early_media: plan.has_early_media,
            is_lossy: false,
            has_played: false,
            left: None,
            has_ended: false,
        };
        self.by_name.insert(name, story);
    }

    /// Records what the path of a session does, and whether its viewer has got media.
    pub(crate) fn note(&mut self, name: &str, is_lossy: bool, has_played: bool) {
        if let Some(story) = self.by_name.get_mut(name) {
            story.is_lossy |= is_lossy;
            story.has_played |= has_played;
        }
    }

    /// Records that the viewer of a session has left.
    pub(crate) fn note_left(&mut self, name: &str, leaving: Leaving, now: Instant) {
        if let Some(story) = self.by_name.get_mut(name) {
            story.left.get_or_insert((now, leaving));
        }
    }

    /// Checks the sessions that have ended since the last time, and those that should have.
    ///
    /// # Errors
    /// Returns the rule that is broken.
    pub(crate) fn check(&mut self, endings: Endings, now: Instant) -> Result<(), String> {
        for (name, end) in self.log.take() {
            let Some(story) = self.by_name.get_mut(&name) else {
                return Err(format!("session {name} ends, and is not known: {end:?}"));
            };
            let viewer = story.viewer;
            if std::mem::replace(&mut story.has_ended, true) {
                return Err(format!("a session of viewer {viewer} ends twice: {end:?}"));
            }
            if !story.allows(&end, endings) {
                return Err(format!(
                    "a session of viewer {viewer} ends without reason: {end:?}, {story:?}"
                ));
            }
        }
        let mut open = self.by_name.values().filter(|story| !story.has_ended);
        if let Some(story) = open.find(|story| story.is_kept(now)) {
            return Err(format!(
                "a session of viewer {} is kept: {story:?}",
                story.viewer
            ));
        }
        Ok(())
    }

    /// Checks that all sessions have ended.
    ///
    /// # Errors
    /// Returns a session whose end was not logged.
    pub(crate) fn check_ended(&self) -> Result<(), String> {
        let mut stories = self.by_name.values();
        match stories.find(|story| !story.has_ended) {
            Some(story) => Err(format!("the end of a session was not logged: {story:?}")),
            None => Ok(()),
        }
    }
}

impl Story {
    /// Returns whether the session may end for this reason.
    fn allows(&self, end: &End, endings: Endings) -> bool {
        let left = self.left.map(|(_, leaving)| leaving);
        let is_gone = left.is_some() || self.is_independent;
        match end {
            End::Left => left == Some(Leaving::Goodbye) || self.is_independent,
            End::Local => left == Some(Leaving::Delete) || endings.is_over,
            End::Deleted => left == Some(Leaving::Delete),
            End::Silent => is_gone || self.is_lossy,
            End::Unfinished(_) | End::Unreached => {
                (!self.has_played || self.has_early_media) && (is_gone || self.is_lossy)
            }
            End::Other(_) => false,
        }
    }

    /// Returns whether the session of a viewer that has left is still there when it should not be.
    fn is_kept(&self, now: Instant) -> bool {
        let Some((at, leaving)) = self.left.filter(|_| self.has_played) else {
            return false;
        };
        let most = match leaving {
            Leaving::Delete => SLACK,
            Leaving::Goodbye if !self.is_lossy && !self.is_independent => GOODBYE,
            Leaving::Goodbye | Leaving::Silently => CONSENT_TIMEOUT + SLACK,
        };
        now.duration_since(at) > most
    }
}
