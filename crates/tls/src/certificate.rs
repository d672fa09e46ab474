//! The certificates of a running listener.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::Tickets;
use crate::error::TlsError;
use crate::identity::{Loaded, TlsIdentity};
use crate::validity::Validity;

/// Minimum interval between two checks of the files for a change.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two warnings that a certificate in use expires.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates of a listener, which follow their files.
pub struct Certificate {
    /// The listener that uses them, for the log.
    owner: &'static str,
    identity: TlsIdentity,
    tickets: Tickets,
    current: Mutex<Current>,
}

struct Current {
    loaded: Loaded,
    modified: Option<Vec<SystemTime>>,
    checked: Instant,
    warned: Instant,
}

impl Certificate {
    /// Reads or generates the certificates of `owner`: `RTMPS`, `HTTPS`. Logs a warning for each
    /// that clients refuse, or refuse soon.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn new(
        owner: &'static str,
        identity: TlsIdentity,
        tickets: Tickets,
    ) -> Result<Self, TlsError> {
        let now = Instant::now();
        let current = Current {
            modified: identity.modified(),
            loaded: identity.load(tickets)?,
            checked: now,
            warned: now,
        };
        log_warnings(owner, &current.loaded);
        Ok(Self {
            owner,
            identity,
            tickets,
            current: Mutex::new(current),
        })
    }

    /// Returns the acceptor of TLS connections. It reloads the certificates if a file has changed;
    /// if that fails, the old ones stay in use.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.with_current(|loaded| loaded.acceptor.clone())
    }

    /// Returns the validity of each certificate from a file.
    pub fn validities(&self) -> Vec<Validity> {
        self.with_current(|loaded| loaded.validities.clone())
    }

    fn with_current<T>(&self, read: impl FnOnce(&Loaded) -> T) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.checked.elapsed() >= RELOAD_INTERVAL {
            current.checked = Instant::now();
            self.follow(&mut current);
        }
        read(&current.loaded)
    }

    /// Reloads the certificates if a file has changed, and repeats warnings each day.
    fn follow(&self, current: &mut Current) {
        let modified = self.identity.modified();
        if modified != current.modified {
            current.modified = modified;
            match self.identity.load(self.tickets) {
                Ok(loaded) => {
                    info!("the {} certificate has been reloaded", self.owner);
                    current.loaded = loaded;
                    log_warnings(self.owner, &current.loaded);
                    current.warned = Instant::now();
                }
                Err(error) => {
                    warn!(%error, "the new {} certificate cannot be used; the old one stays in use", self.owner);
                }
            }
        }
        if current.warned.elapsed() >= WARNING_INTERVAL {
            current.warned = Instant::now();
            log_warnings(self.owner, &current.loaded);
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the listener drives its certificate"
)]
fn log_warnings(owner: &str, loaded: &Loaded) {
    for warning in loaded.warnings(SystemTime::now()) {
        warn!("{owner}: {warning}");
    }
}
