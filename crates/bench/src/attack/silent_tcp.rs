//! TCP connections that say nothing: to the media port (ICE-TCP), to RTMP and to HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::context::Context;
use super::error::AttackError;

/// Connections to each port, all from one address.
const MEDIA: usize = 5000;
const RTMP: usize = 1000;
const HTTP: usize = 1000;

/// Connections that are made before the others have their turn.
const BATCH: usize = 50;

/// From one look at the connections to the next.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let target = context.target();
    let mut ports = [
        (
            "media connections, most at a time",
            target.media,
            MEDIA,
            Vec::new(),
        ),
        (
            "RTMP connections, most at a time",
            target.rtmp,
            RTMP,
            Vec::new(),
        ),
        (
            "HTTP connections, most at a time",
            target.http,
            HTTP,
            Vec::new(),
        ),
    ];
    let mut left = MEDIA.div_ceil(BATCH);
    while left > 0 {
        left -= 1;
        for (_, address, most, connections) in &mut ports {
            for _ in 0..BATCH.min(most.saturating_sub(connections.len())) {
                match context.connect(*address, 0).await {
                    Ok(connection) => connections.push(connection),
                    Err(_) => context.add("connections refused", 1.0),
                }
            }
        }
        note(context, &mut ports);
    }
    loop {
        note(context, &mut ports);
        sleep(PAUSE).await;
    }
}

type Port = (&'static str, SocketAddr, usize, Vec<TcpStream>);

/// Counts the connections that the gateway has not closed, at most.
fn note(context: &Context, ports: &mut [Port]) {
    for (name, _, _, connections) in ports {
        connections.retain(is_open);
        context.note_max(name, connections.len() as f64);
    }
}

fn is_open(connection: &TcpStream) -> bool {
    match connection.try_read(&mut [0; 1024]) {
        Ok(len) => len > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
