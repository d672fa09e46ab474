//! The driver: sockets and clock of all viewers.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it reads the clocks for all viewers"
)]

mod churn;
mod config;
mod error;
mod meter;
mod seat;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::DtlsContext;
use mio::{Events, Poll, Token, Waker};

use crate::report::{Report, ViewerOutcome};
use crate::socket::ReadBuffers;
use crate::whep::{WhepClient, WhepReply};
use churn::{Churn, Departure};
use meter::Meter;
use seat::{NO_ANSWER, Seat};

pub use churn::Departures;
pub use config::SwarmConfig;
pub use error::SwarmError;

/// Resolution of the viewers' timers.
const TICK: Duration = Duration::from_millis(10);

/// Parts of a tick, each for other viewers: those of the real world do not send at the same moment.
const SLICES: u32 = 10;

/// A viewer without media for this long after its POST has failed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// From the last join to the beginning of the measured interval, so that what newcomers are sent
/// first does not count.
const SETTLE: Duration = Duration::from_secs(1);

/// Time that the end of the sessions is waited for.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time after it the server's memory is looked at: it has some time to give it back.
const LEAVE_SETTLE: Duration = Duration::from_secs(6);

/// Readiness events taken with one call.
const EVENTS: usize = 1024;

/// Token of the wake-ups by the HTTP thread; those of sockets are the numbers of their viewers.
const WHEP: Token = Token(usize::MAX);

/// Lets viewers join, measures, lets them leave, and reports.
///
/// # Errors
/// When the swarm cannot be set up or the server process not be looked at.
pub fn run(config: SwarmConfig) -> Result<Report, SwarmError> {
    if config.url.scheme() != "http" {
        return Err(SwarmError::Scheme(config.url));
    }
    let mut meter = Meter::new(config.server_pid)?;
    let mut swarm = Swarm::new(config)?;
    swarm.join_all()?;
    swarm.turn_for(SETTLE)?;

    swarm.begin_measurement();
    meter.begin()?;
    let departures = swarm.config.departures;
    let churn = |per_second| Churn::new(per_second, departures, Instant::now());
    swarm.churn = swarm.config.churn.map(churn);
    swarm.turn_for(swarm.config.duration)?;
    swarm.settle()?;
    meter.end()?;
    let mut outcomes = swarm.outcomes(Instant::now());

    swarm.leave_all()?;
    for (outcome, seat) in outcomes.iter_mut().zip(&swarm.seats) {
        let failure = outcome.failure.take();
        outcome.failure = failure.or_else(|| seat.leave_failure());
    }
    if swarm.config.server_pid.is_some() {
        std::thread::sleep(LEAVE_SETTLE);
    }
    meter.left()?;
    let churn = swarm.churn.take().map(Churn::report);
    Ok(meter.report(&swarm.config, &outcomes, churn))
}

struct Swarm {
    config: SwarmConfig,
    certificate: Certificate,
    context: DtlsContext,
    /// Viewers, each with the number `index + k * seats.len()`: when one leaves, `k` grows.
    seats: Vec<Seat>,
    /// The index of the viewer that leaves next.
    next_to_leave: usize,
    /// The numbers of those whose `DELETE` has no answer yet, and that have no seat any more.
    leaving: BTreeSet<usize>,
    churn: Option<Churn>,
    whep: WhepClient,
    poll: Poll,
    events: Events,
    buffers: ReadBuffers,
    next_slice: Instant,
    /// The part of the tick that is next, from 0.
    slice: u32,
}

