//! The renditions that can be made now: not those beyond the limits, and not of a stream for which
//! the encoder has just failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_hub::{RenditionOffer, SourceVideo};
use distributary_names::StreamName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::TranscodeConfig;
use crate::ladder::Ladder;

/// Decides which renditions are offered, by the streams that are transcoded now.
#[derive(Debug)]
pub(crate) struct Availability {
    ladder: Ladder,
    max: usize,
    max_pixels: u64,
    /// One permit per stream that is transcoded.
    places: Arc<Semaphore>,
    jobs: Mutex<HashMap<StreamName, Job>>,
}

/// The state of a stream that is or was just transcoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Running,
    /// Not now: it has failed.
    Paused,
}

/// The right to transcode a stream.
#[derive(Debug)]
pub(crate) struct Place {
    availability: Arc<Availability>,
    stream: StreamName,
    _permit: OwnedSemaphorePermit,
}

/// Keeps a stream from being offered.
#[derive(Debug)]
pub(crate) struct Pause {
    availability: Arc<Availability>,
    stream: StreamName,
}

impl Availability {
    pub(crate) fn new(config: &TranscodeConfig) -> Self {
        Self {
            ladder: config.ladder.clone(),
            max: config.max,
            max_pixels: config.max_pixels,
            places: Arc::new(Semaphore::new(config.max)),
            jobs: Mutex::default(),
        }
    }

    pub(crate) fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Returns the maximum number of streams that are transcoded at a time.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns the renditions that can be made of a stream now.
    pub(crate) fn offers(&self, source: &SourceVideo) -> Vec<RenditionOffer> {
        let pixels = u64::from(source.track.width) * u64::from(source.track.height);
        if self.max_pixels > 0 && pixels > self.max_pixels {
            return Vec::new();
        }
        let is_available = match self.lock().get(&source.stream) {
            Some(Job::Running) => true,
            Some(Job::Paused) => false,
            None => self.places.available_permits() > 0,
        };
        if is_available {
            self.ladder.offers(source)
        } else {
            Vec::new()
        }
    }

    /// Takes a place to transcode a stream; `None` if all are taken.
    pub(crate) fn take(self: &Arc<Self>, stream: &StreamName) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.lock().insert(stream.clone(), Job::Running);
        Some(Place {
            availability: Arc::clone(self),
            stream: stream.clone(),
            _permit: permit,
        })
    }

    /// Stops offering renditions of a stream until the returned value is dropped.
    pub(crate) fn pause(self: &Arc<Self>, stream: &StreamName) -> Pause {
        self.lock().insert(stream.clone(), Job::Paused);
        Pause {
            availability: Arc::clone(self),
            stream: stream.clone(),
        }
    }

    fn remove(&self, stream: &StreamName, job: Job) {
        let mut jobs = self.lock();
        if jobs.get(stream) == Some(&job) {
            jobs.remove(stream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamName, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.availability.remove(&self.stream, Job::Running);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.availability.remove(&self.stream, Job::Paused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::{VideoCodec, VideoTrack};

    fn source(name: &str, height: u32) -> SourceVideo {
        SourceVideo {
            stream: StreamName::parse(name).unwrap(),
            track: Arc::new(VideoTrack {
                codec: VideoCodec::H264,
                width: height * 16 / 9,
                height,
                profile_level_id: [0; 3],
                config: bytes::Bytes::new(),
            }),
            bitrate: 9_000_000,
            needs_transcoding: false,
        }
    }

    #[test]
    fn nothing_is_offered_that_would_be_refused() {
        let availability = Arc::new(Availability::new(&TranscodeConfig {
            max: 1,
            ..TranscodeConfig::default()
        }));
        let (a, b) = (source("live/a", 1080), source("live/b", 1080));
        let large = source("live/c", 4320);
        let offered = |source: &SourceVideo| availability.offers(source).len();
        assert_eq!((offered(&a), offered(&b)), (3, 3));
        assert_eq!(offered(&large), 0, "too many pixels");
        let place = availability.take(&a.stream).unwrap();
        assert!(availability.take(&b.stream).is_none());
        assert_eq!((offered(&a), offered(&b)), (3, 0));
        drop(place);
        let pause = availability.pause(&a.stream);
        assert_eq!((offered(&a), offered(&b)), (0, 3));
        drop(pause);
        assert_eq!((offered(&a), offered(&b)), (3, 3));
    }
}
