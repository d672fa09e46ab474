//! The kinds of events, and one event.

use std::fmt;

use serde_json::{Value, json};

/// What a player can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A publisher is there.
    Active,
    /// It has been gone for longer than it may be.
    Inactive,
    /// The session should be given up for another one.
    Reconnect,
    /// How many watch.
    ViewerCount,
    /// What keeps viewers from seeing the stream as it is, and what to change at the encoder: an event of
    /// this gateway's own.
    Notice,
}

impl EventKind {
    pub(super) const ALL: [Self; 5] = [
        Self::Active,
        Self::Inactive,
        Self::Reconnect,
        Self::ViewerCount,
        Self::Notice,
    ];

    /// Its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Reconnect => "reconnect",
            Self::ViewerCount => "viewercount",
            Self::Notice => "notice",
        }
    }
}

/// Some of the kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EventSet(u8);

impl EventSet {
    pub(super) fn all() -> Self {
        EventKind::ALL.into_iter().collect()
    }

    /// The kinds of these names.
    ///
    /// # Errors
    /// With the first name that is not known.
    pub(super) fn named(names: &[String]) -> Result<Self, &str> {
        let kind = |name: &'_ String| {
            let mut kinds = EventKind::ALL.into_iter();
            kinds.find(|kind| kind.name() == *name)
        };
        let kinds = names.iter().map(|name| kind(name).ok_or(name.as_str()));
        kinds.collect()
    }

    pub(super) fn contains(self, kind: EventKind) -> bool {
        self.0 & bit(kind) != 0
    }
}

impl FromIterator<EventKind> for EventSet {
    fn from_iter<T: IntoIterator<Item = EventKind>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | bit(kind)))
    }
}

/// The names, with commas between them.
impl fmt::Display for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = EventKind::ALL.into_iter();
        let names: Vec<_> = kinds
            .filter(|kind| self.contains(*kind))
            .map(EventKind::name)
            .collect();
        f.write_str(&names.join(","))
    }
}

fn bit(kind: EventKind) -> u8 {
    1 << kind as u8
}

/// Something a player is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    /// A JSON object.
    pub(super) data: Value,
}

impl Event {
    pub(super) fn active() -> Self {
        Self::empty(EventKind::Active)
    }

    pub(super) fn inactive() -> Self {
        Self::empty(EventKind::Inactive)
    }

    /// Asks to reconnect, at another endpoint if there is one.
    pub(super) fn reconnect(url: Option<&str>) -> Self {
        Self {
            kind: EventKind::Reconnect,
            data: url.map_or(json!({}), |url| json!({ "url": url })),
        }
    }

    pub(super) fn viewer_count(count: usize) -> Self {
        Self {
            kind: EventKind::ViewerCount,
            data: json!({ "viewercount": count }),
        }
    }

    pub(super) fn notice(text: &str) -> Self {
        Self {
            kind: EventKind::Notice,
            data: json!({ "notice": text }),
        }
    }

    fn empty(kind: EventKind) -> Self {
        let data = json!({});
        Self { kind, data }
    }
}
