//! The streams of a hub, by name.
//!
//! What a method returns holds the lock of the name: a stream that it shows is not removed meanwhile.
//! With the feature `shuttle`, whose tests try many interleavings of threads, the locks are those of
//! shuttle.

use std::ops::Deref;
use std::sync::Arc;

use distributary_names::StreamName;

use crate::stream::Stream;

#[cfg(not(feature = "shuttle"))]
mod table {
    use dashmap::DashMap;

    use super::{Arc, Deref, Stream, StreamName};

    /// The streams of a hub, by name.
    #[derive(Debug, Default)]
    pub(crate) struct StreamTable(DashMap<StreamName, Arc<Stream>>);

    impl StreamTable {
        /// Returns the stream of this name.
        pub(crate) fn get(
            &self,
            name: &StreamName,
        ) -> Option<impl Deref<Target = Arc<Stream>> + '_> {
            self.0.get(name)
        }

        /// Returns the stream of this name, after entering the one that `make` returns if there is
        /// none.
        pub(crate) fn get_or_insert_with(
            &self,
            name: &StreamName,
            make: impl FnOnce() -> Arc<Stream>,
        ) -> impl Deref<Target = Arc<Stream>> + '_ {
            self.0.entry(name.clone()).or_insert_with(make)
        }

        /// Returns all streams.
        pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
            self.0.iter().map(|entry| Arc::clone(&entry)).collect()
        }

        /// Removes the stream of this name if nobody needs it.
        pub(crate) fn remove_if_idle(&self, name: &StreamName) {
            self.0.remove_if(name, |_, stream| stream.is_idle());
        }
    }
}

#[cfg(feature = "shuttle")]
mod table {
    use std::collections::HashMap;
    use std::sync::PoisonError;

    use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

    use super::{Arc, Deref, Stream, StreamName};

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
        pub(crate) fn get(
            &self,
            name: &StreamName,
        ) -> Option<impl Deref<Target = Arc<Stream>> + '_> {
            let guard = self.read();
            let stream = Arc::clone(guard.get(name)?);
            Some(Entry {
                _guard: guard,
                stream,
            })
        }

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

        pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
            self.read().values().map(Arc::clone).collect()
        }

        pub(crate) fn remove_if_idle(&self, name: &StreamName) {
            #[cfg(test)]
            if super::REMOVES_IN_TWO_STEPS.get() {
                return self.remove_in_two_steps(name);
            }
            let mut streams = self.write();
            if streams.get(name).is_some_and(|stream| stream.is_idle()) {
                streams.remove(name);
            }
        }

        /// Removes a stream in two steps, between which others may find it.
        #[cfg(test)]
        fn remove_in_two_steps(&self, name: &StreamName) {
            let is_idle = self.get(name).is_some_and(|stream| stream.is_idle());
            if is_idle {
                self.write().remove(name);
            }
        }

        fn read(&self) -> RwLockReadGuard<'_, Streams> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        fn write(&self) -> RwLockWriteGuard<'_, Streams> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

pub(crate) use table::StreamTable;

#[cfg(all(test, feature = "shuttle"))]
thread_local! {
    /// Plants a defect that the tests must find.
    pub(crate) static REMOVES_IN_TWO_STEPS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
