//! Simulated TCP connections of viewers (RFC 6544): the bytes come in order, later where packets are lost,
//! and not at all while the path is cut.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::network::{Condition, is_check};
use crate::random::Random;

/// Bytes of a segment.
const SEGMENT: usize = 1400;

/// Bytes that may be on their way in one direction. Further ones wait at their sender.
const WINDOW: usize = 64 * 1024;

/// Time after a round trip until a lost segment is sent again.
const RETRY: Duration = Duration::from_millis(30);

/// Time after which a viewer opens another connection when the gateway has closed one.
const REOPEN: Duration = Duration::from_secs(1);

/// The largest packet that the gateway may send.
const MAX_PACKET: usize = 1200;

/// The TCP connection between a viewer and the gateway, and the next one when it breaks.
pub(crate) struct TcpPath {
    up: Stream,
    down: Stream,
    /// The viewer's end of the connection at the gateway; `None` while there is none.
    pipe: Option<DuplexStream>,
    /// When the viewer opens a connection.
    opens_at: Option<Instant>,
    /// The viewer has sent a check on the connection, without which it sends nothing else.
    has_checked: bool,
    /// Bytes of the viewer that wait for room in the window.
    unsent: BytesMut,
    /// Bytes that have arrived at the gateway and are not read yet.
    arrived: BytesMut,
    /// Bytes that have arrived at the viewer and are not a whole frame yet.
    received: BytesMut,
}

/// One direction of a connection.
struct Stream {
    seed: u64,
    number: u64,
    /// Segments that were sent at a time.
    sent: (Option<Instant>, u64),
    origin: Instant,
    free_at: Instant,
    last_arrival: Instant,
    in_flight: VecDeque<(Instant, Vec<u8>)>,
    flying: usize,
}

impl TcpPath {
    /// Returns a path over which the viewer opens a connection at `now`. `number` distinguishes its links
    /// from others.
    pub(crate) fn new(seed: u64, number: u64, now: Instant) -> Self {
        Self {
            up: Stream::new(seed, number, now),
            down: Stream::new(seed, number + 1, now),
            pipe: None,
            opens_at: Some(now),
            has_checked: false,
            unsent: BytesMut::new(),
            arrived: BytesMut::new(),
            received: BytesMut::new(),
        }
    }

    /// Returns whether the viewer opens a connection now.
    pub(crate) fn is_opening(&self, up: &Condition, now: Instant) -> bool {
        self.opens_at.is_some_and(|at| at <= now) && !up.is_cut
    }

    /// Opens a connection: `pipe` is the viewer's end.
    pub(crate) fn open(&mut self, pipe: DuplexStream) {
        self.clear();
        self.pipe = Some(pipe);
        self.opens_at = None;
        self.has_checked = false;
    }

    /// Breaks the connection. The viewer opens another one at `again`.
    pub(crate) fn reset(&mut self, again: Instant) {
        self.pipe = None;
        self.opens_at = Some(again);
        self.clear();
    }

    /// Forgets what is on its way: it was of another connection.
    fn clear(&mut self) {
        self.up.clear();
        self.down.clear();
        self.unsent.clear();
        self.arrived.clear();
        self.received.clear();
    }

