//! A viewer that behaves, for attacks that need one.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::session::{MAX_DATAGRAM, Session};
use crate::viewer::Viewer;

/// Timeout of a session's creation.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A session whose media is received.
pub(super) struct Watcher {
    pub(super) session: Session,
    viewer: Viewer,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl Watcher {
    /// Creates a viewer that has media.
    pub(super) async fn watch(
        context: &Context,
        source: usize,
        stream: &str,
    ) -> Result<Self, AttackError> {
        let mut http = HttpPeer::connect(context, source).await?;
        let session = Session::ask(context, &mut http, stream, false).await?;
        let socket = context.datagrams(session.server, source).await?;
        let mut viewer = Viewer::new(session.local.clone(), session.tie_breaker, false);
        let now = Instant::now().into_std();
        viewer.handle_answer(now, session.answer.clone(), session.server, context.dtls())?;
        let mut watcher = Self {
            session,
            viewer,
            socket,
            buffer: vec![0; MAX_DATAGRAM],
        };
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while watcher.viewer.first_packet().is_none() && Instant::now() < deadline {
            watcher.turn(context).await?;
        }
        match watcher.viewer.first_packet() {
            Some(_) => Ok(watcher),
            None => Err(AttackError::Timeout("media", CONNECT_TIMEOUT)),
        }
    }

    /// Handles one datagram, or a due timeout.
    async fn turn(&mut self, context: &Context) -> Result<(), AttackError> {
        while let Some(datagram) = self.viewer.poll_transmit() {
            context.spend(datagram.len()).await;
            self.socket.send(&datagram).await?;
        }
        let now = Instant::now();
        let due = self.viewer.poll_timeout().map_or(CONNECT_TIMEOUT, |due| {
            due.saturating_duration_since(now.into_std())
        });
        match timeout(due, self.socket.recv(&mut self.buffer)).await {
            Ok(len) => {
                let datagram = self.buffer.get(..len?).unwrap_or_default();
                context.received(datagram.len());
                let now = Instant::now().into_std();
                self.viewer.handle_datagram(now, datagram);
            }
            Err(_) => self.viewer.handle_timeout(Instant::now().into_std()),
        }
        Ok(())
    }

    /// Watches for the rest of the attack.
    pub(super) async fn go_on(&mut self, context: &Context) -> Result<(), AttackError> {
        loop {
            self.turn(context).await?;
        }
    }
}
