//! Memory, threads and file descriptors of the gateway, ten times a second.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it reads the system's clock"
)]

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::load::process::Sample;

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Resources that a process held over some time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// When it was begun.
    pub(super) before: Sample,
    /// The most of each.
    pub(super) peak: Sample,
    /// The newest.
    pub(super) after: Sample,
    /// True if the process has ended.
    pub(super) has_ended: bool,
    /// True if it was killed for its memory.
    pub(super) was_killed: bool,
}

/// A thread that samples until it is stopped.
pub(super) struct Sampler {
    course: Arc<Mutex<Course>>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// Samples the process, and kills it when it has more than `memory_limit` bytes.
    pub(super) fn start(pid: u32, memory_limit: u64) -> Self {
        let before = Sample::of(pid).unwrap_or_default();
        let course = Arc::new(Mutex::new(Course {
            before,
            peak: before,
            after: before,
            ..Course::default()
        }));
        let (stop, stopped) = channel();
        let shared = Arc::clone(&course);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let sample = Sample::of(pid);
                let mut course = shared.lock().unwrap_or_else(PoisonError::into_inner);
                course.take(sample);
                if course.after.resident > memory_limit && !course.was_killed {
                    course.was_killed = true;
                    // A process that has ended meanwhile is noticed by the next sample.
                    let _ = Command::new("kill")
                        .args(["-KILL", &pid.to_string()])
                        .status();
                }
            }
        });
        Self {
            course,
            stop,
            thread,
        }
    }

    /// Stops, and returns the results.
    pub(super) fn stop(self) -> Course {
        // It fails only when the thread has panicked.
        let _ = self.stop.send(());
        let _ = self.thread.join();
        *self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn take(&mut self, sample: Option<Sample>) {
        let Some(sample) = sample else {
            self.has_ended = true;
            self.after = Sample::default();
            return;
        };
        self.after = sample;
        let peak = &mut self.peak;
        peak.resident = peak.resident.max(sample.resident);
        peak.threads = peak.threads.max(sample.threads);
        peak.descriptors = peak.descriptors.max(sample.descriptors);
        peak.of_children = peak.of_children.max(sample.of_children);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_is_kept_per_value() {
        let sample = |resident, threads| Sample {
            resident,
            threads,
            ..Sample::default()
        };
        let mut course = Course::default();
        course.take(Some(sample(5, 1)));
        course.take(Some(sample(3, 9)));
        assert_eq!((course.peak, course.after), (sample(5, 9), sample(3, 9)));
        assert!(!course.has_ended);
        course.take(None);
        assert!(course.has_ended);
        assert_eq!(course.after, Sample::default());
    }
}
