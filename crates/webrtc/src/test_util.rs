//! Fixtures for tests.

use std::net::SocketAddr;

use crate::certificate::Fingerprint;
use crate::dtls::DtlsRole;
use crate::ice::Credentials;
use crate::sdp::{HostCandidate, LocalParameters, Token};

/// Returns our parameters of a session with fixed names and numbers, and one UDP candidate.
pub fn local_parameters(
    ice: Credentials,
    fingerprint: Fingerprint,
    candidate: SocketAddr,
) -> LocalParameters {
    let token = |text: &str| Token::new(text).expect("letters are a token");
    LocalParameters {
        session_id: 1,
        session_version: 1,
        ice,
        fingerprint,
        candidates: vec![HostCandidate::udp(candidate)],
        cname: token("cname"),
        stream_id: token("stream"),
        video_track_id: token("video"),
        audio_track_id: token("audio"),
        video_ssrc: 1,
        video_rtx_ssrc: 2,
        audio_ssrc: 3,
        role: DtlsRole::Server,
    }
}
