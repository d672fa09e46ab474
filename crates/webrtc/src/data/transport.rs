//! One SCTP association and its channels.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
};

use super::dcep::{ACK, Open};
use super::guard::Guard;
use crate::dtls::{DtlsRole, MTU};

/// Our SCTP port, for `a=sctp-port` (RFC 8841 section 5.1).
pub const SCTP_PORT: u16 = 5000;

/// Longest message that is accepted, in bytes, for `a=max-message-size` (RFC 8841 section 6.1).
pub const MAX_MESSAGE_SIZE: u32 = 4 * 1024;

/// Channels of one viewer; further ones are closed as they are opened.
pub const MAX_CHANNELS: usize = 8;

/// Maximum number of bytes in flight to one viewer. A message beyond it is dropped.
pub const MAX_BUFFERED: usize = 64 * 1024;

/// Maximum number of unread messages; SCTP does not retransmit those dropped beyond it.
const MAX_EVENTS: usize = 64;

/// Streams in each direction. RFC 8831 section 6.2 wants 65 535 asked for, and players number their
/// channels from 0 or 1.
const MAX_STREAMS: u16 = 1024;

/// Maximum number of bytes received and not yet assembled to messages: two of the longest. A viewer
/// sends little more than pings, which are read at once.
const RECEIVE_BUFFER: u32 = 2 * MAX_MESSAGE_SIZE;

/// Most bytes that DTLS adds to a packet: header, IV, padding and tag of the CBC ciphers.
pub(super) const DTLS_OVERHEAD: u32 = 80;

/// Common header and header of one DATA chunk (RFC 9260 section 3).
const SCTP_OVERHEAD: u32 = 28;

/// Retransmission timeouts for a path that carries media: RFC 9260 section 16 suggests a second and
/// more for unknown paths.
const RTO_INITIAL_MS: u64 = 500;
const RTO_MIN_MS: u64 = 400;

/// Longest packet: in its record it fits a datagram of the handshake's size.
const MAX_PACKET: usize = (MTU - DTLS_OVERHEAD) as usize;

/// SCTP over DTLS has no addresses (RFC 8261 section 6.1); the library wants one.
pub(super) const NO_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Negotiated parameters of the data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataConfig {
    /// The viewer's SCTP port.
    pub port: u16,
    /// Longest message that the viewer accepts, in bytes.
    pub max_message_size: u32,
}

/// An event of a viewer's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// A channel is open.
    Opened {
        /// Its number.
        channel: u16,
        /// The viewer's label of it.
        label: String,
    },
    /// A text has come.
    Text {
        /// The channel.
        channel: u16,
        /// The text.
        text: String,
    },
    /// A channel is closed.
    Closed {
        /// Its number.
        channel: u16,
    },
}

/// The SCTP association of a viewer, on top of its DTLS association.
///
/// Packets go in by [`Self::handle_packet`], time by [`Self::handle_timeout`]. After each of them
/// and after [`Self::send`]: take [`Self::poll_event`] and [`Self::poll_transmit`] until they give
/// nothing, then wait for a packet or for [`Self::poll_timeout`].
///
/// Either side may start an association. Here the DTLS client does, as in most implementations; if
/// the viewer starts one as well, both become one (RFC 9260 section 5.2.1).
pub struct DataTransport {
    endpoint: Endpoint,
    pub(super) association: Option<Association>,
    guard: Guard,
    max_message_size: usize,
    /// The channels that are open.
    channels: Vec<u16>,
    events: VecDeque<DataEvent>,
    dropped: u64,
}

