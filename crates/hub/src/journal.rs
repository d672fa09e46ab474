//! The last events of the gateway, for operators.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use distributary_names::StreamName;

/// Maximum number of entries.
const MAX_ENTRIES: usize = 200;

/// Maximum number of entries that clients without permission can cause, so that they cannot push
/// out all others.
const MAX_UNTRUSTED: usize = MAX_ENTRIES / 2;

/// Maximum number of entries about the publishers of one stream that come and go, so that an
/// encoder that reconnects all the time does not push out everything else.
const MAX_COMINGS: usize = 20;

/// Maximum length of a detail in bytes; the rest is dropped. With a name of 255 bytes, an entry has
/// less than 700 bytes, and all entries less than 140 kB.
const MAX_DETAIL: usize = 300;

/// Maximum number of ends that nobody has taken. All publishers of a network may leave at once.
const MAX_ENDS: usize = 1000;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalKind {
    /// A publisher began.
    Published,
    /// A publisher left, or was ended.
    Ended,
    /// A publisher began to stand by.
    Standby,
    /// A publisher that stood by left, or was ended.
    StandbyEnded,
    /// A publisher that stood by took over.
    Takeover,
    /// A publisher or a viewer was refused.
    Refused,
    /// A viewer got an answer, and its connection was not established.
    JoinFailed,
    /// The encoder of a stream should be changed.
    Advice,
}

impl JournalKind {
    /// Returns its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Ended => "ended",
            Self::Standby => "standby",
            Self::StandbyEnded => "standby_ended",
            Self::Takeover => "takeover",
            Self::Refused => "refused",
            Self::JoinFailed => "join_failed",
            Self::Advice => "advice",
        }
    }

    /// Returns whether clients without permission can cause it.
    fn is_untrusted(self) -> bool {
        matches!(self, Self::Refused | Self::JoinFailed)
    }

    /// Returns whether a publisher has come or gone.
    fn is_coming_or_going(self) -> bool {
        matches!(
            self,
            Self::Published | Self::Ended | Self::Standby | Self::StandbyEnded | Self::Takeover
        )
    }

    /// Returns whether equal events are one entry with a count: those that clients repeat.
    fn is_counted(self) -> bool {
        self.is_untrusted() || self == Self::Advice
    }
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number. Later entries have higher numbers.
    pub number: u64,
    /// Time of the event; of the last one if there were several.
    pub at: Instant,
    /// The kind of event.
    pub kind: JournalKind,
    /// The stream; `None` if the client named none.
    pub stream: Option<StreamName>,
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// The reason, or the advice; may be empty.
    pub detail: Arc<str>,
    /// Number of equal events.
    pub count: u64,
}

/// The last events of the gateway. A clone is a handle to the same journal.
///
/// Bounded in entries and in bytes of each. It is not written to disk.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// The oldest first.
    entries: VecDeque<JournalEntry>,
    last_number: u64,
    /// The streams whose publishers have left, and why, until somebody takes them.
    ends: VecDeque<(StreamName, Arc<str>)>,
}

impl Journal {
    /// Adds an event that happened at `now`.
    pub fn record(
        &self,
        kind: JournalKind,
        stream: Option<&StreamName>,
        address: Option<IpAddr>,
        detail: &dyn fmt::Display,
        now: Instant,
    ) {
        let entry = JournalEntry {
            number: 0,
            at: now,
            kind,
            stream: stream.cloned(),
            address: address.map(|address| address.to_canonical()),
            detail: shortened(detail.to_string()),
            count: 1,
        };
        self.lock().push(entry);
    }

    /// Returns the entries with numbers above `number`, the oldest first.
    pub fn since(&self, number: u64) -> Vec<JournalEntry> {
        let entries = self.lock();
        let begin = entries
            .entries
            .partition_point(|entry| entry.number <= number);
        entries.entries.range(begin..).cloned().collect()
    }

    /// Returns the streams whose publishers have left since the last call, and why: also those
    /// whose entries newer ones have pushed out, but at most the last thousand.
    pub fn take_ends(&self) -> Vec<(StreamName, Arc<str>)> {
        self.lock().ends.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn push(&mut self, mut entry: JournalEntry) {
        if let (JournalKind::Ended, Some(stream)) = (entry.kind, &entry.stream) {
            if self.ends.len() >= MAX_ENDS {
                self.ends.pop_front();
            }
            let end = (stream.clone(), Arc::clone(&entry.detail));
            self.ends.push_back(end);
        }
        if entry.kind.is_counted()
            && let Some(at) = self.entries.iter().position(|old| old.is_like(&entry))
            && let Some(old) = self.entries.remove(at)
        {
            entry.count += old.count;
        }
        if entry.kind.is_untrusted() {
            self.make_room(MAX_UNTRUSTED, |old| old.kind.is_untrusted());
        }
        if entry.kind.is_coming_or_going() {
            self.make_room(MAX_COMINGS, |old| {
                old.kind.is_coming_or_going() && old.stream == entry.stream
            });
        }
        self.make_room(MAX_ENTRIES, |_| true);
        self.last_number += 1;
        entry.number = self.last_number;
        self.entries.push_back(entry);
    }

    /// Makes room for one more entry of a kind of which there may be `max`: drops the oldest of
    /// them.
    fn make_room(&mut self, max: usize, is_of_kind: impl Fn(&JournalEntry) -> bool) {
        if self
            .entries
            .iter()
            .filter(|entry| is_of_kind(entry))
            .count()
            < max
        {
            return;
        }
        if let Some(oldest) = self.entries.iter().position(is_of_kind) {
            self.entries.remove(oldest);
        }
    }
}

impl JournalEntry {
    /// Returns whether another entry reports the same, at another time.
    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.stream == other.stream
            && self.address == other.address
            && self.detail == other.detail
    }
}

