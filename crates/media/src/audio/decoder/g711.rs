//! Decodes G.711 (ITU-T G.711): eight bits for each sample, by A-law or mu-law.

use super::{Decoded, PcmFormat};
use crate::{AudioCodec, AudioTrack};

/// Samples per channel in a block: 20 ms.
const BLOCK: usize = 160;

/// Decodes G.711 to stereo. A frame has any number of samples, so what does not fill a block is held
/// until the next frame.
pub(in crate::audio) struct G711Decoder {
    law: fn(u8) -> i16,
    channels: usize,
    rate: u32,
    /// Samples that do not fill a block yet, interleaved stereo.
    held: Vec<f32>,
}

impl G711Decoder {
    pub(super) fn new(track: &AudioTrack) -> Self {
        Self {
            law: match track.codec {
                AudioCodec::G711ALaw => a_law,
                _ => mu_law,
            },
            channels: usize::from(track.channels.clamp(1, 2)),
            rate: track.sample_rate,
            held: Vec::new(),
        }
    }

    pub(super) fn format(&self) -> PcmFormat {
        PcmFormat {
            rate: self.rate,
            samples: BLOCK,
        }
    }

    /// Decodes a frame to interleaved stereo samples in `pcm`, which is empty. Every byte is a valid
    /// sample, so that nothing fails.
    pub(super) fn decode(&mut self, frame: &[u8], pcm: &mut Vec<f32>) -> Decoded {
        let lead = self.held.len() / 2;
        pcm.append(&mut self.held);
        let sample = |byte: u8| f32::from((self.law)(byte)) / 32_768.0;
        for samples in frame.chunks_exact(self.channels) {
            let (Some(&left), Some(&right)) = (samples.first(), samples.last()) else {
                continue;
            };
            pcm.extend([sample(left), sample(right)]);
        }
        let whole = pcm.len() / (2 * BLOCK) * 2 * BLOCK;
        self.held.extend(pcm.drain(whole..));
        Decoded {
            format: self.format(),
            lead,
            failure: None,
        }
    }
}

/// Expands a byte of A-law to 16 bits (ITU-T G.711 table 1). The even bits are inverted.
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, mantissa) = (byte >> 4 & 7, i16::from(byte & 0x0F));
    let magnitude = match segment {
        0 => mantissa << 4 | 8,
        segment => (mantissa << 4 | 0x108) << (segment - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// Expands a byte of mu-law to 16 bits (ITU-T G.711 table 2). All bits are inverted.
fn mu_law(byte: u8) -> i16 {
    /// The bias of the code, at 16 bits.
    const BIAS: i16 = 0x84;
    let byte = !byte;
    let (segment, mantissa) = (byte >> 4 & 7, i16::from(byte & 0x0F));
    let magnitude = ((mantissa << 3 | BIAS) << segment) - BIAS;
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_values_of_the_tables() {
        // The ends and the middle of both scales, as ffmpeg's pcm_alaw and pcm_mulaw decode them.
        for (byte, value) in [
            (0xD5, 8),
            (0x55, -8),
            (0xAA, 32_256),
            (0x2A, -32_256),
            (0xC5, 264),
            (0x80, 5_504),
        ] {
            assert_eq!(a_law(byte), value, "{byte:#x}");
        }
        for (byte, value) in [
            (0xFF, 0),
            (0x7F, 0),
            (0x80, 32_124),
            (0x00, -32_124),
            (0xEF, 132),
            (0xAA, 5_372),
        ] {
            assert_eq!(mu_law(byte), value, "{byte:#x}");
        }
    }

    #[test]
    fn samples_that_fill_no_block_are_held() {
        let track = AudioTrack {
            codec: AudioCodec::G711MuLaw,
            sample_rate: 8_000,
            channels: 1,
            config: bytes::Bytes::new(),
        };
        let mut decoder = G711Decoder::new(&track);
        let mut decode = |len: usize| {
            let mut pcm = Vec::new();
            let decoded = decoder.decode(&vec![0x80; len], &mut pcm);
            assert!(pcm.iter().all(|sample| *sample > 0.9));
            (pcm.len() / 2, decoded.lead)
        };
        assert_eq!(decode(100), (0, 0));
        assert_eq!(decode(100), (160, 100));
        assert_eq!(decode(1_000), (960, 40));
        assert_eq!(decode(0), (0, 80));
        assert_eq!(decode(80), (160, 80));
    }

    #[test]
    fn stereo_stays_stereo() {
        let track = AudioTrack {
            codec: AudioCodec::G711ALaw,
            sample_rate: 8_000,
            channels: 2,
            config: bytes::Bytes::new(),
        };
        let mut pcm = Vec::new();
        // The last byte is half a pair.
        let frame = [[0xAA, 0x2A].repeat(BLOCK), vec![0xAA]].concat();
        G711Decoder::new(&track).decode(&frame, &mut pcm);
        assert_eq!(pcm.len(), 2 * BLOCK);
        assert!(pcm.chunks(2).all(|pair| pair[0] > 0.9 && pair[1] < -0.9));
    }
}
