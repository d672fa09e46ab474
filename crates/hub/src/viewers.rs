//! The count of viewers and its limits, whatever protocol they use.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use distributary_names::StreamName;
use distributary_net::sync::Mutex;
use distributary_net::{Counts, Full, Held, PerAddress};

use crate::memory::{Memory, Pressure};

/// Limits of the number of viewers. WebRTC sessions and RTMP players count alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewerLimits {
    /// Maximum viewers.
    pub max: usize,
    /// Maximum viewers of one stream.
    pub max_per_stream: usize,
    /// Maximum viewers from one address; an IPv6 /64 network counts as one address.
    pub max_per_address: usize,
}

impl Default for ViewerLimits {
    fn default() -> Self {
        Self {
            max: 20_000,
            max_per_stream: 20_000,
            max_per_address: 5_000,
        }
    }
}

/// The limit that refuses another viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyViewers {
    /// The limit of all viewers.
    #[error("the limit of {0} viewers is reached")]
    Total(usize),
    /// The limit of viewers of one stream.
    #[error("the limit of {0} viewers of this stream is reached")]
    Stream(usize),
    /// The limit of viewers from one address.
    #[error("the limit of {0} viewers from one address is reached")]
    Address(usize),
    /// The memory of the gateway.
    #[error("the memory of the gateway is nearly used up")]
    Memory,
}

/// Counts all viewers, and refuses more than the limits.
#[derive(Debug)]
pub struct Viewers {
    limits: RwLock<ViewerLimits>,
    /// Held while a viewer is admitted or refused: one that is refused takes no place meanwhile.
    admitting: Mutex<()>,
    all: Arc<Counts<()>>,
    by_stream: Arc<Counts<StreamName>>,
    by_address: PerAddress,
    memory: Arc<Memory>,
}

/// The permit of one viewer, returned when it is dropped.
#[derive(Debug)]
pub struct ViewerPermit {
    _all: Held<()>,
    _stream: Held<StreamName>,
    _address: Option<Held<IpAddr>>,
}

impl Viewers {
    pub(crate) fn new(limits: ViewerLimits, memory: Arc<Memory>) -> Self {
        Self {
            by_address: PerAddress::new(limits.max_per_address),
            limits: RwLock::new(limits),
            admitting: Mutex::default(),
            all: Arc::default(),
            by_stream: Arc::default(),
            memory,
        }
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> ViewerLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits for new viewers.
    pub(crate) fn set_limits(&self, limits: ViewerLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.by_address.set_max(limits.max_per_address);
    }

    /// Issues a permit for a viewer of `stream`, or of the stream that it is a rendition of. A
    /// viewer without an address counts against no address.
    ///
    /// # Errors
    /// Returns [`TooManyViewers`] with the narrowest limit that is reached: of the address, of the
    /// stream, or of all viewers; or [`TooManyViewers::Memory`] while memory is short.
    pub fn admit(
        &self,
        stream: &StreamName,
        address: Option<IpAddr>,
    ) -> Result<ViewerPermit, TooManyViewers> {
        if self.memory.pressure() >= Pressure::Viewers {
            return Err(TooManyViewers::Memory);
        }
        let limits = self.limits();
        let _admitting = self
            .admitting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let address = address.map(|address| self.by_address.take(address));
        let address = address.transpose().map_err(|full| match full {
            Full::Address(max) | Full::Total(max) => TooManyViewers::Address(max),
        })?;
        let of_stream = self
            .by_stream
            .take(stream.published(), limits.max_per_stream);
        let of_stream = of_stream.ok_or(TooManyViewers::Stream(limits.max_per_stream))?;
        let of_all = self.all.take((), limits.max);
        Ok(ViewerPermit {
            _all: of_all.ok_or(TooManyViewers::Total(limits.max))?,
            _stream: of_stream,
            _address: address,
        })
    }

    /// Returns the number of viewers, including those that are not connected yet.
    pub fn count(&self) -> usize {
        self.all.count(&())
    }

    /// Returns the number of viewers of one stream and its rendition.
    pub fn count_of(&self, stream: &StreamName) -> usize {
        self.by_stream.count(&stream.published())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_names::RenditionId;
    use std::sync::Barrier;
    use std::thread;

    fn name(name: &str) -> StreamName {
        StreamName::parse(name).unwrap()
    }

    fn viewers(max: usize, max_per_stream: usize, max_per_address: usize) -> Viewers {
        let limits = ViewerLimits {
            max,
            max_per_stream,
            max_per_address,
        };
        Viewers::new(limits, Arc::default())
    }

    #[test]
    fn viewer_is_refused_at_each_limit_until_another_leaves() {
        let viewers = viewers(3, 2, 1);
        let admit = |stream: &str, host: u8| {
            viewers.admit(&name(stream), Some(IpAddr::from([192, 0, 2, host])))
        };
        let first = admit("live/a", 1).unwrap();
        assert_eq!(admit("live/b", 1).unwrap_err(), TooManyViewers::Address(1));
        let _second = admit("live/a", 2).unwrap();
        assert_eq!(admit("live/a", 3).unwrap_err(), TooManyViewers::Stream(2));
        let _third = viewers.admit(&name("live/b"), None).unwrap();
        assert_eq!(admit("live/c", 4).unwrap_err(), TooManyViewers::Total(3));
        assert_eq!((viewers.count(), viewers.count_of(&name("live/a"))), (3, 2));
        // A refusal uses no permit.
        drop(first);
        assert!(admit("live/a", 1).is_ok());
        assert_eq!((viewers.count(), viewers.count_of(&name("live/a"))), (2, 1));
    }

    #[test]
    fn limits_hold_when_viewers_arrive_concurrently() {
        const MAX: usize = 10;
        for (max, max_per_stream, max_per_address) in [(MAX, 99, 99), (99, MAX, 99), (99, 99, MAX)]
        {
            let viewers = viewers(max, max_per_stream, max_per_address);
            let (stream, address) = (name("live/a"), IpAddr::from([192, 0, 2, 1]));
            let start = Barrier::new(4);
            let admit = || {
                start.wait();
                let come = (0..MAX).map(|_| viewers.admit(&stream, Some(address)));
                come.filter_map(Result::ok).collect::<Vec<_>>()
            };
            let admitted: Vec<ViewerPermit> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
                let admitted = threads.into_iter().map(|thread| thread.join().unwrap());
                admitted.flatten().collect()
            });
            assert_eq!((admitted.len(), viewers.count()), (MAX, MAX));
        }
    }

    #[test]
    fn viewers_of_a_rendition_count_for_its_stream() {
        let viewers = viewers(9, 1, 9);
        let stream = name("live/a");
        let _of_rendition = viewers
            .admit(&stream.rendition(&RenditionId::H264), None)
            .unwrap();
        assert_eq!(viewers.count_of(&stream), 1);
        let refused = viewers.admit(&stream, None).unwrap_err();
        assert_eq!(refused, TooManyViewers::Stream(1));
    }

    #[test]
    fn changed_limits_apply_to_new_viewers() {
        let viewers = viewers(1, 1, 1);
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let _first = viewers.admit(&name("live/a"), address).unwrap();
        viewers.set_limits(ViewerLimits {
            max: 2,
            max_per_stream: 2,
            max_per_address: 2,
        });
        let _second = viewers.admit(&name("live/a"), address).unwrap();
        viewers.set_limits(ViewerLimits {
            max: 1,
            ..ViewerLimits::default()
        });
        let refused = viewers.admit(&name("live/a"), address).unwrap_err();
        assert_eq!(refused, TooManyViewers::Total(1));
    }
}
