//! All viewers, over WebRTC and RTMP.

use std::time::Instant;

use distributary_egress::engine::SessionInfo;
use distributary_hub::PlayerInfo;
use distributary_names::StreamName;

use super::door::AdminDoor;

/// A viewer that has sent a packet.
pub(super) enum Watching {
    /// A WebRTC session.
    Session(Box<SessionInfo>),
    /// An RTMP player.
    Player(PlayerInfo),
}

/// Returns the viewers of `stream`, or all, the oldest first.
pub(super) fn watching(
    door: &AdminDoor,
    stream: Option<&StreamName>,
    now: Instant,
) -> Vec<Watching> {
    let sessions = door.engine.session_infos(stream).into_iter();
    let players = door.hub.players().list(stream, now).into_iter();
    let mut viewers: Vec<_> = sessions
        .map(|report| Watching::Session(Box::new(report)))
        .chain(players.map(Watching::Player))
        .collect();
    viewers.sort_by_key(Watching::since);
    viewers
}

impl Watching {
    /// Returns the stream that is watched, or its rendition.
    pub(super) fn stream(&self) -> &StreamName {
        match self {
            Self::Session(report) => &report.stream,
            Self::Player(report) => &report.stream,
        }
    }

    /// Returns whether media is sent to it.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Session(report) => report.stats.is_connected,
            Self::Player(_) => true,
        }
    }

    /// Returns the recent bitrate of its media in bits per second.
    pub(super) fn bitrate(&self) -> u64 {
        match self {
            Self::Session(report) => report.stats.bitrate,
            Self::Player(report) => report.bitrate,
        }
    }

    fn since(&self) -> Instant {
        match self {
            Self::Session(report) => report.since,
            Self::Player(report) => report.since,
        }
    }
}
