//! Plaintext DTLS records of the wrong kind during a handshake: does the session live?
//!
//! They come from the session's own socket, where anybody could forge them.

use std::time::Duration;

use tokio::time::Instant;

use super::association::Association;
use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::records::{Junk, junk};
use super::session::Session;

/// Timeout for media: longer than the first retransmissions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of a datagram.
const WAIT: Duration = Duration::from_millis(10);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut http = HttpPeer::connect(context, 0).await?;
    for Junk { name, record } in junk() {
        let session = Session::ask(context, &mut http, &context.target().stream, false).await?;
        let survives = survives(context, &session, &record).await?;
        context.note(name, f64::from(u8::from(survives)));
        let line = format!("DELETE {}", session.path);
        http.request(context, &line, "", "").await?;
    }
    Ok(())
}

/// Returns whether a session has media in the end, with the record before each of its datagrams of
/// DTLS.
async fn survives(
    context: &Context,
    session: &Session,
    record: &[u8],
) -> Result<bool, AttackError> {
    let mut association = Association::new(context, 0, session).await?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    while Instant::now() < deadline && !association.has_ended {
        association.turn(context, WAIT, Some(record)).await?;
        if association.is_connected && association.has_media {
            return Ok(true);
        }
    }
    Ok(false)
}
