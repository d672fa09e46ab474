//! The gateway's side of a session description: the tracks to send, and the candidates.

use std::net::SocketAddr;

use distributary_hub::StreamStats;

use crate::engine_config::EngineConfig;
use crate::playout_delay::PlayoutDelaySetting;
use crate::state::{EngineState, Identity};
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{
    AudioPlan, HeaderExtension, HostCandidate, LocalParameters, MediaPlan, Token, VideoPlan,
};

/// Returns the tracks to offer. A track that has not come yet is promised: it may come at any time.
pub(super) fn plan(stats: &StreamStats, config: &EngineConfig) -> MediaPlan {
    let video = stats.video.as_ref();
    MediaPlan {
        video: Some(VideoPlan {
            codec: video.map(|track| track.codec).unwrap_or_default(),
            profile_level_id: video.map(|track| track.profile_level_id),
            extensions: extensions(config),
        }),
        // Every codec that a publisher may send becomes Opus.
        audio: Some(AudioPlan {
            extensions: extensions(config),
            red: config.viewers.audio_red,
        }),
    }
}

/// Returns the header extensions of packets where the viewer supports them.
fn extensions(config: &EngineConfig) -> Vec<HeaderExtension> {
    let mut extensions = vec![
        HeaderExtension::Mid,
        HeaderExtension::AbsSendTime,
        HeaderExtension::AbsCaptureTime,
    ];
    if config.viewers.transport_feedback {
        extensions.push(HeaderExtension::TransportWideCc);
    }
    if config.viewers.playout_delay != PlayoutDelaySetting::Viewer {
        extensions.push(HeaderExtension::PlayoutDelay);
    }
    extensions
}

/// Returns the candidates of this gateway, the best first.
pub(super) fn candidates(shared: &EngineState) -> Vec<HostCandidate> {
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

/// Returns the gateway's parameters of a new session.
pub(super) fn parameters(
    shared: &EngineState,
    identity: &Identity,
    ice: Credentials,
    role: DtlsRole,
) -> LocalParameters {
    let token = |prefix: &str| {
        let text = format!("{prefix}{:016x}", rand::random::<u64>());
        Token::new(text).expect("letters and digits are a token")
    };
    // Three sources that differ: neighbors, from a random start (RFC 3550 section 8.1).
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
        role,
    }
}
