//! WHEP sessions with checks, handshakes and data written by hand.

use std::net::SocketAddr;

use distributary_webrtc::dtls::Dtls;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::stun::{Class, IceRole, MessageWriter, Method, TransactionId};

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use crate::answer::Answer;
use crate::offer::offer;

/// Longest datagram: some attacks look for those that are too long for the network.
pub(super) const MAX_DATAGRAM: usize = 1 << 16;

/// The section of a data channel (RFC 8841), for the transport of the others.
const DATA_SECTION: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    c=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n";

/// A session that the gateway has granted over HTTP.
pub(super) struct Session {
    pub(super) answer: Answer,
    /// URL to change and end it.
    pub(super) path: String,
    /// Source address of its media.
    pub(super) server: SocketAddr,
    pub(super) local: Credentials,
    pub(super) tie_breaker: u64,
}

impl Session {
    /// Asks for a session of `stream`, with a data channel if `has_data`.
    pub(super) async fn ask(
        context: &Context,
        http: &mut HttpPeer,
        stream: &str,
        has_data: bool,
    ) -> Result<Self, AttackError> {
        let local = Credentials::generate().map_err(|_| AttackError::Random)?;
        let tie_breaker = rand::random();
        let mut sdp = offer(
            tie_breaker,
            &local,
            context.certificate().fingerprint(),
            false,
        );
        if has_data {
            sdp = with_data(&sdp);
        }
        let line = format!("POST /whep/{stream}");
        let headers = "Content-Type: application/sdp\r\n";
        let response = http.request(context, &line, headers, &sdp).await?;
        let response = response.success()?;
        let answer = Answer::parse(&response.body)?;
        let server = answer.candidate(Some(context.target().media.ip()));
        let path = response.header("location").unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            server: server.unwrap_or(context.target().media),
            answer,
            local,
            tie_breaker,
        })
    }

    /// Returns a connectivity check with everything that makes it valid; with `nominates`, media
    /// goes to where it comes from (RFC 8445 section 7.2.2).
    pub(super) fn check(&self, nominates: bool) -> Vec<u8> {
        let remote = &self.answer.credentials;
        let username = format!("{}:{}", remote.ufrag(), self.local.ufrag());
        let mut datagram = Vec::with_capacity(128);
        let transaction = TransactionId(rand::random());
        let writer =
            MessageWriter::new(&mut datagram, Class::Request, Method::BINDING, transaction)
                .username(&username)
                .ice_role(IceRole::Controlling(self.tie_breaker));
        let writer = if nominates {
            writer.use_candidate()
        } else {
            writer
        };
        writer
            .priority(u32::MAX >> 1)
            .message_integrity(remote.password().as_bytes())
            .finish();
        datagram
    }

    /// Returns a DTLS association of this session, not begun.
    pub(super) fn dtls(&self, context: &Context) -> Result<Dtls, AttackError> {
        let expected = self.answer.fingerprints.clone();
        Ok(Dtls::new(context.dtls(), self.answer.role, expected)?)
    }
}

/// Returns an offer that asks for a data channel as well.
fn with_data(sdp: &str) -> String {
    let is_transport =
        |line: &&str| line.starts_with("a=ice-") || line.starts_with("a=fingerprint");
    // Ufrag, password, options, fingerprint: those of the first section.
    let transport: Vec<_> = sdp.lines().filter(is_transport).take(4).collect();
    let sdp = sdp.replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    format!(
        "{sdp}{DATA_SECTION}{}\r\na=setup:actpass\r\n",
        transport.join("\r\n")
    )
}

#[cfg(test)]
mod tests {
    use distributary_webrtc::certificate::{Fingerprint, HashAlgorithm};
    use distributary_webrtc::sdp::{MediaKind, Offer};

    use super::*;

    #[test]
    fn data_channel_is_offered_on_the_transport_of_the_media() {
        let credentials = Credentials::generate().unwrap();
        let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"certificate");
        let sdp = with_data(&offer(1, &credentials, &fingerprint, false));
        let offer = Offer::parse(&sdp).unwrap();
        let data = offer.media().last().unwrap();
        assert!(!matches!(data.kind, MediaKind::Audio | MediaKind::Video));
        assert_eq!(data.transport.as_ref().unwrap().ice, credentials);
    }
}
