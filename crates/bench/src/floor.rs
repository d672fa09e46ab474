//! The least cost of sending: the same packets as a gateway's, sealed and passed to the kernel, and
//!
//! ```text
//! thread "sender": for each frame, for each receiver: copy, seal, one call ──loopback──► thread "receivers"
//! ```
//!
//! The same gateway needs a tenth more or less from one hour to the next on a virtual machine:
//! stats are worth something beside the floor of the same minute.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use distributary_webrtc::rtp::RtpHeader;
use distributary_webrtc::srtp::{MasterKey, SrtpProfile, SrtpSealer};
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use serde::Serialize;

use crate::process::{ProcessUsage, load_average};
use crate::socket::{ReadBuffers, ReceiveMode, ViewerSocket};

/// Frames per second.
const FRAME_RATE: u32 = 30;

/// Packets of a frame, and their payload in bytes: 2.5 Mbit/s.
const PACKETS: usize = 9;
const PAYLOAD: usize = 1_140;

/// The name of the thread that is measured.
const SENDER: &str = "sender";

/// Configuration of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct FloorConfig {
    /// Number of receivers, each with a key of its own.
    pub viewers: usize,
    /// Duration.
    pub duration: Duration,
    /// Receive mode.
    pub receive: ReceiveMode,
    /// SRTP profile.
    pub profile: SrtpProfile,
}

/// Results of a measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FloorReport {
    /// CPU time per packet in microseconds.
    pub cpu_us_per_packet: f64,
    /// Packets sent.
    pub packets: u64,
    /// Number of receivers there were.
    pub viewers: usize,
    /// Receive mode.
    pub receive: ReceiveMode,
    /// Nice level of the process.
    pub nice: i32,
    /// Load of the machine, averaged over the last minute.
    pub load_average: Option<f64>,
}

impl fmt::Display for FloorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.2} us CPU per packet ({} packets, {} {} receivers, nice {}, load average {:.2})",
            self.cpu_us_per_packet,
            self.packets,
            self.viewers,
            self.receive,
            self.nice,
            self.load_average.unwrap_or_default()
        )
    }
}

/// Sends frames to receivers that read as fast as they can.
///
/// # Errors
/// When the system has no sockets or threads left, or does not tell CPU time.
pub fn run(config: &FloorConfig) -> io::Result<FloorReport> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let server = socket.local_addr()?;
    let mut receivers = Vec::with_capacity(config.viewers);
    for _ in 0..config.viewers {
        receivers.push(ViewerSocket::connect(server, config.receive)?);
    }
    let destinations: Vec<SocketAddr> = receivers
        .iter_mut()
        .map(|receiver| receiver.source().local_addr())
        .collect::<io::Result<_>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&stop);
    let receiving = thread::Builder::new()
        .name("receivers".to_owned())
        .spawn(move || receive(receivers, &is_over))?;
    let (profile, duration) = (config.profile, config.duration);
    let sending = thread::Builder::new()
        .name(SENDER.to_owned())
        .spawn(move || send(&socket, &destinations, profile, duration))?;
    let sent = sending.join();
    stop.store(true, Ordering::Relaxed);
    let received = receiving.join();
    let panicked = || io::Error::other("a thread of the measurement panicked");
    received.map_err(|_| panicked())??;
    let (packets, usage) = sent.map_err(|_| panicked())??;
    let cpu = usage.threads.get(SENDER).copied().unwrap_or_default();
    Ok(FloorReport {
        cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / (packets as f64).max(1.0),
        packets,
        viewers: config.viewers,
        receive: config.receive,
        nice: usage.nice,
        load_average: load_average().ok(),
    })
}

/// Receives packets until the end.
fn receive(mut receivers: Vec<ViewerSocket>, is_over: &AtomicBool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for (token, receiver) in receivers.iter_mut().enumerate() {
        let interest = Interest::READABLE;
        poll.registry()
            .register(receiver.source(), Token(token), interest)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut buffers = ReadBuffers::new();
    while !is_over.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            if let Some(receiver) = receivers.get(event.token().0) {
                receiver.receive(&mut buffers, |_| {});
            }
        }
    }
    Ok(())
}

/// Sends frames to all receivers for some time. Returns the number of packets, and the CPU time of
/// this process.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver of the measurement, which paces the frames"
)]
fn send(
    socket: &UdpSocket,
    destinations: &[SocketAddr],
    profile: SrtpProfile,
    duration: Duration,
) -> io::Result<(u64, ProcessUsage)> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    let sealers: Vec<SrtpSealer> = (0..destinations.len())
        .map(|viewer| sealer(profile, viewer))
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other("keys of the profile's own lengths were refused"))?;
    let payload = vec![7; PAYLOAD];
    let tag_len = sealers.first().map_or(0, SrtpSealer::tag_len);
    let segment = RtpHeader::LEN + PAYLOAD + tag_len;
    let mut buffer = vec![0; PACKETS * segment];
    let most = state.max_gso_segments().max(1) * segment;
    let (start, interval) = (Instant::now(), Duration::from_secs(1) / FRAME_RATE);
    let mut packets = 0;
    let mut frame = 0;
    while start.elapsed() < duration {
        for (sealer, destination) in sealers.iter().zip(destinations) {
            for (n, packet) in (0..).zip(buffer.chunks_exact_mut(segment)) {
                write(
                    packet,
                    sealer,
                    &payload,
                    u64::from(frame) * PACKETS as u64 + n,
                );
            }
            for contents in buffer.chunks(most) {
                let transmit = Transmit {
                    destination: *destination,
                    ecn: None,
                    contents,
                    segment_size: (contents.len() > segment).then_some(segment),
                    src_ip: Some(destination.ip()),
                };
                state.try_send(UdpSockRef::from(socket), &transmit)?;
            }
            packets += PACKETS as u64;
        }
        frame += 1;
        thread::sleep((interval * frame).saturating_sub(start.elapsed()));
    }
    // Before the thread ends, and is counted no more.
    Ok((packets, ProcessUsage::of(std::process::id())?))
}

fn sealer(profile: SrtpProfile, viewer: usize) -> Option<SrtpSealer> {
    let mut key = vec![1; profile.key_len()];
    for (byte, of_viewer) in key.iter_mut().zip(viewer.to_be_bytes()) {
        *byte = of_viewer;
    }
    let salt = vec![2; profile.salt_len()];
    MasterKey::new(profile, &key, &salt).map(|master| SrtpSealer::new(&master))
}

fn write(packet: &mut [u8], sealer: &SrtpSealer, payload: &[u8], index: u64) {
    let header = RtpHeader {
        payload_type: 96,
        marker: false,
        sequence: index as u16,
        timestamp: 90_000,
        ssrc: 1,
    };
    let (head, rest) = packet.split_at_mut(RtpHeader::LEN);
    head.copy_from_slice(&header.to_bytes());
    rest[..payload.len()].copy_from_slice(payload);
    sealer.seal(packet, RtpHeader::LEN, 1, index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_and_have_a_price() {
        let report = run(&FloorConfig {
            viewers: 20,
            duration: Duration::from_millis(200),
            receive: ReceiveMode::Gro,
            profile: SrtpProfile::AeadAes128Gcm,
        })
        .unwrap();
        let frame = 20 * PACKETS as u64;
        assert!(report.packets >= frame && report.packets.is_multiple_of(frame));
        assert!(report.cpu_us_per_packet.is_finite());
    }
}