impl DataTransport {
    /// Returns the association of a viewer with which we have this role in DTLS.
    #[must_use]
    pub fn new(role: DtlsRole, config: DataConfig) -> Self {
        let mut server = ServerConfig::new();
        server.transport = Arc::clone(&TRANSPORT);
        let mut endpoint = Endpoint::new(Arc::clone(&ENDPOINT), Some(Arc::new(server)));
        let association = match role {
            DtlsRole::Client => {
                let mut client = ClientConfig::new();
                client.transport = Arc::new(transport_config().with_remote_port(config.port));
                endpoint.reject_new_associations();
                endpoint
                    .connect(client, NO_ADDRESS)
                    .map(|(_, association)| association)
                    .ok()
            }
            DtlsRole::Server => None,
        };
        let max_message_size = match config.max_message_size {
            // RFC 8841 section 6: any size.
            0 => MAX_BUFFERED,
            size => size as usize,
        };
        let mut transport = Self {
            endpoint,
            association: None,
            guard: Guard::new(MAX_PACKET),
            max_message_size,
            channels: Vec::new(),
            events: VecDeque::new(),
            dropped: 0,
        };
        if let Some(association) = association {
            transport.take_association(association);
        }
        transport
    }

    /// Handles a packet from DTLS.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        if !self.guard.admits(packet) {
            return;
        }
        let packet = Bytes::copy_from_slice(packet);
        let Some((_, event)) = self.endpoint.handle(now, NO_ADDRESS, None, None, packet) else {
            return;
        };
        match event {
            DatagramEvent::NewAssociation(association) => self.take_association(association),
            DatagramEvent::AssociationEvent(event) => {
                if let Some(association) = &mut self.association {
                    association.handle_event(event);
                }
            }
        }
        self.drive();
    }

    /// Handles the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(association) = &mut self.association {
            association.handle_timeout(now);
            self.drive();
        }
    }

    /// Returns when [`Self::handle_timeout`] is due, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.poll_timeout()
    }

    /// Returns the next packets to send, each in a DTLS record of its own. None is longer than a
    /// datagram of the handshake. Their sum is limited by the bytes received and by our messages:
    /// packets beyond the limit are dropped, as the network might.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        match self.association.as_mut()?.poll_transmit(now)?.payload {
            Payload::RawEncode(mut packets) => {
                packets.retain(|packet| self.guard.releases(now, packet));
                Some(packets)
            }
            Payload::PartialDecode(_) => None,
        }
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// Returns the channels that are open.
    #[must_use]
    pub fn channels(&self) -> &[u16] {
        &self.channels
    }

    /// Returns the number of messages dropped because the viewer reads too slowly or does not
    /// accept their length.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sends a text on every open channel.
    pub fn send(&mut self, text: &str) {
        for index in 0..self.channels.len() {
            if let Some(channel) = self.channels.get(index).copied() {
                self.send_on(channel, text);
            }
        }
    }

    /// Sends a text on one channel.
    pub fn send_on(&mut self, channel: u16, text: &str) {
        let is_too_much =
            text.len() > self.max_message_size || self.buffered() + text.len() > MAX_BUFFERED;
        if is_too_much || !self.write(channel, text.as_bytes(), text_protocol(text)) {
            self.dropped += 1;
        }
    }

    fn take_association(&mut self, mut association: Association) {
        let longest = self.max_message_size.min(MAX_BUFFERED);
        association.set_max_send_message_size(u32::try_from(longest).unwrap_or(u32::MAX));
        self.association = Some(association);
        // There is one association; requests for another are not answered.
        self.endpoint.reject_new_associations();
    }

    /// Returns bytes that the viewer has not acknowledged.
    pub(super) fn buffered(&mut self) -> usize {
        let Some(association) = &mut self.association else {
            return 0;
        };
        let of = |channel: &u16| {
            let stream = association.stream(*channel).ok();
            stream.and_then(|stream| stream.buffered_amount().ok())
        };
        self.channels.iter().filter_map(of).sum()
    }

    fn write(&mut self, channel: u16, bytes: &[u8], protocol: PayloadProtocolIdentifier) -> bool {
        let Some(association) = &mut self.association else {
            return false;
        };
        self.guard.note_written(bytes.len());
        association
            .stream(channel)
            .and_then(|mut stream| stream.write_with_ppi(bytes, protocol))
            .is_ok()
    }

    /// Moves events and messages out of the association.
    fn drive(&mut self) {
        while let Some(event) = self.association.as_mut().and_then(Association::poll) {
            match event {
                Event::Stream(StreamEvent::Opened { id } | StreamEvent::Readable { id }) => {
                    self.read(id);
                }
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => {
                    self.close_channel(id);
                }
                Event::AssociationLost { .. } | Event::HandshakeFailed { .. } => {
                    self.association = None;
                    for channel in std::mem::take(&mut self.channels) {
                        self.note(DataEvent::Closed { channel });
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the complete messages of a stream.
    fn read(&mut self, id: u16) {
        while let Some(message) = self
            .association
            .as_mut()
            .and_then(|association| association.stream(id).ok())
            .and_then(|mut stream| stream.read_sctp().ok().flatten())
        {
            let mut bytes = vec![0; message.len()];
            if message.read(&mut bytes).is_err() {
                continue;
            }
            match message.ppi {
                PayloadProtocolIdentifier::Dcep => self.handle_dcep(id, &bytes),
                PayloadProtocolIdentifier::String => self.handle_text(id, bytes),
                // Empty texts and binary messages have no content of interest, only their channel
                // matters.
                _ => {
                    self.open_channel(id, String::new());
                }
            }
        }
    }

    fn handle_dcep(&mut self, id: u16, message: &[u8]) {
        let Some(open) = Open::parse(message) else {
            return;
        };
        if !self.open_channel(id, open.label) {
            return;
        }
        if let Some(association) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            let _ = stream.set_reliability_params(open.unordered, open.reliability, open.parameter);
        }
        self.write(id, ACK, PayloadProtocolIdentifier::Dcep);
    }

    fn handle_text(&mut self, channel: u16, bytes: Vec<u8>) {
        // A text without an OPEN before it: the channel was agreed on by the application
        // (RFC 8831 section 6.5).
        if self.open_channel(channel, String::new())
            && let Ok(text) = String::from_utf8(bytes)
        {
            self.note(DataEvent::Text { channel, text });
        }
    }

    /// Records an open channel. Returns `false`, and closes it, if there are too many.
    fn open_channel(&mut self, channel: u16, label: String) -> bool {
        if self.channels.contains(&channel) {
            return true;
        }
        if self.channels.len() >= MAX_CHANNELS {
            if let Some(association) = &mut self.association
                && let Ok(mut stream) = association.stream(channel)
            {
                let _ = stream.close();
            }
            return false;
        }
        self.channels.push(channel);
        self.note(DataEvent::Opened { channel, label });
        true
    }

    /// The viewer has closed a channel.
    fn close_channel(&mut self, channel: u16) {
        if let Some(index) = self.channels.iter().position(|open| *open == channel) {
            self.channels.remove(index);
            self.note(DataEvent::Closed { channel });
        }
        // RFC 8831 section 6.7: the other direction is reset as well.
        if let Some(association) = &mut self.association
            && let Ok(mut stream) = association.stream(channel)
        {
            let _ = stream.close();
        }
    }

    fn note(&mut self, event: DataEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }
}

impl fmt::Debug for DataTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataTransport")
            .field("channels", &self.channels)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// RFC 8831 section 6.6: an empty text has an identifier of its own.
fn text_protocol(text: &str) -> PayloadProtocolIdentifier {
    if text.is_empty() {
        PayloadProtocolIdentifier::StringEmpty
    } else {
        PayloadProtocolIdentifier::String
    }
}

/// The settings that all viewers share.
static TRANSPORT: LazyLock<Arc<TransportConfig>> = LazyLock::new(|| Arc::new(transport_config()));

static ENDPOINT: LazyLock<Arc<EndpointConfig>> = LazyLock::new(|| {
    let mut config = EndpointConfig::new();
    config.max_payload_size(MTU - DTLS_OVERHEAD - SCTP_OVERHEAD);
    Arc::new(config)
});

fn transport_config() -> TransportConfig {
    TransportConfig::default()
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
        .with_max_receive_message_size(MAX_MESSAGE_SIZE)
        .with_max_num_inbound_streams(MAX_STREAMS)
        .with_max_num_outbound_streams(MAX_STREAMS)
        .with_rto_initial_ms(RTO_INITIAL_MS)
        .with_rto_min_ms(RTO_MIN_MS)
        .with_local_port(SCTP_PORT)
}
