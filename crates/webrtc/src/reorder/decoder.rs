//! The decoder of one viewer.

use std::time::Duration;

use super::display_order::Lags;

/// Of the decoders that reorder frames, those that are sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoders {
    /// All of them.
    All,
    /// Those that hold back fewer than this many frames so far. Once the packet's frame is
    /// complete, they hold back this many.
    Priming(u8),
}

/// The state of a viewer's decoder with regard to the order of frames, by the packets that it was
/// sent.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Frames that it holds back to reorder them; `None` if it supports frames in display order
    /// only.
    held: Option<u8>,
    /// The value of `held` once the current frame is completely sent, if it primes the decoder.
    priming: Option<u8>,
}

impl Decoder {
    /// Creates a decoder that holds back no frame yet. `reorders`: it can be made to.
    pub(crate) fn new(reorders: bool) -> Self {
        Self {
            held: reorders.then_some(0),
            priming: None,
        }
    }

    /// Returns whether it is one of `decoders`.
    pub(crate) fn is_among(&self, decoders: Decoders) -> bool {
        match (decoders, self.held) {
            (_, None) => false,
            (Decoders::All, Some(_)) => true,
            (Decoders::Priming(depth), Some(held)) => depth > held,
        }
    }

    /// Records that it is sent a packet for `decoders`.
    pub(crate) fn note_sent(&mut self, decoders: Decoders) {
        if let Decoders::Priming(depth) = decoders {
            self.priming = Some(depth);
        }
    }

    /// Records that it is sent the last packet of a frame.
    pub(crate) fn end_frame(&mut self) {
        if let Some(depth) = self.priming.take() {
            self.held = Some(depth);
        }
    }

    /// Records that the rest of the current frame is not sent.
    pub(crate) fn abandon_frame(&mut self) {
        self.priming = None;
    }

    /// Assumes a new decoder from the next keyframe on. An old one that holds back frames then
    /// loses as many of them.
    pub(crate) fn restart(&mut self) {
        self.held = self.held.map(|_| 0);
    }

    /// Returns the ticks by which the frame that comes out is earlier than the one with these lags,
    /// which goes in.
    pub(crate) fn lag(&self, lags: Lags) -> u32 {
        lags.of(self.held.unwrap_or(0))
    }

    /// Returns an upper bound for the time by which the frame that comes out is earlier than the
    /// one that goes in.
    pub(crate) fn longest_lag(&self) -> Duration {
        Lags::longest(self.held.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the decoder a keyframe of a stream with this reorder depth. Returns the number of
    /// copies of its slices, besides the frame itself.
    fn send_keyframe(decoder: &mut Decoder, depth: u8) -> usize {
        let priming = (1..=depth).map(Decoders::Priming);
        let sent: Vec<_> = priming.filter(|part| decoder.is_among(*part)).collect();
        for part in &sent {
            decoder.note_sent(*part);
        }
        decoder.end_frame();
        sent.len()
    }

    #[test]
    fn decoder_is_primed_for_the_frames_that_it_does_not_hold_back_yet() {
        let mut decoder = Decoder::new(true);
        let primed = [2, 2, 3, 1].map(|depth| send_keyframe(&mut decoder, depth));
        assert_eq!(primed, [2, 0, 1, 0]);
        decoder.restart();
        assert_eq!(send_keyframe(&mut decoder, 2), 2);
    }

    #[test]
    fn decoder_is_primed_only_once_the_keyframe_is_complete() {
        let mut decoder = Decoder::new(true);
        decoder.note_sent(Decoders::Priming(1));
        assert_eq!(decoder.longest_lag(), Duration::ZERO);
        decoder.abandon_frame();
        decoder.end_frame();
        assert_eq!(send_keyframe(&mut decoder, 1), 1);
        assert_eq!(decoder.longest_lag(), Duration::from_millis(100));
    }

    #[test]
    fn decoder_without_reordering_is_sent_nothing_for_it() {
        let mut decoder = Decoder::new(false);
        assert!(!decoder.is_among(Decoders::All));
        assert_eq!(send_keyframe(&mut decoder, 2), 0);
        assert_eq!(decoder.longest_lag(), Duration::ZERO);
    }
}
