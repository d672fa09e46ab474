//! Sessions prepared for pages: offers that go out with a page, before its player asks for one.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_net::{Full, Permit, Quota};

/// Timeout for the page's answer. A page that is shown answers as soon as it has arrived.
pub const PREPARED_LIFETIME: Duration = Duration::from_secs(10);

/// Maximum number of prepared sessions that wait for an answer, some 2 KiB each. Further pages come
/// without an offer, and their players ask for a session as all others do.
pub(crate) const MAX_PREPARED: usize = 1000;

/// Maximum number of those of one address; an IPv6 /64 network counts as one.
pub(crate) const MAX_PREPARED_PER_ADDRESS: usize = 50;

/// Counts prepared sessions.
pub(crate) struct Prepared {
    quota: Quota,
    made: AtomicU64,
    answered: AtomicU64,
    expired: AtomicU64,
}

/// Numbers of prepared sessions since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreparedStats {
    /// Sent with a page.
    pub made: u64,
    /// Of these, answered by the page.
    pub answered: u64,
    /// Of these, not answered in time.
    pub expired: u64,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            quota: Quota::new(MAX_PREPARED, MAX_PREPARED_PER_ADDRESS),
            made: AtomicU64::default(),
            answered: AtomicU64::default(),
            expired: AtomicU64::default(),
        }
    }
}

impl Prepared {
    /// Admits another prepared session of an address; it counts until the permit is dropped.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Permit, Full> {
        self.quota.take(address)
    }

    pub(crate) fn note_made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_expired(&self, count: u64) {
        self.expired.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> PreparedStats {
        PreparedStats {
            made: self.made.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }
}
