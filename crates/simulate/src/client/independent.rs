//! A player that shares no code with the gateway: str0m.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::{Played, Player, PlayerContext};

/// A player that shares no code with the gateway.
pub struct IndependentPlayer {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    address: SocketAddr,
    timeout: Option<Instant>,
    outbound: VecDeque<Vec<u8>>,
    played: VecDeque<Played>,
    failure: Option<String>,
}

impl IndependentPlayer {
    /// Returns a player that believes to be at `address`, and its offer.
    ///
    /// # Errors
    /// Returns the reason if str0m makes no offer.
    pub fn new(address: SocketAddr, now: Instant) -> Result<(Self, String), String> {
        let mut rtc = Rtc::builder().build(now);
        let candidate = Candidate::host(address, "udp").map_err(|error| error.to_string())?;
        rtc.add_local_candidate(candidate);
        let mut change = rtc.sdp_api();
        for kind in [MediaKind::Video, MediaKind::Audio] {
            change.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = change.apply().ok_or("no offer")?;
        let player = Self {
            rtc,
            pending: Some(pending),
            address,
            timeout: None,
            outbound: VecDeque::new(),
            played: VecDeque::new(),
            failure: None,
        };
        Ok((player, offer.to_sdp_string()))
    }

    fn handle_input(&mut self, input: Input<'_>) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            self.failure = Some(error.to_string());
            return;
        }
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = Some(at);
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    self.outbound.push_back(transmit.contents.to_vec());
                }
                Ok(Output::Event(Event::MediaData(data))) => {
                    let timestamp = data.time.numer() as i64;
                    let after_loss = !data.contiguous;
                    self.played
                        .push_back(if data.params.spec().clock_rate.get() == 90_000 {
                            Played::Video {
                                units: split_annex_b(&data.data),
                                timestamp,
                                after_loss,
                            }
                        } else {
                            Played::Audio {
                                packet: data.data.to_vec(),
                                timestamp,
                                after_loss,
                            }
                        });
                }
                Ok(Output::Event(_)) => {}
                Err(error) => {
                    self.failure = Some(error.to_string());
                    return;
                }
            }
        }
    }
}

impl Player for IndependentPlayer {
    fn handle_answer(
        &mut self,
        answer: &str,
        _context: &PlayerContext,
        now: Instant,
    ) -> Result<(), String> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| error.to_string())?;
        let pending = self.pending.take().ok_or("answered twice")?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        self.handle_timeout(now);
        Ok(())
    }

    fn handle_datagram(&mut self, gateway: SocketAddr, datagram: &[u8], now: Instant) {
        if let Ok(receive) = Receive::new(Protocol::Udp, gateway, self.address, datagram) {
            self.handle_input(Input::Receive(now, receive));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_input(Input::Timeout(now));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout.filter(|_| self.failure.is_none())
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbound.pop_front()
    }

    fn poll_played(&mut self) -> Option<Played> {
        self.played.pop_front()
    }

    fn close(&mut self) {
        self.rtc.disconnect();
    }

    fn failure(&self) -> Option<String> {
        let ended = (!self.rtc.is_alive()).then(|| "str0m has ended".to_owned());
        self.failure.clone().or(ended)
    }

    fn given_up(&self) -> u64 {
        0
    }
}

/// Returns the NAL units between start codes of four or three bytes. Units of the simulation
/// contain no zeros.
fn split_annex_b(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let code = [&[0, 0, 0, 1][..], &[0, 0, 1]];
        if let Some(code) = code.into_iter().find(|code| rest.starts_with(code)) {
            units.push(Vec::new());
            rest = &rest[code.len()..];
        } else {
            if let Some(unit) = units.last_mut() {
                unit.push(rest[0]);
            }
            rest = &rest[1..];
        }
    }
    units
}
