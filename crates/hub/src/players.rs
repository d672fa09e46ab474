//! Viewers that the WebRTC engine does not serve: their stats, and how to end one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use distributary_names::StreamName;
use tokio::sync::watch;

use crate::sent_bytes::SentBytes;
use crate::viewers::ViewerPermit;

/// Time over which the bitrate of a player is measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// A bitrate older than this counts as zero: nothing has been sent since.
const RATE_LIFETIME: Duration = Duration::from_secs(3);

/// Identifies a player in the API and in the log, by eight hexadecimal digits like WebRTC sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayerId(u32);

impl fmt::Display for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One listed player.
#[derive(Clone, Debug)]
pub struct PlayerInfo {
    /// Its identifier.
    pub id: PlayerId,
    /// The stream that it plays.
    pub stream: StreamName,
    /// Its address.
    pub address: SocketAddr,
    /// Time at which it started playing.
    pub since: Instant,
    /// Counters of what it was sent.
    pub sent: PlayerStats,
    /// Current bitrate of the media sent, in bit/s.
    pub bitrate: u64,
}

/// Counters of one player since it started playing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayerStats {
    /// Frames sent.
    pub frames: u64,
    /// Bytes of encoded media in them.
    pub bytes: u64,
    /// Number of times the player fell behind and all frames up to the next keyframe were dropped.
    pub skips: u64,
}

/// All players.
#[derive(Debug, Default)]
pub struct Players {
    by_id: DashMap<PlayerId, Arc<Entry>>,
    sent: Arc<SentBytes>,
}

/// The state of one player.
#[derive(Debug)]
struct Entry {
    stream: StreamName,
    address: SocketAddr,
    since: Instant,
    meter: Mutex<Meter>,
    removed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Meter {
    sent: PlayerStats,
    /// Start of the current window, and the bytes sent until then.
    window: (Instant, u64),
    /// Bits per second over the last whole window.
    bitrate: u64,
}

/// Keeps a player listed until it is dropped.
#[derive(Debug)]
pub struct Player {
    players: Arc<Players>,
    id: PlayerId,
    entry: Arc<Entry>,
    removed: watch::Receiver<bool>,
    _permit: ViewerPermit,
}

impl Players {
    /// Returns an empty list. What its players are sent is added to `sent`.
    pub(crate) fn new(sent: Arc<SentBytes>) -> Self {
        Self {
            sent,
            ..Self::default()
        }
    }

    /// Lists a player that has a permit.
    pub(crate) fn enter(
        self: &Arc<Self>,
        stream: StreamName,
        address: SocketAddr,
        permit: ViewerPermit,
        now: Instant,
    ) -> Player {
        let (tell, removed) = watch::channel(false);
        let entry = Arc::new(Entry {
            stream,
            address,
            since: now,
            meter: Mutex::new(Meter {
                sent: PlayerStats::default(),
                window: (now, 0),
                bitrate: 0,
            }),
            removed: tell,
        });
        let id = loop {
            let id = PlayerId(rand::random());
            if let dashmap::Entry::Vacant(vacant) = self.by_id.entry(id) {
                vacant.insert(Arc::clone(&entry));
                break id;
            }
        };
        Player {
            players: Arc::clone(self),
            id,
            entry,
            removed,
            _permit: permit,
        }
    }

    /// Returns the players of `stream`, or all, in no particular order.
    pub fn list(&self, stream: Option<&StreamName>, now: Instant) -> Vec<PlayerInfo> {
        let entries = self.by_id.iter();
        entries
            .filter(|entry| stream.is_none_or(|stream| entry.stream == *stream))
            .map(|entry| {
                let meter = entry.meter();
                PlayerInfo {
                    id: *entry.key(),
                    stream: entry.stream.clone(),
                    address: entry.address,
                    since: entry.since,
                    sent: meter.sent,
                    bitrate: meter.bitrate(now),
                }
            })
            .collect()
    }

