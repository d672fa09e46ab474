//! Answering a viewer's offer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use distributary_hub::{BFrameChoice, Reservation, StreamName, StreamStats, TooManyViewers};
use distributary_media::{AudioCodec, VideoCodec, VideoTrack};

use super::identity::Identity;
use super::{EngineConfig, Shared};
use crate::session::{InsertError, PendingSession, SessionId};
use crate::visit::Visit;
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::PeerConfig;
use distributary_webrtc::sdp::{
    Answer, AudioPlan, HeaderExtension, HostCandidate, LocalParameters, MediaPlan, Negotiated,
    Note, Offer, RejectedMedia, Rejection, SdpError, Token, VideoPlan, codec_name,
};
use distributary_webrtc::sender::SenderConfig;

/// A viewer that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// The name of the session.
    pub id: SessionId,
    /// The SDP answer.
    pub answer: String,
    /// What the player has asked for and is not sent, although the stream has it, in words for people.
    pub notices: Vec<String>,
    /// Tag of the session's ICE state, for conditional requests (RFC 9110 section 8.8.3), without
    /// the quotes.
    pub etag: String,
}

/// What is known of a viewer besides its offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerOptions {
    /// Whether its decoder can be made to put pictures in order (see [`distributary_webrtc::reorder`]). Of a stream
    /// with B-frames that pictures refer to, the others are sent the keyframes.
    pub reorders: bool,
    /// Who says what it is sent of a stream with B-frames: where the policy does, it is given what is made
    /// of the stream also when that is there only later.
    pub b_frames: BFrameChoice,
    /// Where it asks from, for the log.
    pub address: Option<IpAddr>,
    /// The address or network whose sessions its own counts among, for the bound of one address. One
    /// without is not counted.
    pub counts_as: Option<IpAddr>,
}

/// Why an offer is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The offer is not SDP.
    #[error("{0}")]
    Malformed(String),
    /// The offer has no place for anything the stream has.
    #[error("{0}")]
    NotAcceptable(String),
    /// The same, but an offer of ours may be one that the player can answer: it has not said what it can
    /// decode, or said it in a form that cannot be answered.
    #[error("{0}")]
    Unclear(String),
    /// The media would fit, but no connection can be made.
    #[error("{0}")]
    Unprocessable(String),
    /// There are as many viewers as there may be.
    #[error(transparent)]
    Full(#[from] TooManyViewers),
    /// The system's random generator failed.
    #[error("no session could be made: {0}")]
    Internal(String),
}

impl From<SdpError> for OpenError {
    fn from(error: SdpError) -> Self {
        let text = error.to_string();
        match error {
            SdpError::NothingToSend { rejected } => {
                let is_plain = |media: &RejectedMedia| {
                    matches!(
                        media.reason,
                        Rejection::NoCodec { .. } | Rejection::NotInStream
                    )
                };
                match rejected.iter().any(is_plain) {
                    true => Self::NotAcceptable(text),
                    false => Self::Unclear(text),
                }
            }
            SdpError::Transport(_) => Self::Unprocessable(text),
            _ => Self::Malformed(text),
        }
    }
}

impl From<InsertError> for OpenError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Taken => Self::Internal("its name is taken".to_owned()),
        }
    }
}

pub(super) fn open(
    shared: &Shared,
    stream: &StreamName,
    offer: &str,
    options: ViewerOptions,
    now: Instant,
) -> Result<OpenedSession, OpenError> {
    let offer = Offer::parse(offer)?;
    let reservation = shared.hub.reserve(stream, now);
    let id = SessionId::random();
    let ice = Credentials::generate().map_err(|error| OpenError::Internal(error.to_string()))?;
    let identity = shared.identities.current(now);
    let local = local_parameters(shared, &identity, ice);
    let stats = reservation.stream().stats();
    let undecodable = stats
        .video
        .as_ref()
        .and_then(|track| undecodable(&offer, track));
    let plan = plan(&stats, &shared.config);
    let answer = offer.answer(&plan, &local);
    let Answer { sdp, negotiated } = match (answer, &undecodable) {
        (Ok(answer), None) => answer,
        // Audio is more than nothing, where the player says so and the viewer is told why.
        (Ok(answer), Some(_))
            if answer.negotiated.audio.is_some() && !shared.config.require_video =>
        {
            answer
        }
        (Ok(_) | Err(SdpError::NothingToSend { .. }), Some(reason)) => {
            return Err(OpenError::NotAcceptable(reason.clone()));
        }
        (Err(error), _) => return Err(error.into()),
    };
    let notices = undecodable
        .map(|reason| format!("{reason}: there is only audio"))
        .into_iter()
        .chain(negotiated.notes.iter().filter_map(Note::missing))
        .collect();
    let etag = local.ice.ufrag().to_owned();
    let mut visit = visit(shared, &id, stream, options)?;
    if negotiated.video.is_none()
        && let Some(track) = &stats.video
    {
        visit.awaits = decodable(&offer, track.codec);
    }
    let viewer = (negotiated, options, visit);
    enter(shared, id, (local, &identity), viewer, reservation, now)?;
    Ok(OpenedSession {
        id,
        answer: sdp,
        notices,
        etag,
    })
}

/// What accompanies a viewer, if there is a place for it.
pub(super) fn visit(
    shared: &Shared,
    id: &SessionId,
    stream: &StreamName,
    options: ViewerOptions,
) -> Result<Visit, OpenError> {
    let place = shared.hub.viewers().admit(stream, options.counts_as)?;
    // It may go over from the stream to a rendition and back.
    Ok(Visit::new(
        id,
        &stream.published(),
        options.address,
        (options.counts_as, place),
    ))
}

