//! The simulation's own player.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_bench::answer::Answer;
use distributary_bench::feedback::{self, Arrivals};
use distributary_bench::ice::ControllingAgent;
use distributary_bench::offer::{AUDIO, RTX, VIDEO, offer};
use distributary_bench::rtcp::{ReportState, receiver_report};
use distributary_bench::rtp::{SourceCounter, extension, read_header};
use distributary_webrtc::certificate::Fingerprint;
use distributary_webrtc::demux::DatagramKind;
use distributary_webrtc::dtls::{Dtls, DtlsEvent};
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::IceFragment;
use distributary_webrtc::srtp::{SrtcpSealer, SrtpKeys, SrtpProfile};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::depacketizer::Depacketizer;
use super::receiver::{Receiver, nack};
use super::{Played, Player, PlayerContext};

/// Interval of receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Time after which a missing video packet is given up: less than the gateway keeps packets.
const VIDEO_GIVE_UP: Duration = Duration::from_millis(1500);

/// Time after which a missing audio packet is given up; nobody asks for it.
const AUDIO_GIVE_UP: Duration = Duration::from_millis(120);

/// The simulation's own player. It decrypts by another implementation of SRTP than the gateway's,
/// and asks for missing packets.
pub struct OwnPlayer {
    credentials: Credentials,
    identity: u64,
    connection: Option<Connection>,
    played: VecDeque<Played>,
    failure: Option<String>,
}

struct Connection {
    /// The address of the gateway.
    server: SocketAddr,
    agent: ControllingAgent,
    dtls: Dtls,
    media: Option<Media>,
}

struct Media {
    sealer: SrtcpSealer,
    srtp: Context,
    outbound: VecDeque<Vec<u8>>,
    next_report: Instant,
    next_feedback: Instant,
    arrivals: Arrivals,
    counters: [SourceCounter; 2],
    reports: [ReportState; 2],
    video: Receiver,
    audio: Receiver,
    depacketizer: Depacketizer,
}

impl OwnPlayer {
    /// Returns a player before its offer. `identity` distinguishes it from the others.
    ///
    /// # Errors
    /// Returns the reason if the credentials cannot be generated.
    pub fn new(identity: u64) -> Result<Self, String> {
        Ok(Self {
            credentials: Credentials::generate().map_err(|error| error.to_string())?,
            identity,
            connection: None,
            played: VecDeque::new(),
            failure: None,
        })
    }

    /// Returns its offer.
    #[must_use]
    pub fn offer(&self, fingerprint: &Fingerprint) -> String {
        offer(self.identity, &self.credentials, fingerprint, true)
    }

