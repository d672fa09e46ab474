//! One viewer: ICE, DTLS, SRTP and RTP in one value, without a socket and without a clock.

mod close_reason;
mod config;
mod control;
mod data;
mod feedback;
mod media;
mod output;
mod playout_delay;
mod repair_budget;
mod repairs;
mod report_schedule;
mod stats;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use distributary_media::{MediaTime, VideoCodec};

use crate::bandwidth::{PathCondition, ProbeResult};
use crate::data::DataTransport;
use crate::demux::DatagramKind;
use crate::dtls::{Dtls, DtlsContext, DtlsError, DtlsEvent};
use crate::ice::{CandidatePair, Credentials, IceLite, IceOutcome, Transport};
use crate::log::Log;
use crate::send_buffer::SendBuffer;
use crate::sender::{LogChange, Progress, RepairLogs, SenderStats};
use crate::srtp::SrtpProfile;
use media::Media;

pub use crate::media_clock::MediaClock;
pub use close_reason::{CloseReason, HANDSHAKE_TIMEOUT, PROOF_TIMEOUT};
pub use config::PeerConfig;
pub use output::{PeerEvent, Transmit};
pub use playout_delay::DelayPolicy;
pub use stats::PeerStats;

/// The addresses that the flights of a handshake were sent to. A peer that continues the handshake
/// has received them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakePath {
    /// Nowhere yet.
    None,
    /// All of them to one pair.
    One(CandidatePair),
    /// To several: it is not known which of them got through.
    Several,
}

/// One viewer, from its first datagram on.
///
/// Datagrams go in by [`Self::handle_datagram`], time by [`Self::handle_timeout`]. After each of
/// them, and after [`Self::close`], call [`Self::poll_transmit`] and [`Self::poll_event`] until
/// they return `None`, then [`Self::retransmit`]. Media are sent by [`Self::send_media`], from logs
/// that the caller keeps for all viewers of a stream.
///
/// ```text
/// first check ─► handshake ─► connected ─► closed
///                    └───────────────────────▲
/// ```
pub struct Peer {
    config: PeerConfig,
    clock: MediaClock,
    ice: IceLite,
    dtls: Dtls,
    created: Instant,
    /// True if the handshake has started: the viewer has an address.
    is_started: bool,
    /// The addresses that the handshake's flights were sent to.
    handshake: HandshakePath,
    /// True if the handshake is complete, and not only the keys.
    is_handshake_complete: bool,
    /// The newest flight of the handshake, while the anti-amplification limit holds it back.
    held_flight: Vec<Vec<u8>>,
    media: Option<Media>,
    /// The round trip of an ICE check, if one was answered.
    round_trip: Option<Duration>,
    /// Time since which media cannot be sent because the viewer's address is not proven.
    unproven_since: Option<Instant>,
    /// The SRTP profile, once there are keys.
    profile: Option<SrtpProfile>,
    /// The data channels, once the handshake is done, if they were negotiated.
    data: Option<Box<DataTransport>>,
    closed: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<PeerEvent>,
}