    /// Ends the player with this identifier. Returns `false` if there is none.
    pub fn remove(&self, id: &str) -> bool {
        let named = self
            .by_id
            .iter()
            .find(|entry| entry.key().to_string() == id);
        named.is_some_and(|player| {
            player.removed.send_replace(true);
            true
        })
    }
}

impl Player {
    /// Returns its identifier.
    pub fn id(&self) -> PlayerId {
        self.id
    }

    /// Returns the number of frames sent.
    pub fn frames(&self) -> u64 {
        self.entry.meter().sent.frames
    }

    /// Counts a frame of `bytes` bytes that is sent, and sets the number of skips so far.
    pub fn note_frame(&self, bytes: usize, skips: u64, now: Instant) {
        if let Some(bytes) = self.entry.meter().note(bytes, skips, now) {
            self.players.sent.add(&self.entry.stream, bytes);
        }
    }

    /// Completes when the player is removed through the API. It may be dropped and called again.
    pub async fn removed(&mut self) {
        if self.removed.wait_for(|removed| *removed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let rest = self.entry.meter().rest();
        self.players.sent.add(&self.entry.stream, rest);
        self.players.by_id.remove(&self.id);
    }
}

impl Entry {
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// Counts a frame. Returns the bytes of a window that is over.
    fn note(&mut self, bytes: usize, skips: u64, now: Instant) -> Option<u64> {
        self.sent.frames += 1;
        self.sent.bytes += bytes as u64;
        self.sent.skips = skips;
        let (began, before) = self.window;
        let length = now.saturating_duration_since(began);
        if length < RATE_WINDOW {
            return None;
        }
        let sent = self.sent.bytes - before;
        let bits = u128::from(sent) * 8000;
        self.bitrate = u64::try_from(bits / length.as_millis()).unwrap_or(u64::MAX);
        self.window = (now, self.sent.bytes);
        Some(sent)
    }

    /// Returns the bytes of the current window.
    fn rest(&self) -> u64 {
        self.sent.bytes - self.window.1
    }

    fn bitrate(&self, now: Instant) -> u64 {
        let is_fresh = now.saturating_duration_since(self.window.0) < RATE_LIFETIME;
        if is_fresh { self.bitrate } else { 0 }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::viewers::{ViewerLimits, Viewers};

    fn player(players: &Arc<Players>, stream: &StreamName, now: Instant) -> Player {
        let viewers = Viewers::new(ViewerLimits::default(), Arc::default());
        let permit = viewers.admit(stream, None).unwrap();
        players.enter(stream.clone(), ([192, 0, 2, 1], 1).into(), permit, now)
    }

    #[test]
    fn player_is_listed_with_its_bitrate_until_it_leaves() {
        let start = Instant::now();
        let players = Arc::new(Players::default());
        let [a, b] = ["live/a", "live/b"].map(|name| StreamName::parse(name).unwrap());
        let player = player(&players, &a, start);
        let at = |millis| start + Duration::from_millis(millis);
        // 125 000 bytes in a second.
        for frame in 0..=25 {
            player.note_frame(5_000, 3, at(40 * frame));
        }
        let [info] = players.list(Some(&a), at(1_000)).try_into().unwrap();
        assert_eq!(info.bitrate, 26 * 5_000 * 8);
        let sent = PlayerStats {
            frames: 26,
            bytes: 130_000,
            skips: 3,
        };
        assert_eq!((info.id, info.sent), (player.id(), sent));
        assert_eq!(players.list(None, at(5_000))[0].bitrate, 0);
        assert!(players.list(Some(&b), at(1_000)).is_empty());
        drop(player);
        assert!(players.list(None, at(1_000)).is_empty());
    }

    #[tokio::test]
    async fn player_is_notified_when_it_is_removed() {
        let players = Arc::new(Players::default());
        let stream = StreamName::parse("live/a").unwrap();
        let mut player = player(&players, &stream, Instant::now());
        let id = player.id().to_string();
        assert!(id.len() == 8 && !players.remove("00"));
        assert!(players.remove(&id));
        player.removed().await;
        drop(player);
        assert!(!players.remove(&id));
    }
}