impl Swarm {
    fn new(config: SwarmConfig) -> Result<Self, SwarmError> {
        let certificate = Certificate::generate(SystemTime::now())?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WHEP)?);
        // A wake-up that fails is made up for by the next tick.
        let endpoints = config
            .endpoints()
            .ok_or_else(|| SwarmError::Unnumbered(config.url.clone()))?;
        let whep = WhepClient::start(endpoints, config.viewers, move || {
            drop(waker.wake());
        })?;
        let seats = (0..config.viewers)
            .map(|number| Seat::new(number, Token(number), &config))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            context: DtlsContext::with_profiles(&certificate, &config.profiles)?,
            certificate,
            seats,
            next_to_leave: 0,
            leaving: BTreeSet::new(),
            churn: None,
            whep,
            poll,
            events: Events::with_capacity(EVENTS),
            buffers: ReadBuffers::new(),
            next_slice: Instant::now(),
            slice: 0,
            config,
        })
    }

    /// Lets one viewer after the other join, and waits until each has media or has failed.
    fn join_all(&mut self) -> Result<(), SwarmError> {
        let begin = Instant::now();
        let mut asked = 0;
        while !self.seats.iter().all(Seat::is_settled) {
            let now = Instant::now();
            let elapsed = now.duration_since(begin).as_secs_f64();
            // The first viewer joins at once.
            let due = (elapsed * self.config.ramp) as usize + 1;
            for seat in self.seats.iter_mut().take(due).skip(asked) {
                seat.begun = Some(now);
                self.whep.join(
                    seat.number,
                    seat.viewer.offer(self.certificate.fingerprint()),
                );
                asked += 1;
            }
            self.turn()?;
            self.fail_the_late();
        }
        Ok(())
    }

    /// Waits until each viewer that came to replace another one has media or has failed.
    fn settle(&mut self) -> Result<(), SwarmError> {
        while !self.seats.iter().all(Seat::is_settled) {
            self.turn()?;
            self.fail_the_late();
        }
        Ok(())
    }

    fn fail_the_late(&mut self) {
        let now = Instant::now();
        for seat in &mut self.seats {
            let is_late = seat
                .begun
                .is_some_and(|begun| now.duration_since(begun) > JOIN_TIMEOUT);
            if is_late && !seat.is_settled() {
                seat.failure = Some(format!("no media within {} s", JOIN_TIMEOUT.as_secs()));
            }
        }
    }

    fn begin_measurement(&mut self) {
        let now = Instant::now();
        for seat in &mut self.seats {
            seat.viewer.begin_measurement(now);
        }
    }

    fn leave_all(&mut self) -> Result<(), SwarmError> {
        for seat in &self.seats {
            if let Some(session) = &seat.session {
                self.whep.leave(seat.number, session.clone());
            }
        }
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let is_waiting = |swarm: &Self| {
            let mut seats = swarm.seats.iter();
            seats.any(|seat| seat.session.is_some()) || !swarm.leaving.is_empty()
        };
        while is_waiting(self) && Instant::now() < deadline {
            self.turn()?;
        }
        if let Some(churn) = &mut self.churn {
            for _ in &self.leaving {
                churn.record_failure(NO_ANSWER.to_owned());
            }
        }
        Ok(())
    }

    /// Lets a viewer leave if it is time, and another one join in its place.
    fn churn(&mut self) -> Result<(), SwarmError> {
        let now = Instant::now();
        let Some(churn) = &mut self.churn else {
            return Ok(());
        };
        while let Some(departure) = churn.poll(now) {
            let count = self.seats.len();
            let Some(seat) = self.seats.get_mut(self.next_to_leave) else {
                return Ok(());
            };
            self.next_to_leave = (self.next_to_leave + 1) % count;
            if !seat.is_settled() {
                continue;
            }
            let number = seat.number;
            let mut newcomer = Seat::new(number + count, seat.token, &self.config)?;
            newcomer.begun = Some(now);
            newcomer.viewer.begin_measurement(now);
            let offer = newcomer.viewer.offer(self.certificate.fingerprint());
            self.whep.join(newcomer.number, offer);
            let left = std::mem::replace(seat, newcomer);
            churn.record(left.outcome(now));
            if let (Departure::Proper, Some(session)) = (departure, left.session) {
                self.leaving.insert(number);
                self.whep.leave(number, session);
            }
        }
        self.fail_the_late();
        Ok(())
    }

    fn turn_for(&mut self, duration: Duration) -> Result<(), SwarmError> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.turn()?;
            self.churn()?;
        }
        Ok(())
    }

    /// Waits for an event, a part of a tick at most, and handles it.
    fn turn(&mut self) -> Result<(), SwarmError> {
        let wait = self.next_slice.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = Instant::now();
        let mut has_replies = false;
        for event in &self.events {
            match self.seats.get_mut(event.token().0) {
                Some(seat) => seat.receive(now, &mut self.buffers),
                None => has_replies = true,
            }
        }
        if now >= self.next_slice {
            self.next_slice = now + TICK / SLICES;
            has_replies = true;
            let seats = self.seats.iter_mut().skip(self.slice as usize);
            self.slice = (self.slice + 1) % SLICES;
            for seat in seats.step_by(SLICES as usize) {
                seat.handle_timeout(now);
            }
        }
        if has_replies {
            self.take_replies();
        }
        Ok(())
    }

    fn take_replies(&mut self) {
        for reply in self.whep.replies() {
            let number = reply.viewer();
            let count = self.seats.len();
            let Some(seat) = self.seats.get_mut(number % count.max(1)) else {
                continue;
            };
            if seat.number != number {
                self.leaving.remove(&number);
                match (reply, &mut self.churn) {
                    // It has left before its answer came.
                    (
                        WhepReply::Joined {
                            session: Some(session),
                            ..
                        },
                        _,
                    ) => self.whep.leave(number, session),
                    (WhepReply::Failed { error, .. }, Some(churn)) => {
                        churn.record_failure(format!("DELETE: {error}"));
                    }
                    _ => {}
                }
                continue;
            }
            match reply {
                WhepReply::Joined {
                    asked,
                    answer,
                    session,
                    ..
                } => {
                    seat.asked = Some(asked);
                    seat.session = session;
                    let registry = self.poll.registry();
                    let now = Instant::now();
                    let connected =
                        seat.connect(now, &answer, &self.config, &self.context, registry);
                    if let Err(reason) = connected {
                        seat.failure = Some(reason);
                    }
                }
                WhepReply::Left { .. } => seat.session = None,
                WhepReply::Failed { error, .. } => {
                    seat.failure.get_or_insert(error.to_string());
                    seat.session = None;
                }
            }
        }
    }

    fn outcomes(&self, now: Instant) -> Vec<ViewerOutcome> {
        self.seats.iter().map(|seat| seat.outcome(now)).collect()
    }
}
