//! The section `[pulls]` of the configuration, and the limits it sets.

use std::net::IpAddr;
use std::sync::Arc;

use distributary_config::Section;
use distributary_net::{Counts, Held, limited, network};
use serde::{Deserialize, Serialize};

/// The section `[pulls]`: limits of pulled streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct PullsConfig {
    /// Maximum number of streams pulled at a time, including attempts.
    pub max: usize,
    /// Maximum number of streams from one server; 0 for `max`, since most edges have one origin.
    pub max_per_origin: usize,
    /// Maximum number of pulls that are not live yet and were requested by one IPv4 address or IPv6
    /// /64 network. The loopback address has no limit of its own.
    pub max_per_ip: usize,
}

impl Default for PullsConfig {
    fn default() -> Self {
        Self {
            max: 1024,
            max_per_origin: 0,
            max_per_ip: 16,
        }
    }
}

/// The limit that refuses a pull.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PullLimit {
    #[error("the limit of {0} pulled streams is reached (max under [pulls])")]
    Total(usize),
    #[error("the limit of {1} streams pulled from {0} is reached (max_per_origin under [pulls])")]
    Origin(String, usize),
    #[error(
        "the limit of {0} streams that this address waits for is reached (max_per_ip under [pulls])"
    )]
    Address(usize),
}

/// Counts the pulled streams.
#[derive(Debug)]
pub(super) struct PullQuota {
    limits: PullsConfig,
    total: Arc<Counts<()>>,
    origins: Arc<Counts<String>>,
    askers: Arc<Counts<IpAddr>>,
}

/// The right to pull one stream.
#[derive(Debug)]
pub(super) struct PullPermit {
    _total: Held<()>,
    _origin: Held<String>,
    /// Counts for the address that requested the stream, until the stream is live.
    pub(super) asker: Option<Held<IpAddr>>,
}

impl PullQuota {
    pub(super) fn new(limits: PullsConfig) -> Self {
        Self {
            limits,
            total: Arc::default(),
            origins: Arc::default(),
            askers: Arc::default(),
        }
    }

    /// Takes a permit for a stream of the server `origin`, counted for the first `asker`.
    pub(super) fn take(
        &self,
        origin: &str,
        asker: Option<IpAddr>,
    ) -> Result<PullPermit, PullLimit> {
        let PullsConfig {
            max,
            max_per_origin,
            max_per_ip,
        } = self.limits;
        let asker = match asker.and_then(limited) {
            Some(ip) => {
                let held = self.askers.take(network(ip), max_per_ip);
                Some(held.ok_or(PullLimit::Address(max_per_ip))?)
            }
            None => None,
        };
        let total = self.total.take((), max).ok_or(PullLimit::Total(max))?;
        let max_per_origin = if max_per_origin == 0 {
            max
        } else {
            max_per_origin
        };
        let held = self.origins.take(origin.to_owned(), max_per_origin);
        let origin = held.ok_or_else(|| PullLimit::Origin(origin.to_owned(), max_per_origin))?;
        Ok(PullPermit {
            _total: total,
            _origin: origin,
            asker,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_are_limited_in_all_by_origin_and_by_asker() {
        let quota = PullQuota::new(PullsConfig {
            max: 3,
            max_per_origin: 2,
            max_per_ip: 1,
        });
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let mut first = quota.take("a", ip(1)).unwrap();
        assert_eq!(quota.take("b", ip(1)).unwrap_err(), PullLimit::Address(1));
        first.asker = None;
        let _second = quota.take("a", ip(1)).unwrap();
        let full = PullLimit::Origin("a".into(), 2);
        assert_eq!(quota.take("a", ip(2)).unwrap_err(), full);
        let third = quota.take("b", ip(2)).unwrap();
        assert_eq!(quota.take("c", None).unwrap_err(), PullLimit::Total(3));
        drop(third);
        assert!(quota.take("c", ip(2)).is_ok());
    }

    #[test]
    fn loopback_asker_has_no_limit_of_its_own() {
        let limits = PullsConfig::default();
        let quota = PullQuota::new(limits);
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        let take = || quota.take("a", local);
        let taken: Vec<_> = (0..limits.max).map(|_| take().unwrap()).collect();
        assert_eq!(take().unwrap_err(), PullLimit::Total(limits.max));
        drop(taken);
    }
}