    fn handle_dtls_events(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        while let Some(event) = connection.dtls.poll_event() {
            let failure = match event {
                DtlsEvent::Keys { keys, .. } => match Media::new(&keys, now) {
                    Ok(media) => {
                        connection.media = Some(media);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                DtlsEvent::Connected => continue,
                DtlsEvent::Failed(error) => error.to_string(),
                _ => "the gateway said goodbye".to_owned(),
            };
            self.failure.get_or_insert(failure);
        }
    }

    fn play(&mut self, now: Instant) {
        let connection = self.connection.as_mut();
        let Some(media) = connection.and_then(|connection| connection.media.as_mut()) else {
            return;
        };
        while let Some(packet) = media.video.poll(now) {
            match media.depacketizer.handle(&packet) {
                Ok(frame) => self.played.extend(frame),
                Err(reason) => {
                    self.failure
                        .get_or_insert(format!("invalid media: {reason}"));
                }
            }
        }
        while let Some(packet) = media.audio.poll(now) {
            self.played.push_back(Played::Audio {
                packet: packet.payload,
                timestamp: packet.timestamp,
                after_loss: packet.after_loss,
            });
        }
        media.ask(self.identity as u32, now);
    }
}

impl Player for OwnPlayer {
    fn handle_answer(
        &mut self,
        answer: &str,
        context: &PlayerContext,
        now: Instant,
    ) -> Result<(), String> {
        let answer = Answer::parse(answer).map_err(|error| error.to_string())?;
        let server = answer.candidate(None).ok_or("no candidate")?;
        let dtls = Dtls::new(&context.dtls, answer.role, answer.fingerprints);
        let agent = ControllingAgent::new(
            now,
            self.credentials.clone(),
            answer.credentials,
            server,
            self.identity,
        );
        self.connection = Some(Connection {
            server,
            agent,
            dtls: dtls.map_err(|error| error.to_string())?,
            media: None,
        });
        self.handle_timeout(now);
        Ok(())
    }

    fn handle_datagram(&mut self, _gateway: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match DatagramKind::of(datagram) {
            DatagramKind::Rtp => {
                if let Some(media) = &mut connection.media {
                    media.handle_packet(datagram, now);
                }
            }
            DatagramKind::Stun => {
                connection.agent.handle_message(now, datagram);
                if connection.agent.is_connected() {
                    connection.dtls.start(now);
                }
            }
            DatagramKind::Dtls => connection.dtls.handle_datagram(now, datagram),
            DatagramKind::Rtcp | DatagramKind::Unknown => {}
        }
        self.handle_dtls_events(now);
        self.play(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.agent.handle_timeout(now);
            connection.dtls.handle_timeout(now);
            if let Some(media) = &mut connection.media {
                media.report(self.identity as u32, now);
            }
        }
        self.handle_dtls_events(now);
        self.play(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_ref()?;
        let media = connection.media.as_ref().map(Media::poll_timeout);
        let agent = Some(connection.agent.poll_timeout());
        [agent, connection.dtls.poll_timeout(), media]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let connection = self.connection.as_mut()?;
        let media = connection.media.as_mut();
        let told = media.and_then(|media| media.outbound.pop_front());
        told.or_else(|| connection.agent.poll_transmit())
            .or_else(|| connection.dtls.poll_transmit())
    }

    fn poll_played(&mut self) -> Option<Played> {
        self.played.pop_front()
    }

    fn restart_ice(&mut self) -> Option<String> {
        self.connection.as_ref()?.media.as_ref()?;
        self.credentials = Credentials::generate().ok()?;
        let (ufrag, password) = (self.credentials.ufrag(), self.credentials.password());
        Some(format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n"))
    }

    fn handle_fragment(&mut self, fragment: &str, now: Instant) -> Result<(), String> {
        let fragment = IceFragment::parse(fragment).map_err(|error| error.to_string())?;
        let remote = fragment.ice.ok_or("a fragment without credentials")?;
        if let Some(connection) = &mut self.connection {
            connection.agent = ControllingAgent::new(
                now,
                self.credentials.clone(),
                remote,
                connection.server,
                self.identity,
            );
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.dtls.close();
        }
    }

    fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    fn given_up(&self) -> u64 {
        let connection = self.connection.as_ref();
        let media = connection.and_then(|connection| connection.media.as_ref());
        media.map_or(0, |media| media.video.given_up)
    }
}

impl Media {
    fn new(keys: &SrtpKeys, now: Instant) -> Result<Self, webrtc_srtp::Error> {
        let key = &keys.remote;
        let profile = match key.profile() {
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProfile::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        };
        Ok(Self {
            sealer: SrtcpSealer::new(&keys.local),
            srtp: Context::new(key.key(), key.salt(), profile, None, None)?,
            outbound: VecDeque::new(),
            next_report: now + REPORT_INTERVAL,
            next_feedback: now + feedback::INTERVAL,
            arrivals: Arrivals::new(now),
            counters: [SourceCounter::default(); 2],
            reports: [ReportState::default(); 2],
            video: Receiver::new(VIDEO_GIVE_UP, true),
            audio: Receiver::new(AUDIO_GIVE_UP, false),
            depacketizer: Depacketizer::default(),
        })
    }

    fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        if let Some(&[high, low]) = extension(packet, feedback::EXTENSION) {
            self.arrivals.record(now, u16::from_be_bytes([high, low]));
        }
        let Ok(plain) = self.srtp.decrypt_rtp(packet) else {
            return;
        };
        let Some((header, payload)) = read_header(&plain).and_then(|(header, begin)| {
            let has_padding = plain.first()? & 0x20 != 0;
            let padding = if has_padding { *plain.last()? } else { 0 };
            let end = plain.len().checked_sub(padding.into())?;
            Some((header, plain.get(begin..end)?))
        }) else {
            return;
        };
        let marker = header.marker;
        match header.payload_type {
            VIDEO => {
                self.counters[0].handle(&header);
                let payload = payload.to_vec();
                self.video
                    .handle(header.sequence, header.timestamp, marker, payload, now);
            }
            // RFC 4588 section 4: the original sequence number goes first.
            RTX => {
                if let Some((sequence, payload)) = payload.split_first_chunk::<2>() {
                    let sequence = u16::from_be_bytes(*sequence);
                    let payload = payload.to_vec();
                    self.video
                        .handle(sequence, header.timestamp, marker, payload, now);
                }
            }
            AUDIO => {
                self.counters[1].handle(&header);
                let payload = payload.to_vec();
                self.audio
                    .handle(header.sequence, header.timestamp, marker, payload, now);
            }
            _ => {}
        }
    }

    fn ask(&mut self, ssrc: u32, now: Instant) {
        let missing = self.video.take_requests(now);
        if missing.is_empty() {
            return;
        }
        let request = nack(ssrc, self.counters[0].ssrc(), &missing);
        self.send(request);
    }

    fn report(&mut self, ssrc: u32, now: Instant) {
        if now >= self.next_feedback {
            self.next_feedback = now + feedback::INTERVAL;
            let media = self.counters[0].ssrc();
            if let Some(feedback) = self.arrivals.feedback(ssrc, media) {
                self.send(feedback);
            }
        }
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        let [video, audio] = &self.counters;
        let [of_video, of_audio] = &mut self.reports;
        let report = receiver_report(ssrc, &mut [(video, of_video), (audio, of_audio)]);
        self.send(report);
    }

    fn send(&mut self, mut packet: Vec<u8>) {
        self.sealer.seal(&mut packet);
        self.outbound.push_back(packet);
    }

    fn poll_timeout(&self) -> Instant {
        let now = self.next_feedback.checked_sub(feedback::INTERVAL);
        let now = now.unwrap_or(self.next_feedback);
        let receivers = [&self.video, &self.audio];
        let receivers = receivers
            .into_iter()
            .filter_map(|receiver| receiver.poll_timeout(now));
        receivers.fold(self.next_report.min(self.next_feedback), Instant::min)
    }
}
