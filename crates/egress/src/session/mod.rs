//! Sessions: ids, and the registry in which an answered viewer waits for its first packet.

mod context;
mod ended;
pub(crate) mod id;
mod options;
mod pending;
mod registry;
mod watch;

pub(crate) use context::SessionContext;
pub use id::{InvalidSessionId, SessionId, ShortId};
pub use options::{ViewerClient, ViewerOptions};
pub use pending::CONNECT_TIMEOUT;
pub(crate) use pending::PendingSession;
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use registry::RELEASES_BEFORE_CLAIM;
pub(crate) use registry::{
    Challenge, Claim, Closing, Ended, Found, Location, MAX_FRAGMENTS, Registry, Reported,
    RestartError,
};
pub use watch::SessionWatch;
