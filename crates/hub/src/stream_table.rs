//! The streams of a hub, by name.
//!
//! `get` and `get_or_insert_with` hold the lock of the table as long as their result lives: no stream
//! is removed meanwhile. Sessions ask the table when they start and end, and never for a packet.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use distributary_names::StreamName;
use distributary_net::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::stream::Stream;

type Streams = HashMap<StreamName, Arc<Stream>>;

/// The streams of a hub, by name.
#[derive(Debug, Default)]
pub(crate) struct StreamTable(RwLock<Streams>);

/// A stream, and the lock under which it was found.
struct Entry<G> {
    _guard: G,
    stream: Arc<Stream>,
}

impl<G> Deref for Entry<G> {
    type Target = Arc<Stream>;

    fn deref(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl StreamTable {
    /// Returns the stream of this name.
    pub(crate) fn get(&self, name: &StreamName) -> Option<impl Deref<Target = Arc<Stream>> + '_> {
        let guard = self.read();
        let stream = Arc::clone(guard.get(name)?);
        Some(Entry {
            _guard: guard,
            stream,
        })
    }

    /// Returns the stream of this name, after entering the one that `make` returns if there is
    /// none.
    pub(crate) fn get_or_insert_with(
        &self,
        name: &StreamName,
        make: impl FnOnce() -> Arc<Stream>,
    ) -> impl Deref<Target = Arc<Stream>> + '_ {
        let mut guard = self.write();
        let stream = Arc::clone(guard.entry(name.clone()).or_insert_with(make));
        Entry {
            _guard: guard,
            stream,
        }
    }

    /// Returns all streams.
    pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
        self.read().values().map(Arc::clone).collect()
    }

    /// Removes the stream of this name if nobody needs it.
    pub(crate) fn remove_if_idle(&self, name: &StreamName) {
        // It is freed after the lock is released.
        let _removed = self.take_if_idle(name);
    }

    fn take_if_idle(&self, name: &StreamName) -> Option<Arc<Stream>> {
        let mut streams = self.write();
        let is_idle = streams.get(name)?.is_idle();
        #[cfg(all(test, feature = "shuttle"))]
        if RELEASES_BEFORE_REMOVAL.get() {
            drop(streams);
            streams = self.write();
        }
        if is_idle { streams.remove(name) } else { None }
    }

    fn read(&self) -> RwLockReadGuard<'_, Streams> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Streams> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "shuttle"))]
thread_local! {
    /// Plants a defect that the tests must find: between the check and the removal others may find the
    /// stream.
    pub(crate) static RELEASES_BEFORE_REMOVAL: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