/// Enters a session on which both sides have agreed, to wait for the viewer's first packet.
pub(super) fn enter(
    shared: &Shared,
    id: SessionId,
    (local, identity): (LocalParameters, &Identity),
    (negotiated, options, visit): (Negotiated, ViewerOptions, Visit),
    reservation: Reservation,
    now: Instant,
) -> Result<(), InsertError> {
    let span = visit.span.clone();
    for note in &negotiated.notes {
        tracing::info!(parent: &span, "{note}");
    }
    let cname: Arc<str> = local.cname.as_str().into();
    let ufrag = local.ice.ufrag().to_owned();
    let session = PendingSession {
        id,
        stream: reservation.stream().name().clone(),
        peer: peer_config(shared, negotiated, options, local.ice, cname),
        restarted: None,
        b_frames: options.b_frames,
        dtls: identity.dtls.clone(),
        created: now,
        was_heard: false,
        reservation,
        visit,
    };
    shared.registry.insert(&ufrag, session)?;
    tracing::info!(parent: &span, "answered");
    Ok(())
}

/// Why a player that asks for video cannot decode that of the stream.
fn undecodable(offer: &Offer, track: &VideoTrack) -> Option<String> {
    if offer.can_show(track) {
        return None;
    }
    let profile_level_id = Some(track.profile_level_id);
    let needed = codec_name(track.codec, profile_level_id);
    let offered = offer.video_codecs().join(", ");
    Some(format!(
        "the picture of this stream is {needed}, and this player can show {offered}"
    ))
}

/// The codecs, besides this one, whose video the player can decode.
fn decodable(offer: &Offer, besides: VideoCodec) -> Vec<VideoCodec> {
    let codecs = [
        VideoCodec::H264,
        VideoCodec::H265,
        VideoCodec::Av1,
        VideoCodec::Vp9,
    ];
    let others = codecs.into_iter().filter(|codec| *codec != besides);
    others.filter(|codec| offer.takes(*codec, None)).collect()
}

/// What can be sent of a stream. A track that has not come yet is promised: it may come at any time.
pub(super) fn plan(stats: &StreamStats, config: &EngineConfig) -> MediaPlan {
    let becomes_opus = stats
        .audio
        .as_ref()
        .is_none_or(|track| matches!(track.codec, AudioCodec::Aac | AudioCodec::Opus));
    let video = stats.video.as_ref();
    MediaPlan {
        video: Some(VideoPlan {
            codec: video.map(|track| track.codec).unwrap_or_default(),
            profile_level_id: video.map(|track| track.profile_level_id),
            extensions: extensions(config),
        }),
        audio: becomes_opus.then(|| AudioPlan {
            extensions: extensions(config),
            red: config.audio_red,
        }),
    }
}

/// The header extensions that packets have where the viewer knows them.
fn extensions(config: &EngineConfig) -> Vec<HeaderExtension> {
    let mut extensions = vec![
        HeaderExtension::Mid,
        HeaderExtension::AbsSendTime,
        HeaderExtension::AbsCaptureTime,
    ];
    if config.transport_feedback {
        extensions.push(HeaderExtension::TransportWideCc);
    }
    if config.playout_delay.is_some() {
        extensions.push(HeaderExtension::PlayoutDelay);
    }
    extensions
}

/// Where viewers reach this gateway, the best first.
pub(super) fn candidates(shared: &Shared) -> Vec<HostCandidate> {
    let port = shared.local.port();
    let addresses = || {
        let addresses = shared.config.candidates.iter();
        addresses.map(|ip| SocketAddr::new(*ip, port))
    };
    let tcp = addresses().filter(|_| shared.has_tcp);
    addresses()
        .map(HostCandidate::udp)
        .chain(tcp.map(HostCandidate::tcp_passive))
        .collect()
}

pub(super) fn local_parameters(
    shared: &Shared,
    identity: &Identity,
    ice: Credentials,
) -> LocalParameters {
    let token = |prefix: &str| {
        let text = format!("{prefix}{:016x}", rand::random::<u64>());
        Token::new(text).expect("letters and digits are a token")
    };
    // Three sources that differ: neighbours, from a random start (RFC 3550 section 8.1).
    let ssrc = rand::random::<u32>() & !3;
    LocalParameters {
        session_id: rand::random::<u64>() >> 2,
        session_version: 1,
        ice,
        fingerprint: identity.fingerprint.clone(),
        candidates: candidates(shared),
        cname: token(""),
        stream_id: token("stream-"),
        video_track_id: token("video-"),
        audio_track_id: token("audio-"),
        video_ssrc: ssrc | 1,
        video_rtx_ssrc: ssrc | 2,
        audio_ssrc: ssrc | 3,
    }
}

fn peer_config(
    shared: &Shared,
    negotiated: Negotiated,
    options: ViewerOptions,
    ice: Credentials,
    cname: Arc<str>,
) -> PeerConfig {
    let delay = shared.config.playout_delay;
    let video = negotiated.video.as_ref().map(|video| SenderConfig {
        reorders: options.reorders,
        ..SenderConfig::video(video, delay)
    });
    let audio = negotiated.audio.as_ref().map(SenderConfig::audio);
    PeerConfig {
        local: ice,
        remote: negotiated.remote.ice,
        fingerprints: negotiated.remote.fingerprints,
        role: DtlsRole::of_answer(negotiated.setup),
        video,
        audio,
        data: negotiated.data.map(|data| data.config),
        cname,
        start_pacing: shared.config.start_pacing,
        pace_pictures: shared.config.pace_pictures,
    }
}
