//! The kinds of events, and one event.

use std::fmt;

use serde_json::{Value, json};

use super::layers::Layers;

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// The stream has a publisher.
    Active,
    /// The publisher has been gone for longer than the grace period.
    Inactive,
    /// The player should open a new session.
    Reconnect,
    /// The number of viewers.
    ViewerCount,
    /// The renditions of the stream, and which of them the viewer gets.
    Layers,
}

impl EventKind {
    pub(super) const ALL: [Self; 5] = [
        Self::Active,
        Self::Inactive,
        Self::Reconnect,
        Self::ViewerCount,
        Self::Layers,
    ];

    /// Returns its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Reconnect => "reconnect",
            Self::ViewerCount => "viewercount",
            Self::Layers => "layers",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventSet(u8);

impl EventSet {
    pub(crate) fn all() -> Self {
        EventKind::ALL.into_iter().collect()
    }

    /// Parses names of events.
    ///
    /// # Errors
    /// Returns the first unknown name.
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

/// Writes the names, separated by commas.
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

/// One event.
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

    /// Asks the player to reconnect, at another endpoint if there is one.
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

    pub(super) fn layers(layers: &Layers) -> Self {
        Self {
            kind: EventKind::Layers,
            data: layers.to_json(),
        }
    }

    fn empty(kind: EventKind) -> Self {
        let data = json!({});
        Self { kind, data }
    }
}
