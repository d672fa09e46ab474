//! The viewer that an admitted session becomes.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use distributary_net::FairPermit;
use distributary_webrtc::dtls::DtlsError;
use distributary_webrtc::peer::{MediaClock, Peer};
use distributary_webrtc::quality::Preference;

use super::quality::Quality;
use super::stream::ShardStream;
use super::viewers::Viewer;
use crate::command::Command;
use crate::inbox::Inbox;
use crate::session::{PendingSession, SessionId};
use crate::state::{EngineState, JoinProgress};

/// The stream that a newcomer watches.
#[derive(Clone, Copy)]
pub(super) struct Watched<'s> {
    /// The tag of the stream as published.
    pub(super) home: u64,
    /// The stream as published.
    pub(super) stream: &'s ShardStream,
    /// The tag of the stream or rendition with the video.
    pub(super) video: u64,
}

/// Makes a viewer of a session that the shard of number `shard` has claimed. When its handshake
/// must give way to another, the shard gets [`Command::EndHandshake`].
///
/// # Errors
/// Returns the error of OpenSSL if it cannot begin a handshake.
pub(super) fn viewer(
    session: PendingSession,
    handshake: FairPermit,
    watched: Watched<'_>,
    shared: &EngineState,
    shard: usize,
    now: Instant,
) -> Result<Viewer, DtlsError> {
    let Watched {
        home,
        stream,
        video,
    } = watched;
    let ufrags = session.ufrags().map(Into::into).collect();
    let PendingSession {
        id,
        stream: name,
        peer: config,
        restarted,
        b_frames,
        preference,
        dtls,
        created,
        context,
        was_heard: _,
        reservation,
    } = session;
    // The shard has subscribed to the stream.
    drop(reservation);
    let clock = MediaClock {
        epoch: stream.subscription.stream().epoch(),
        wall: shared.wall,
    };
    let mut peer = Peer::new(config, clock, &dtls, now)?;
    if let Some((local, remote)) = restarted {
        peer.restart_ice(local, remote);
    }
    if let Some(inbox) = shared.inboxes.get(shard) {
        let waker = Waker::from(Arc::new(EndHandshake {
            id,
            inbox: inbox.clone(),
        }));
        handshake.revocation().wake_when_revoked(&waker);
    }
    Ok(Viewer {
        id,
        ufrags,
        peer,
        handshake: Some(handshake),
        b_frames,
        stream: home,
        video,
        quality: (preference != Preference::default())
            .then(|| Box::new(Quality::new(preference, now))),
        addresses: Vec::new(),
        connections: Vec::new(),
        is_held_back: false,
        since: created,
        join: Some(JoinProgress::begin(&shared.joins, created, now)),
        is_listed: false,
        armed: None,
        stats: shared.stats.enter(id, name, shard, created, &context),
        context,
    })
}

/// Tells a shard that the handshake of a viewer must end.
struct EndHandshake {
    id: SessionId,
    inbox: Inbox,
}

impl Wake for EndHandshake {
    fn wake(self: Arc<Self>) {
        // Where the inbox is full, the shard's upkeep finds the revoked permit.
        let _ = self.inbox.try_send(Command::EndHandshake(self.id));
    }
}
