//! The transport of a session, below its media: ICE and DTLS.

use std::time::Duration;

use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::dtls::{Dtls, DtlsEvent};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::context::Context;
use super::error::AttackError;
use super::session::{MAX_DATAGRAM, Session};
use crate::ice::ControllingAgent;

/// An agent and an association of DTLS over one socket.
pub(super) struct Association {
    pub(super) dtls: Dtls,
    socket: UdpSocket,
    agent: ControllingAgent,
    /// True if the handshake is complete.
    pub(super) is_connected: bool,
    /// True if it has failed, or the gateway has ended it.
    pub(super) has_ended: bool,
    /// True if media has come.
    pub(super) has_media: bool,
    buffer: Vec<u8>,
}

impl Association {
    pub(super) async fn new(
        context: &Context,
        source: usize,
        session: &Session,
    ) -> Result<Self, AttackError> {
        Ok(Self {
            dtls: session.dtls(context)?.with_application_data(),
            socket: context.datagrams(session.server, source).await?,
            agent: ControllingAgent::new(
                Instant::now().into_std(),
                session.local.clone(),
                session.answer.credentials.clone(),
                session.server,
                session.tie_breaker,
            ),
            is_connected: false,
            has_ended: false,
            has_media: false,
            buffer: vec![0; MAX_DATAGRAM],
        })
    }

    /// Sends what is due, `before` in front of each datagram of DTLS, then takes one datagram if
    /// one comes within `wait`. Returns its kind and length.
    pub(super) async fn turn(
        &mut self,
        context: &Context,
        wait: Duration,
        before: Option<&[u8]>,
    ) -> Result<Option<(DatagramKind, usize)>, AttackError> {
        let now = Instant::now().into_std();
        self.agent.handle_timeout(now);
        self.dtls.handle_timeout(now);
        while let Some(check) = self.agent.poll_transmit() {
            self.send(context, &check).await?;
        }
        while let Some(datagram) = self.dtls.poll_transmit() {
            if let Some(before) = before {
                self.send(context, before).await?;
            }
            self.send(context, &datagram).await?;
        }
        let Ok(len) = timeout(wait, self.socket.recv(&mut self.buffer)).await else {
            return Ok(None);
        };
        let datagram = self.buffer.get(..len?).unwrap_or_default();
        context.received(datagram.len());
        let now = Instant::now().into_std();
        let kind = DatagramKind::of(datagram);
        match kind {
            DatagramKind::Stun => {
                self.agent.handle_message(now, datagram);
                if self.agent.is_connected() {
                    self.dtls.start(now);
                }
            }
            DatagramKind::Dtls => self.dtls.handle_datagram(now, datagram),
            DatagramKind::Rtp => self.has_media = true,
            DatagramKind::Rtcp | DatagramKind::Unknown => {}
        }
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Keys { .. } => {}
                DtlsEvent::Connected => self.is_connected = true,
                _ => self.has_ended = true,
            }
        }
        Ok(Some((kind, datagram.len())))
    }

    async fn send(&self, context: &Context, datagram: &[u8]) -> Result<(), AttackError> {
        context.spend(datagram.len()).await;
        self.socket.send(datagram).await?;
        Ok(())
    }
}
