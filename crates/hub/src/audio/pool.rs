//! The threads that transcode the audio of all streams.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{fmt, io, thread};

/// Work that comes in turns.
pub(super) trait Job: Send + Sync {
    /// Does the work of one turn. Returns whether there is work for another.
    fn run(&self) -> bool;
}

/// A pool of threads, at most one per core, which start when there is work.
///
/// Jobs run in turns, one after the other, so that one with much work does not hold up the rest. A
/// job never runs on two threads at once, provided that it is scheduled only while it has no turn
/// ahead. Threads without work sleep. A job that panics gets no further turn, and its thread goes on
/// with the other jobs.
///
/// The threads end when the pool is dropped. Nothing waits for their end: the last handle may be
/// dropped on one of them.
///
/// A [driven](Self::driven) pool has no threads: its caller runs the jobs.
pub(crate) struct AudioPool {
    shared: Arc<Shared>,
    max_threads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when a job is due or the pool is dropped.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The jobs with a turn ahead, in order.
    due: VecDeque<Arc<dyn Job>>,
    threads: usize,
    /// The threads that sleep.
    idle: usize,
    is_closed: bool,
}

impl AudioPool {
    /// Returns a pool of at most this many threads.
    pub(super) fn new(max_threads: usize) -> Self {
        Self {
            shared: Arc::default(),
            max_threads,
        }
    }

    /// Returns a pool whose jobs only [`Self::run_due`] runs.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn driven() -> Self {
        Self::new(0)
    }

    /// Runs jobs in turns until none is due.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn run_due(&self) {
        let mut state = self.shared.lock();
        while let Some(job) = state.due.pop_front() {
            drop(state);
            let again = take_turn(job);
            state = self.shared.lock();
            state.due.extend(again);
        }
    }

    /// Starts the first thread, if there is none.
    ///
    /// # Errors
    /// Returns the system's error if it cannot start a thread.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.threads == 0 && self.max_threads > 0 {
            self.add_thread(&mut state)?;
        }
        Ok(())
    }

    /// Gives a job a turn after those that are due already.
    pub(super) fn schedule(&self, job: Arc<dyn Job>) {
        let mut state = self.shared.lock();
        state.due.push_back(job);
        if state.due.len() > state.idle
            && state.threads < self.max_threads
            && let Err(error) = self.add_thread(&mut state)
        {
            // The others do its work.
            tracing::debug!(%error, threads = state.threads, "cannot start another audio thread");
        }
        let is_one_idle = state.idle > 0;
        drop(state);
        if is_one_idle {
            self.shared.changed.notify_one();
        }
    }

    fn add_thread(&self, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("audio {}", state.threads))
            .spawn(move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.shared.lock().threads
    }
}

impl Default for AudioPool {
    /// Returns a pool with a thread per core.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, NonZero::get))
    }
}