impl Peer {
    /// Creates a viewer whose first packet has arrived.
    ///
    /// # Errors
    /// If OpenSSL cannot allocate a connection object.
    pub fn new(
        config: PeerConfig,
        clock: MediaClock,
        dtls: &DtlsContext,
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let mut association = Dtls::new(dtls, config.role, config.fingerprints.clone())?;
        if config.data.is_some() {
            association = association.with_application_data();
        }
        Ok(Self {
            ice: IceLite::new(now, config.local.clone(), config.remote.clone()),
            dtls: association,
            config,
            clock,
            created: now,
            is_started: false,
            handshake: HandshakePath::None,
            is_handshake_complete: false,
            held_flight: Vec::new(),
            media: None,
            round_trip: None,
            unproven_since: None,
            profile: None,
            data: None,
            closed: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Returns the pair of addresses that is sent on; `None` before the viewer's first valid check.
    pub fn pair(&self) -> Option<CandidatePair> {
        self.ice.selected_pair()
    }

    /// Returns the viewer's address; `None` before its first valid check.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.ice.selected_pair().map(|pair| pair.remote)
    }

    /// Returns the local address that the viewer sends to.
    pub fn local(&self) -> Option<IpAddr> {
        self.ice.selected_pair().and_then(|pair| pair.local)
    }

    /// Returns the SRTP profile; `None` before there are keys.
    pub fn profile(&self) -> Option<SrtpProfile> {
        self.profile
    }

    /// Returns whether a valid check of the viewer came on this pair.
    pub fn is_at(&self, pair: CandidatePair) -> bool {
        self.ice.is_valid(pair)
    }

    /// Returns whether the viewer has proved that it receives on this pair.
    pub fn is_proven(&self, pair: CandidatePair) -> bool {
        self.ice.is_proven(pair)
    }

    /// Starts an ICE restart: the viewer may check with these credentials from now on, and with the
    /// old ones until it has nominated a pair. DTLS and media continue (RFC 8445 section 9).
    pub fn restart_ice(&mut self, local: Credentials, remote: Credentials) {
        self.ice.restart(local, remote);
    }

    /// Returns whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns how the viewer fares.
    pub fn stats(&self) -> PeerStats {
        self.media.as_ref().map(Media::stats).unwrap_or_default()
    }

    /// Handles a datagram from `source` that was sent to the local address `local` over UDP.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: Option<IpAddr>,
        datagram: &mut [u8],
    ) {
        self.handle_packet(now, CandidatePair::udp(local, source), datagram);
    }

    /// Handles a datagram that came on `pair`, over UDP or TCP.
    pub fn handle_packet(&mut self, now: Instant, pair: CandidatePair, datagram: &mut [u8]) {
        if self.closed {
            return;
        }
        match DatagramKind::of(datagram) {
            DatagramKind::Stun => self.handle_stun(now, pair, datagram),
            // Without a valid check, the sender could be anyone.
            _ if !self.ice.is_valid(pair) => {}
            kind => {
                self.ice.note_received(pair, datagram.len());
                match kind {
                    DatagramKind::Dtls => self.handle_dtls(now, pair, datagram),
                    DatagramKind::Rtcp => self.handle_rtcp(now, datagram),
                    _ => {}
                }
            }
        }
        self.send_held_flight();
        self.note_proof(now);
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` once the session is over.
    ///
    /// Every call that takes `now` can change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let handshake = (!self.is_handshake_complete).then_some(self.created + HANDSHAKE_TIMEOUT);
        let data = self.data.as_ref().and_then(|data| data.poll_timeout());
        let proof = self.unproven_since.map(|since| since + PROOF_TIMEOUT);
        let media = self.media.as_ref();
        let repairs = media.and_then(|media| media.repairs.poll_timeout());
        let (report, dtls) = (self.report_due(), self.dtls.poll_timeout());
        let deadlines = [handshake, report, repairs, dtls, data, proof];
        let deadlines = deadlines.into_iter().flatten();
        Some(deadlines.fold(self.ice.poll_timeout(), Instant::min))
    }

    /// Returns when the next sender report is due. Sending media can bring this forward, and
    /// changes no other deadline.
    #[must_use]
    pub fn report_due(&self) -> Option<Instant> {
        self.media.as_ref().and_then(Media::poll_timeout)
    }

    /// Handles due timeouts: sender reports, DTLS retransmissions, checks of ours, the end of a
    /// session that has lost its viewer. Does nothing before [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.ice.is_expired(now) {
            self.end(CloseReason::Silent);
            return;
        }
        let age = now.saturating_duration_since(self.created);
        if !self.is_handshake_complete && age >= HANDSHAKE_TIMEOUT {
            self.close_because(CloseReason::HandshakeTimeout);
            return;
        }
        if self.media.as_ref().is_some_and(Media::is_used_up) {
            self.dtls.close();
            self.take_dtls_datagrams();
            self.end(CloseReason::KeysUsedUp);
            return;
        }
        self.note_proof(now);
        let is_unproven_for_long = |since| now.saturating_duration_since(since) >= PROOF_TIMEOUT;
        if self.unproven_since.is_some_and(is_unproven_for_long) {
            self.close_because(CloseReason::Unproven);
            return;
        }
        if let Some(media) = &mut self.media {
            media.repairs.handle_timeout(now);
        }
        while let Some(report) = self.media.as_mut().and_then(|media| media.poll_report(now)) {
            self.transmit(report);
        }
        if self
            .dtls
            .poll_timeout()
            .is_some_and(|deadline| now >= deadline)
        {
            self.dtls.handle_timeout(now);
            self.drive_dtls(now);
        }
        self.handle_data_timeout(now);
        for pair in self.ice.unproven() {
            self.challenge(now, pair);
        }
    }

    /// Ends the session and tells the viewer: RTCP BYE and DTLS close_notify.
    pub fn close(&mut self) {
        self.close_because(CloseReason::Local);
    }

    /// Ends a session whose incomplete handshake must give way to another.
    pub fn displace(&mut self) {
        self.close_because(CloseReason::Displaced);
    }

    fn close_because(&mut self, reason: CloseReason) {
        if self.closed {
            return;
        }
        if let Some(bye) = self.media.as_mut().and_then(Media::goodbye) {
            self.transmit(bye);
        }
        self.dtls.close();
        self.take_dtls_datagrams();
        self.end(reason);
    }

    /// Returns the next datagram to send, besides media.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Returns the negotiated video codec, if the viewer gets video.
    pub fn video_codec(&self) -> Option<VideoCodec> {
        self.config.video.as_ref()?.codec
    }

    /// Moves the video from one log to another with the same clock, at a keyframe that is later
    /// than everything sent; audio is not touched. Returns whether it has moved; if not, call again
    /// when one of the logs has a new frame or more was sent.
    pub fn change_video(&mut self, from: &Log, to: &Log, now: Instant, change: LogChange) -> bool {
        let media = self.media.as_mut();
        media.is_none_or(|media| media.change_video(from, to, now, change))
    }

    /// Returns the presentation time up to which the viewer has video: [`Self::change_video`] moves
    /// it only to a later keyframe. `None` if nothing was sent.
    pub fn sent_until(&self) -> Option<MediaTime> {
        self.media.as_ref()?.sent_until()
    }

    /// Sends no more video until [`Self::change_video`] moves it or [`Self::keep_video`] is called:
    /// the path is much too slow for it.
    pub fn halt_video(&mut self) {
        if let Some(video) = self.media.as_mut().and_then(|media| media.video.as_mut()) {
            video.halt_log();
        }
    }

    /// Stays with the present log after [`Self::change_video`] has returned `false`.
    pub fn keep_video(&mut self) {
        if let Some(video) = self.media.as_mut().and_then(|media| media.video.as_mut()) {
            video.keep_log();
        }
    }

    /// Returns the state of the viewer's path by its last report.
    pub fn path(&self) -> PathCondition {
        let media = self.media.as_ref();
        let state = media.map(|media| media.path.state()).unwrap_or_default();
        // TCP sends the packets of a cluster at a rate of its own, so they show nothing there.
        let pair = self.ice.selected_pair();
        let is_udp = pair.is_some_and(|pair| pair.transport == Transport::Udp);
        PathCondition {
            can_probe: state.can_probe && is_udp,
            ..state
        }
    }

    /// Begins a cluster of packets at `rate` bits per second: the next calls of
    /// [`Self::send_media`] send it. Returns `false` if none can be sent now.
    pub fn begin_probe(&mut self, now: Instant, rate: u64) -> bool {
        let can_probe = self.path().can_probe;
        let media = self.media.as_mut();
        can_probe && media.is_some_and(|media| media.path.begin_probe(now, rate))
    }

    /// Takes the result of the last cluster, once there is one.
    pub fn take_probe(&mut self, now: Instant) -> Option<ProbeResult> {
        self.media.as_mut()?.path.take_probe(now)
    }

    /// Returns whether the handshake is complete. As DTLS client we send media a round trip before
    /// that.
    pub fn is_handshake_complete(&self) -> bool {
        self.is_handshake_complete
    }

    /// Returns whether there are keys, so that media could be sent.
    pub fn is_connected(&self) -> bool {
        self.media.is_some() && !self.closed
    }

    /// Writes the due packets of both tracks to `buffer`.
    ///
    /// [`Progress::Behind`] says that there is more: after the buffer was sent when it was full,
    /// else after some milliseconds, because newcomers are paced.
    pub fn send_media(
        &mut self,
        video_log: &Log,
        audio_log: &Log,
        now: Instant,
        buffer: &mut SendBuffer,
    ) -> Progress {
        let has_address = self.has_proven_address();
        match &mut self.media {
            Some(media) if !self.closed && has_address => {
                media.send(video_log, audio_log, now, buffer)
            }
            _ => Progress::Waiting,
        }
    }

    /// Returns whether the viewer has proved that it receives at its address. Media is sent nowhere
    /// else.
    fn has_proven_address(&self) -> bool {
        self.pair().is_some_and(|pair| self.ice.is_proven(pair))
    }

    /// Records since when media cannot be sent because the viewer's address is not proven.
    fn note_proof(&mut self, now: Instant) {
        if self.media.is_none() || self.has_proven_address() {
            self.unproven_since = None;
        } else {
            self.unproven_since.get_or_insert(now);
        }
    }

    /// Returns whether the viewer is behind the live edge, so that [`Self::send_media`] should be
    /// called every few milliseconds.
    pub fn is_catching_up(&self) -> bool {
        self.is_connected() && self.media.as_ref().is_some_and(Media::is_catching_up)
    }

    /// Writes lost packets that the viewer asked for into `buffer`, at a pace, and schedules a replay of the
    /// GOP if it asked for a keyframe: it is behind afterwards, like a newcomer.
    pub fn retransmit(&mut self, video: RepairLogs<'_>, now: Instant, buffer: &mut SendBuffer) {
        let has_address = self.has_proven_address();
        if let Some(media) = self.media.as_mut().filter(|_| has_address) {
            media.retransmit(video, now, buffer);
        }
    }

    /// Returns the counters of video and audio.
    pub fn sender_stats(&self) -> (SenderStats, SenderStats) {
        self.media
            .as_ref()
            .map(Media::sender_stats)
            .unwrap_or_default()
    }

    fn handle_stun(&mut self, now: Instant, pair: CandidatePair, datagram: &[u8]) {
        let mut response = Vec::new();
        let outcome = self.ice.handle_stun(now, pair, datagram, &mut response);
        if let IceOutcome::Valid(_) | IceOutcome::Refused { .. } = outcome {
            // To the source of the request, whichever pair is selected.
            self.transmits.push_back(Transmit::on(pair, response));
        }
        match outcome {
            IceOutcome::Valid(check) => {
                if check.selected {
                    self.note_moved(pair);
                    // A ClientHello goes first: the answer to it proves the address as well.
                    self.start_dtls(now);
                }
                self.challenge(now, pair);
            }
            IceOutcome::Proven {
                selected,
                round_trip,
            } => {
                if let Some(round_trip) = round_trip {
                    self.round_trip = Some(round_trip);
                    self.dtls.note_round_trip(round_trip);
                    if let Some(media) = &mut self.media {
                        media.path.note_round_trip(round_trip);
                    }
                }
                if selected {
                    self.note_moved(pair);
                }
            }
            _ => {}
        }
    }

    /// Sends a check of our own to the source of a check, if its address is to be proven.
    fn challenge(&mut self, now: Instant, pair: CandidatePair) {
        let mut request = Vec::new();
        if self.ice.poll_challenge(now, pair, &mut request) {
            self.transmits.push_back(Transmit::on(pair, request));
        }
    }

    fn note_moved(&mut self, pair: CandidatePair) {
        self.events.push_back(PeerEvent::Moved {
            remote: pair.remote,
        });
    }

    fn start_dtls(&mut self, now: Instant) {
        if !self.is_started {
            self.is_started = true;
            self.dtls.start(now);
            self.drive_dtls(now);
        }
    }

    fn handle_dtls(&mut self, now: Instant, pair: CandidatePair, datagram: &[u8]) {
        let had_keys = self.dtls.has_keys();
        self.dtls.handle_datagram(now, datagram);
        // The viewer's flight answers ours: it has signed the random number of our ClientHello, or
        // has the keys.
        let answers_ours = !had_keys && self.dtls.has_keys();
        if answers_ours && self.handshake == HandshakePath::One(pair) && self.ice.prove(now, pair) {
            self.note_moved(pair);
        }
        self.drive_dtls(now);
    }

    /// Moves datagrams and events out of the DTLS association.
    fn drive_dtls(&mut self, now: Instant) {
        self.take_dtls_datagrams();
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Keys { profile, keys } => {
                    let mut media = Media::new(&self.config, &keys, self.clock, now);
                    if let Some(round_trip) = self.round_trip {
                        media.path.note_round_trip(round_trip);
                    }
                    self.media = Some(media);
                    self.profile = Some(profile);
                    self.events.push_back(PeerEvent::Connected { profile });
                }
                DtlsEvent::Connected => {
                    let role = self.config.role;
                    let data = self.config.data;
                    self.data = data.map(|config| Box::new(DataTransport::new(role, config)));
                    self.is_handshake_complete = true;
                }
                DtlsEvent::Closed => self.end(CloseReason::Left),
                DtlsEvent::Failed(error) => self.end(CloseReason::Handshake(error.to_string())),
            }
        }
        self.drive_data(now);
    }

    /// Queues DTLS datagrams. A flight of the handshake goes out whole or not at all: single parts
    /// are of no use to the viewer.
    fn take_dtls_datagrams(&mut self) {
        if self.is_handshake_complete {
            while let Some(datagram) = self.dtls.poll_transmit() {
                self.transmit(datagram);
            }
            return;
        }
        let flight: Vec<Vec<u8>> = std::iter::from_fn(|| self.dtls.poll_transmit()).collect();
        if !flight.is_empty() {
            self.held_flight = flight;
            self.send_held_flight();
        }
    }

    /// Sends the flight that is held back, once the anti-amplification limit allows it.
    fn send_held_flight(&mut self) {
        let Some(pair) = self.pair() else { return };
        let bytes = self.held_flight.iter().map(Vec::len).sum();
        if bytes == 0 || !self.ice.spend(pair, bytes) {
            return;
        }
        self.handshake = match self.handshake {
            HandshakePath::None => HandshakePath::One(pair),
            HandshakePath::One(before) if before == pair => HandshakePath::One(pair),
            _ => HandshakePath::Several,
        };
        let flight = std::mem::take(&mut self.held_flight);
        let flight = flight.into_iter().map(|bytes| Transmit::on(pair, bytes));
        self.transmits.extend(flight);
    }

    fn handle_rtcp(&mut self, now: Instant, datagram: &mut [u8]) {
        let Some(media) = &mut self.media else { return };
        if media.handle_rtcp(now, datagram).is_err() {
            return;
        }
        // A peer that has the keys has received our last flight.
        self.dtls.settle();
        self.drive_dtls(now);
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.events.push_back(PeerEvent::Closed(reason));
        }
    }

    /// Queues a datagram for the viewer. Drops it if it exceeds the anti-amplification limit of an
    /// unproven address.
    fn transmit(&mut self, bytes: Vec<u8>) {
        if let Some(pair) = self.ice.selected_pair()
            && self.ice.spend(pair, bytes.len())
        {
            self.transmits.push_back(Transmit::on(pair, bytes));
        }
    }
}
