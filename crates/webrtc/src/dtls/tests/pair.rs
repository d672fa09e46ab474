//! Two associations, and the wire between them.

use std::time::Instant;

use super::{association, certificate, connected_keys, origin};
use crate::dtls::{Dtls, DtlsRole};
use crate::srtp::SrtpKeys;

/// Direction of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Client,
    Server,
}

/// A client and a server, and the clock of both.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) client: Dtls,
    pub(super) server: Dtls,
    /// Everything that was sent, lost or not.
    pub(super) sent: Vec<(Towards, Vec<u8>)>,
    /// The number of datagrams until both sides were connected.
    pub(super) handshake: Option<usize>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let (ours, theirs) = (certificate(), certificate());
        Self::of(
            association(DtlsRole::Client, &theirs, ours.fingerprint()),
            association(DtlsRole::Server, &ours, theirs.fingerprint()),
        )
    }

    pub(super) fn of(client: Dtls, server: Dtls) -> Self {
        Self {
            now: origin(),
            client,
            server,
            sent: Vec::new(),
            handshake: None,
        }
    }

    /// Returns a pair that is connected, with the keys of client and server.
    pub(super) fn connected() -> (Self, SrtpKeys, SrtpKeys) {
        let mut pair = Self::new();
        pair.run(|_, _| true);
        let client = connected_keys(&mut pair.client);
        let server = connected_keys(&mut pair.server);
        (pair, client, server)
    }

    /// Starts, and delivers the datagrams that `is_delivered` accepts by their number, until both
    /// sides are silent and at rest.
    pub(super) fn run(&mut self, is_delivered: impl Fn(usize, &[u8]) -> bool) {
        self.client.start(self.now);
        self.server.start(self.now);
        for _ in 0..50 {
            while self.deliver(&is_delivered) {}
            if self.client.is_connected() && self.server.is_connected() {
                self.handshake.get_or_insert(self.sent.len());
            }
            let deadlines = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(deadline) = deadlines.into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(deadline);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        panic!("handshake does not come to an end");
    }

    pub(super) fn deliver(&mut self, is_delivered: impl Fn(usize, &[u8]) -> bool) -> bool {
        let datagram = self
            .client
            .poll_transmit()
            .map(|datagram| (Towards::Server, datagram))
            .or_else(|| {
                let datagram = self.server.poll_transmit()?;
                Some((Towards::Client, datagram))
            });
        let Some((towards, datagram)) = datagram else {
            return false;
        };
        if is_delivered(self.sent.len(), &datagram) {
            match towards {
                Towards::Client => self.client.handle_datagram(self.now, &datagram),
                Towards::Server => self.server.handle_datagram(self.now, &datagram),
            }
        }
        self.sent.push((towards, datagram));
        true
    }
}
