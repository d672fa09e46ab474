//! Listeners, addresses, limits and deadlines, independent of the protocol. A leaf crate: it
//! depends only on `distributary-config`.
//!
//! * [`Listener`] accepts TCP connections over IPv6 and IPv4, and survives a failing `accept`.
//! * [`bind_socket`] binds a socket for both.
//! * [`ListenAddress`] is an address as written in the configuration.
//! * [`QuickAck`] is a TCP stream that acknowledges at once.
//! * [`Quota`] and [`PerAddress`] limit how many of something there may be.
//! * [`FairQuota`] revokes permits of the address with the most in favor of newcomers.
//! * [`sync`] has the locks of tables that threads share.
//! * [`reached`] waits for a moment that may not be set.
//! * [`network`] returns the unit that limits per address count; [`TrustedProxies`] finds the
//!   client behind a proxy.

mod address;
mod deadline;
mod dual_stack;
mod fair;
mod listen;
mod listen_address;
mod quick_ack;
mod quota;
pub mod sync;

pub use address::{
    IpNet, NetworkError, TrustedProxies, canonical_address, limited, network, parse_network,
};
pub use deadline::reached;
pub use dual_stack::bind_socket;
pub use fair::{Displaced, FairPermit, FairQuota, GRACE, Revocation};
pub use listen::{BindError, Listener, bind};
pub use listen_address::{AddressError, ListenAddress, OptionalAddress};
pub use quick_ack::QuickAck;
pub use quota::{Counts, Full, Held, PerAddress, Permit, Quota};