    /// Sends a packet of the viewer, if there is a connection.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        self.has_checked |= is_check(packet);
        if self.pipe.is_some() && self.has_checked {
            self.unsent
                .extend_from_slice(&(packet.len() as u16).to_be_bytes());
            self.unsent.extend_from_slice(packet);
        }
    }

    /// Carries what the viewer sends to the gateway.
    pub(crate) fn carry_up(&mut self, condition: &Condition, now: Instant) {
        while !self.unsent.is_empty() && self.up.room() > 0 {
            let len = self.unsent.len().min(SEGMENT);
            let segment = self.unsent.split_to(len);
            self.up.send(&segment, condition, now);
        }
        while let Some(segment) = self.up.receive(condition, now) {
            self.arrived.extend_from_slice(&segment);
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Some(pipe) = &mut self.pipe
            && !self.arrived.is_empty()
        {
            match Pin::new(pipe).poll_write(&mut context, &self.arrived) {
                Poll::Pending => return,
                Poll::Ready(Ok(len)) => self.arrived.advance(len),
                Poll::Ready(Err(_)) => self.reset(now + REOPEN),
            }
        }
    }

    /// Carries what the gateway sends to the viewer. Returns whether the gateway has closed the
    /// connection.
    pub(crate) fn carry_down(&mut self, condition: &Condition, now: Instant) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = [0; SEGMENT];
        while self.down.room() > 0
            && let Some(pipe) = &mut self.pipe
        {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(pipe).poll_read(&mut context, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.down.send(buffer.filled(), condition, now);
                }
                Poll::Ready(_) => {
                    // What is on its way still arrives, until the next one is opened.
                    self.pipe = None;
                    self.opens_at = Some(now + REOPEN);
                    return true;
                }
            }
        }
        false
    }

    /// Returns the next packet that has arrived at the viewer.
    ///
    /// # Errors
    /// Returns the rule that it breaks.
    pub(crate) fn receive(
        &mut self,
        condition: &Condition,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, String> {
        while let Some(segment) = self.down.receive(condition, now) {
            self.received.extend_from_slice(&segment);
        }
        let Some((len, rest)) = self.received.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes(*len));
        if len > MAX_PACKET || len == 0 {
            return Err(format!("a frame over TCP has {len} bytes"));
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.received.advance(2);
        Ok(Some(self.received.split_to(len).to_vec()))
    }

    /// Returns when something arrives, or a connection is opened.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let arrivals = [&self.up, &self.down].map(Stream::poll_timeout);
        arrivals.into_iter().chain([self.opens_at]).flatten().min()
    }
}

impl Stream {
    fn new(seed: u64, number: u64, origin: Instant) -> Self {
        Self {
            seed,
            number,
            sent: (None, 0),
            origin,
            free_at: origin,
            last_arrival: origin,
            in_flight: VecDeque::new(),
            flying: 0,
        }
    }

    fn clear(&mut self) {
        self.in_flight.clear();
        self.flying = 0;
    }

    fn room(&self) -> usize {
        WINDOW.saturating_sub(self.flying)
    }

    fn send(&mut self, segment: &[u8], condition: &Condition, now: Instant) {
        let (last, count) = &mut self.sent;
        if *last != Some(now) {
            (*last, *count) = (Some(now), 0);
        }
        *count += 1;
        let micros = now.duration_since(self.origin).as_micros() as u64;
        let mut random = Random::of(self.seed ^ micros << 20, self.number, *count);
        let mut left = now;
        if let Some(rate) = condition.rate {
            let time = Duration::from_micros(segment.len() as u64 * 8_000_000 / rate);
            self.free_at = self.free_at.max(now) + time;
            left = self.free_at;
        }
        let jitter = random.range(0..=condition.jitter.as_micros() as u64);
        let mut arrival = left + condition.delay + Duration::from_micros(jitter);
        if random.chance(condition.loss + condition.bursts) {
            arrival += 2 * condition.delay + RETRY;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.flying += segment.len();
        self.in_flight
            .push_back((self.last_arrival, segment.to_vec()));
    }

    fn receive(&mut self, condition: &Condition, now: Instant) -> Option<Vec<u8>> {
        let (arrival, _) = self.in_flight.front()?;
        if *arrival > now || condition.is_cut {
            return None;
        }
        let (_, segment) = self.in_flight.pop_front()?;
        self.flying -= segment.len();
        Some(segment)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let (arrival, _) = self.in_flight.front()?;
        Some(*arrival)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_whatever_the_path_loses_and_not_while_it_is_cut() {
        let origin = Instant::now();
        let mut stream = Stream::new(7, 1, origin);
        let condition = Condition {
            loss: 300,
            jitter: Duration::from_millis(30),
            rate: Some(1_000_000),
            ..Condition::perfect(Duration::from_millis(20))
        };
        for number in 0..100 {
            stream.send(&[number], &condition, origin);
        }
        let cut = Condition {
            is_cut: true,
            ..condition
        };
        let late = origin + Duration::from_secs(10);
        assert_eq!(stream.receive(&cut, late), None);
        assert_eq!(stream.receive(&condition, origin), None);
        let received = std::iter::from_fn(|| stream.receive(&condition, late));
        let received: Vec<u8> = received.flatten().collect();
        assert_eq!(received, (0..100).collect::<Vec<u8>>());
        assert_eq!(stream.room(), WINDOW);
    }
}
