//! What every listener needs, whatever it speaks. A leaf: it depends only on
//! how values are written in the configuration.
//!
//! * [`Listener`] accepts TCP connections over IPv6 and IPv4, and survives a failing `accept`.
//! * [`ListenAddress`] is an address as the configuration has it.
//! * [`QuickAck`] is a TCP stream that acknowledges at once.
//! * [`Quota`] and [`PerAddress`] bound how many of something there may be.
//! * [`FairQuota`] bounds what can be taken back: who has the most makes room for newcomers.
//! * [`network`] says what counts as one address, and [`TrustedProxies`] which proxies are believed.

mod address;
mod fair;
mod listen;
mod listen_address;
mod quick_ack;
mod quota;

pub use address::{IpNet, NetworkError, TrustedProxies, limited, network, parse_network};
pub use fair::{Displaced, FairPermit, FairQuota, GRACE, Revocation};
pub use listen::{BindError, Listener, bind};
pub use listen_address::{AddressError, ListenAddress, OptionalAddress};
pub use quick_ack::QuickAck;
pub use quota::{Counts, Full, Held, PerAddress, Permit, Quota};
