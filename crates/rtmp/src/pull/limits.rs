//! The section `[pulls]` of the configuration, and the places that it gives.

use std::net::IpAddr;
use std::sync::Arc;

use distributary_config::Section;
use distributary_net::{Counts, Held, limited, network};
use serde::{Deserialize, Serialize};

/// The section `[pulls]`: how many streams may be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct PullsConfig {
    /// Most streams that are pulled at a time, or that the gateway tries to pull.
    pub max: usize,
    /// Most of them from one server; 0 for all, because most edges have one origin.
    pub max_per_origin: usize,
    /// Most pulls under way, not live yet, that one IPv4 address or one IPv6 /64 network has asked for;
    /// this machine may ask for all.
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

/// Why a stream is not pulled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("as many streams are pulled as may be ({0}; max under [pulls])")]
    Total(usize),
    #[error("as many streams are pulled from {0} as may be ({1}; max_per_origin under [pulls])")]
    Origin(String, usize),
    #[error("this address waits for as many streams as it may ({0}; max_per_ip under [pulls])")]
    Address(usize),
}

/// The streams that are pulled now.
#[derive(Debug)]
pub(super) struct Places {
    limits: PullsConfig,
    total: Arc<Counts<()>>,
    origins: Arc<Counts<String>>,
    askers: Arc<Counts<IpAddr>>,
}

/// The right to pull one stream.
#[derive(Debug)]
pub(super) struct PullPlace {
    _total: Held<()>,
    _origin: Held<String>,
    /// Until the stream is live.
    pub(super) asker: Option<Held<IpAddr>>,
}

impl Places {
    pub(super) fn new(limits: PullsConfig) -> Self {
        Self {
            limits,
            total: Arc::default(),
            origins: Arc::default(),
            askers: Arc::default(),
        }
    }

    /// Takes a place for a stream of the server `origin`, for whoever has asked first.
    pub(super) fn take(&self, origin: &str, asker: Option<IpAddr>) -> Result<PullPlace, NoPlace> {
        let PullsConfig {
            max,
            max_per_origin,
            max_per_ip,
        } = self.limits;
        let asker = match asker.and_then(limited) {
            Some(ip) => {
                let held = self.askers.take(network(ip), max_per_ip);
                Some(held.ok_or(NoPlace::Address(max_per_ip))?)
            }
            None => None,
        };
        let total = self.total.take((), max).ok_or(NoPlace::Total(max))?;
        let max_per_origin = if max_per_origin == 0 {
            max
        } else {
            max_per_origin
        };
        let held = self.origins.take(origin.to_owned(), max_per_origin);
        let origin = held.ok_or_else(|| NoPlace::Origin(origin.to_owned(), max_per_origin))?;
        Ok(PullPlace {
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
    fn places_are_bounded_in_all_by_origin_and_by_asker() {
        let places = Places::new(PullsConfig {
            max: 3,
            max_per_origin: 2,
            max_per_ip: 1,
        });
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let mut first = places.take("a", ip(1)).unwrap();
        assert_eq!(places.take("b", ip(1)).unwrap_err(), NoPlace::Address(1));
        first.asker = None;
        let _second = places.take("a", ip(1)).unwrap();
        let full = NoPlace::Origin("a".into(), 2);
        assert_eq!(places.take("a", ip(2)).unwrap_err(), full);
        let third = places.take("b", ip(2)).unwrap();
        assert_eq!(places.take("c", None).unwrap_err(), NoPlace::Total(3));
        drop(third);
        assert!(places.take("c", ip(2)).is_ok());
    }

    #[test]
    fn one_origin_may_have_all_and_this_machine_may_ask_for_all() {
        let limits = PullsConfig::default();
        let places = Places::new(limits);
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        let take = || places.take("a", local);
        let taken: Vec<_> = (0..limits.max).map(|_| take().unwrap()).collect();
        assert_eq!(take().unwrap_err(), NoPlace::Total(limits.max));
        drop(taken);
    }
}