/// Cuts a text to [`MAX_DETAIL`] bytes.
fn shortened(mut text: String) -> Arc<str> {
    let mut end = text.len().min(MAX_DETAIL);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.into()
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[test]
    fn later_entries_are_returned_in_order() {
        let (journal, now) = (Journal::default(), Instant::now());
        let stream = name("live/a");
        journal.record(JournalKind::Published, Some(&stream), None, &"", now);
        let seen = journal.since(0)[0].number;
        journal.record(JournalKind::Ended, Some(&stream), None, &"stopped", now);
        let later = journal.since(seen);
        assert_eq!((later.len(), later[0].kind), (1, JournalKind::Ended));
        assert_eq!(&*later[0].detail, "stopped");
        assert!(journal.since(later[0].number).is_empty());
    }

    #[test]
    fn refused_clients_cannot_push_out_other_entries() {
        let (journal, now) = (Journal::default(), Instant::now());
        journal.record(
            JournalKind::Published,
            Some(&name("live/a")),
            None,
            &"",
            now,
        );
        for n in 0..10_000 {
            let stream = name(&format!("live/{n}"));
            journal.record(JournalKind::Refused, Some(&stream), None, &"no", now);
        }
        let entries = journal.since(0);
        assert_eq!(entries.len(), 1 + MAX_UNTRUSTED);
        assert_eq!(entries[0].kind, JournalKind::Published);
        assert_eq!(entries.last().unwrap().stream, Some(name("live/9999")));
        for n in 0..1000 {
            let stream = name(&format!("live/{n}"));
            journal.record(JournalKind::Published, Some(&stream), None, &"", now);
        }
        assert_eq!(journal.since(0).len(), MAX_ENTRIES);
    }

    #[test]
    fn refusal_displaces_an_older_refusal_and_not_a_trusted_entry() {
        let (journal, now) = (Journal::default(), Instant::now());
        for n in 0..MAX_UNTRUSTED {
            let stream = name(&format!("live/{n}"));
            journal.record(JournalKind::Published, Some(&stream), None, &"", now);
        }
        for n in 0..=MAX_UNTRUSTED {
            let stream = name(&format!("refused/{n}"));
            journal.record(JournalKind::Refused, Some(&stream), None, &"no", now);
        }
        let entries = journal.since(0);
        assert_eq!(entries.len(), MAX_ENTRIES);
        assert_eq!(entries[0].stream, Some(name("live/0")));
        assert_eq!(entries[MAX_UNTRUSTED].stream, Some(name("refused/1")));
    }

    #[test]
    fn encoder_that_reconnects_does_not_push_out_other_streams() {
        let (journal, now) = (Journal::default(), Instant::now());
        let (steady, flapping) = (name("live/steady"), name("live/flapping"));
        journal.record(JournalKind::Published, Some(&steady), None, &"", now);
        for n in 0..MAX_ENTRIES {
            journal.record(JournalKind::Published, Some(&flapping), None, &"", now);
            journal.record(JournalKind::Ended, Some(&flapping), None, &n, now);
        }
        let entries = journal.since(0);
        assert_eq!(entries.len(), 1 + MAX_COMINGS);
        assert_eq!(entries[0].stream, Some(steady));
        let newest = entries.last().unwrap();
        assert_eq!(*newest.detail, (MAX_ENTRIES - 1).to_string());
    }

    #[test]
    fn reasons_of_all_ends_are_kept_until_they_are_taken() {
        let (journal, now) = (Journal::default(), Instant::now());
        for n in 0..MAX_ENDS + 7 {
            let stream = name(&format!("live/{n}"));
            journal.record(JournalKind::Ended, Some(&stream), None, &"gone", now);
        }
        let ends = journal.take_ends();
        assert_eq!(
            (ends.len(), journal.since(0).len()),
            (MAX_ENDS, MAX_ENTRIES)
        );
        assert_eq!(ends[0], (name("live/7"), "gone".into()));
        assert!(journal.take_ends().is_empty());
    }

    #[test]
    fn repeated_refusal_is_one_entry_with_a_count() {
        let (journal, now) = (Journal::default(), Instant::now());
        let (stream, other) = (name("live/a"), name("live/b"));
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let refuse =
            |stream| journal.record(JournalKind::Refused, Some(stream), address, &"key", now);
        refuse(&stream);
        refuse(&other);
        let seen = journal.since(0)[1].number;
        refuse(&stream);
        let entries = journal.since(0);
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[1].count, &entries[1].stream), (2, &Some(stream)));
        assert!(
            entries[1].number > seen,
            "it is a new entry for whoever follows"
        );
    }

    #[test]
    fn long_details_are_cut_between_characters() {
        let (journal, now) = (Journal::default(), Instant::now());
        journal.record(JournalKind::Refused, None, None, &"ä".repeat(1000), now);
        let entries = journal.since(0);
        assert_eq!(entries[0].detail.len(), MAX_DETAIL);
    }
}
