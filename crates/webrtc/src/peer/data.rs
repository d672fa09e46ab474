//! The data channels of a viewer: their messages, and SCTP packets through DTLS.

use std::time::Instant;

use distributary_media::MediaTime;

use super::Peer;
use super::output::PeerEvent;
use crate::data::{DataEvent, Request};

impl Peer {
    /// Sends a text on every data channel that the viewer has opened. A channel that is too slow
    /// drops it.
    pub fn send_text(&mut self, now: Instant, text: &str) {
        if let Some(data) = self.data.as_mut().filter(|_| !self.closed) {
            data.send(text);
            self.drive_data(now);
        }
    }

    /// Sends a text on one data channel.
    pub fn send_text_on(&mut self, now: Instant, channel: u16, text: &str) {
        if let Some(data) = self.data.as_mut().filter(|_| !self.closed) {
            data.send_on(channel, text);
            self.drive_data(now);
        }
    }

    /// Returns the number of texts dropped because the viewer read too slowly or does not support
    /// their length.
    pub fn missed_texts(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.dropped())
    }

    /// Returns whether the viewer has a data channel open.
    pub fn has_channels(&self) -> bool {
        let data = self.data.as_ref();
        data.is_some_and(|data| !data.channels().is_empty()) && !self.closed
    }

    pub(super) fn handle_data_timeout(&mut self, now: Instant) {
        if let Some(data) = &mut self.data
            && data.poll_timeout().is_some_and(|deadline| now >= deadline)
        {
            data.handle_timeout(now);
            self.drive_data(now);
        }
    }

    /// Moves packets from DTLS to SCTP and back, and answers the viewer's requests.
    pub(super) fn drive_data(&mut self, now: Instant) {
        let Some(data) = &mut self.data else { return };
        while let Some(packet) = self.dtls.poll_received() {
            data.handle_packet(now, &packet);
        }
        while let Some(event) = data.poll_event() {
            match event {
                DataEvent::Opened { channel, label } => {
                    self.events
                        .push_back(PeerEvent::ChannelOpened { channel, label });
                }
                DataEvent::Text { channel, text } => {
                    if let Some(request) = Request::parse(&text) {
                        let live = now.saturating_duration_since(self.clock.epoch);
                        data.send_on(channel, &request.answer(MediaTime::ZERO + live));
                    }
                }
                DataEvent::Closed { .. } => {}
            }
        }
        while let Some(packets) = data.poll_transmit(now) {
            for packet in packets {
                self.dtls.send(&packet);
            }
        }
        self.take_dtls_datagrams();
    }
}
