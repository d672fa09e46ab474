//! The answer to a viewer's offer.

use std::fmt;
use std::time::Instant;

use distributary_media::VideoCodec;
use distributary_names::StreamName;

use super::enter::{AgreedSession, enter, new_context};
use super::local;
use crate::error::OpenError;
use crate::session::{SessionId, ViewerOptions};
use crate::state::EngineState;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{
    LocalAnswer, MediaKind, NegotiationError, Note, Offer, UndecodableVideo,
};

/// A session whose offer was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// The id of the session.
    pub id: SessionId,
    /// The SDP answer.
    pub answer: String,
    /// Media that the player asks for and is not sent, although the stream has it.
    pub missing: Vec<MissingMedia>,
    /// Tag of the session's ICE state, for conditional requests (RFC 9110 section 8.8.3), without
    /// the quotes.
    pub etag: String,
}

/// Media that a player asks for and is not sent, although the stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingMedia {
    /// The player cannot decode the video, and gets the audio alone.
    UndecodableVideo(UndecodableVideo),
    /// The section has no transport in common with the other one.
    NotBundled(MediaKind),
}

impl fmt::Display for MissingMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndecodableVideo(reason) => write!(f, "{reason}: only audio is sent"),
            Self::NotBundled(kind) => write!(
                f,
                "{kind} is not sent: its section has no transport in common with the other one; \
                 offer a=mid and a=group:BUNDLE"
            ),
        }
    }
}

pub(crate) fn open(
    shared: &EngineState,
    stream: &StreamName,
    offer: &Offer,
    options: ViewerOptions,
    now: Instant,
) -> Result<OpenedSession, OpenError> {
    let reservation = shared.hub.reserve(stream, now);
    let id = SessionId::random();
    let identity = shared.identities.current(now);
    let role = shared.config.viewers.setup.role(&options);
    let local = local::parameters(shared, &identity, Credentials::generate()?, role);
    let stats = reservation.stream().stats();
    let undecodable = stats
        .video
        .as_ref()
        .and_then(|track| offer.check_video(track).err());
    let answer = offer.answer(&local::plan(&stats, &shared.config), &local);
    let LocalAnswer { sdp, negotiated } = match (answer, &undecodable) {
        (Ok(answer), None) => answer,
        // Audio alone is better than nothing, if the configuration allows it and the viewer learns
        // why.
        (Ok(answer), Some(_))
            if answer.negotiated.audio.is_some() && !shared.config.viewers.require_video =>
        {
            answer
        }
        (Ok(_) | Err(NegotiationError::NothingToSend { .. }), Some(reason)) => {
            return Err(reason.clone().into());
        }
        (Err(error), _) => return Err(error.into()),
    };
    let not_bundled = negotiated.notes.iter().filter_map(Note::not_bundled);
    let missing = undecodable
        .map(MissingMedia::UndecodableVideo)
        .into_iter()
        .chain(not_bundled.cloned().map(MissingMedia::NotBundled))
        .collect();
    let etag = local.ice.ufrag().to_owned();
    let mut context = new_context(shared, &id, stream, &options)?;
    if negotiated.video.is_none()
        && let Some(track) = &stats.video
    {
        context.awaits = decodable(offer, track.codec);
    }
    let agreed = AgreedSession {
        id,
        local,
        identity,
        negotiated,
        options,
        reservation,
        context,
    };
    enter(shared, agreed, now).finish()?;
    Ok(OpenedSession {
        id,
        answer: sdp,
        missing,
        etag,
    })
}

/// Returns the video codecs besides this one that the player can decode.
fn decodable(offer: &Offer, besides: VideoCodec) -> Vec<VideoCodec> {
    let codecs = [
        VideoCodec::H264,
        VideoCodec::H265,
        VideoCodec::Av1,
        VideoCodec::Vp9,
    ];
    let others = codecs.into_iter().filter(|codec| *codec != besides);
    others
        .filter(|codec| offer.supports(*codec, None))
        .collect()
}