impl Drop for AudioPool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for AudioPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioPool")
            .field("max_threads", &self.max_threads)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs the jobs that are due until the pool is dropped.
    fn work(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            if let Some(job) = state.due.pop_front() {
                drop(state);
                let again = take_turn(job);
                state = self.lock();
                state.due.extend(again);
            } else {
                state.idle += 1;
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a turn of a job. Returns the job if it has work for another. Neither a panic of the turn nor
/// one of the job's destructor, which may run here, ends the thread.
fn take_turn(job: Arc<dyn Job>) -> Option<Arc<dyn Job>> {
    match catch_unwind(AssertUnwindSafe(|| job.run())) {
        Ok(true) => return Some(job),
        Ok(false) => {}
        Err(_) => tracing::error!(
            "transcoding the audio of a stream panicked, which is a bug: its viewers hear nothing \
             until all of them have left"
        ),
    }
    if catch_unwind(AssertUnwindSafe(|| drop(job))).is_err() {
        tracing::error!("the end of a stream's transcoding panicked, which is a bug");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Runs a number of turns, each of which tells its name; the first waits for the gate.
    struct Turns {
        name: char,
        left: Mutex<usize>,
        gate: Mutex<Option<Receiver<()>>>,
        log: Sender<char>,
    }

    impl Turns {
        fn new(name: char, left: usize, log: &Sender<char>) -> Arc<Self> {
            Arc::new(Self {
                name,
                left: Mutex::new(left),
                gate: Mutex::default(),
                log: log.clone(),
            })
        }

        fn gated(name: char, left: usize, log: &Sender<char>) -> (Arc<Self>, Sender<()>) {
            let (open, gate) = channel();
            let turns = Self::new(name, left, log);
            *turns.gate.lock().unwrap() = Some(gate);
            (turns, open)
        }
    }

    impl Job for Turns {
        fn run(&self) -> bool {
            let gate = self.gate.lock().unwrap().take();
            if let Some(gate) = gate {
                gate.recv().unwrap();
            }
            let mut left = self.left.lock().unwrap();
            *left -= 1;
            self.log.send(self.name).unwrap();
            *left > 0
        }
    }

    #[test]
    fn job_with_a_backlog_does_not_hold_up_the_others() {
        let (log, turns) = channel();
        let pool = AudioPool::new(1);
        let (long, open) = Turns::gated('a', 5, &log);
        pool.schedule(long);
        pool.schedule(Turns::new('b', 2, &log));
        pool.schedule(Turns::new('c', 1, &log));
        open.send(()).unwrap();
        let order: String = turns.iter().take(8).collect();
        assert_eq!(order, "abcabaaa");
    }

    #[test]
    fn threads_are_bounded_and_start_when_there_is_work() {
        let (log, turns) = channel();
        let pool = AudioPool::new(2);
        assert_eq!(pool.threads(), 0);
        let gated: Vec<_> = (0..5).map(|_| Turns::gated('a', 1, &log)).collect();
        let gates: Vec<_> = gated
            .into_iter()
            .map(|(job, open)| {
                pool.schedule(job);
                open
            })
            .collect();
        assert_eq!(pool.threads(), 2);
        for gate in gates {
            gate.send(()).unwrap();
        }
        assert_eq!(turns.iter().take(5).count(), 5);
        assert_eq!(pool.threads(), 2);
    }

    /// Panics in its turn or in its destructor, on the thread.
    struct Panicking {
        in_turn: bool,
    }

    impl Job for Panicking {
        fn run(&self) -> bool {
            assert!(!self.in_turn, "of the test");
            false
        }
    }

    impl Drop for Panicking {
        fn drop(&mut self) {
            assert!(self.in_turn, "of the test");
        }
    }

    #[test]
    fn thread_survives_panics_of_jobs_and_of_their_destructors() {
        let (log, turns) = channel();
        let pool = AudioPool::new(1);
        // The thread has the last handle of each job.
        let (first, open) = Turns::gated('a', 1, &log);
        pool.schedule(first);
        for in_turn in [true, false, true, false] {
            pool.schedule(Arc::new(Panicking { in_turn }));
        }
        pool.schedule(Turns::new('b', 2, &log));
        drop(log);
        open.send(()).unwrap();
        assert_eq!(turns.iter().collect::<String>(), "abb");
    }

    #[test]
    fn driven_pool_runs_the_jobs_on_the_thread_of_its_caller() {
        let (log, turns) = channel();
        let pool = AudioPool::driven();
        pool.start().unwrap();
        pool.schedule(Turns::new('a', 3, &log));
        pool.schedule(Turns::new('b', 1, &log));
        assert!(pool.threads() == 0 && turns.try_recv().is_err());
        pool.run_due();
        drop((pool, log));
        assert_eq!(turns.iter().collect::<String>(), "abaa");
    }

    #[test]
    fn threads_end_with_the_pool() {
        let (log, turns) = channel();
        let pool = AudioPool::new(2);
        pool.schedule(Turns::new('a', 1, &log));
        assert_eq!(turns.recv(), Ok('a'));
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
