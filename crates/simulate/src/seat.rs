//! The place of a viewer: its path, and its player while it has one.

use std::net::SocketAddr;
use std::time::Instant;

use distributary_egress::session::SessionId;

use crate::check::Checker;
use crate::client::Player;
use crate::network::{Datagram, Link};
use crate::scenario::ViewerPlan;
use crate::tcp::TcpPath;
use crate::trace::Trace;

/// The place of a viewer.
pub(crate) struct Seat {
    pub(crate) plan: ViewerPlan,
    /// Its address as the gateway sees it.
    pub(crate) address: SocketAddr,
    pub(crate) up: Link,
    pub(crate) down: Link,
    /// Its TCP connection, in place of the links.
    pub(crate) tcp: Option<TcpPath>,
    /// It wants to watch: a player that fails is replaced.
    pub(crate) is_wanted: bool,
    /// When it joins next.
    pub(crate) join_at: Option<Instant>,
    pub(crate) watching: Option<Watching>,
    /// Players that it has had.
    pub(crate) players: u64,
    /// The address from which somebody else sends copies of its checks.
    pub(crate) forged: Option<SocketAddr>,
    pub(crate) trace: Trace,
}

/// A player with its session.
pub(crate) struct Watching {
    pub(crate) player: Box<dyn Player>,
    pub(crate) session: SessionId,
    pub(crate) checker: Checker,
    pub(crate) since: Instant,
    /// Its path has lost datagrams since it came.
    pub(crate) is_lossy: bool,
    /// Its path may have lost more than retransmissions repair.
    pub(crate) is_harsh: bool,
    /// The first packets of media may not have come.
    pub(crate) may_lack_first: bool,
    /// Packets that the player has given up, as far as they are accounted for.
    pub(crate) given_up: u64,
}

impl Watching {
    /// Returns the name of its session in the log.
    pub(crate) fn name(&self) -> String {
        self.session.short().to_string()
    }
}

impl Seat {
    /// Returns when something of it is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let player = self.watching.as_ref();
        let player = player.and_then(|watching| watching.player.poll_timeout());
        let links = [self.up.poll_timeout(), self.down.poll_timeout()];
        let tcp = self.tcp.as_ref().and_then(TcpPath::poll_timeout);
        [self.join_at, player, tcp]
            .into_iter()
            .chain(links)
            .flatten()
            .min()
    }

    /// Sends what the player has to send.
    pub(crate) fn transmit(&mut self, now: Instant) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        while let Some(bytes) = watching.player.poll_transmit() {
            let viewer = self.address;
            match &mut self.tcp {
                Some(tcp) => tcp.send(&bytes),
                None => self.up.send(Datagram { viewer, bytes }, now),
            }
        }
    }
}
