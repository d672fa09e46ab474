//! Encodes stereo samples at 48 kHz as Opus.

use bytes::Bytes;
use distributary_opus::{Application, Encoder, OpusError};
use serde::{Deserialize, Serialize};

use super::error::AudioError;

/// Samples per channel in a packet of 20 ms.
pub(super) const PACKET_SAMPLES: usize = 960;

/// Interleaved samples in a packet.
pub(super) const PACKET_LEN: usize = PACKET_SAMPLES * 2;

/// Maximum size of a packet, in bytes: it must fit one RTP packet, since Opus cannot be fragmented
/// (RFC 7587 section 4.2).
const MAX_PACKET: usize = 1100;

/// Maximum loss in percent that the encoder is set to: more would cost too much quality.
const MAX_LOSS: u8 = 20;

/// The settings of the Opus encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits per second, from 16 000 to 320 000.
    pub bitrate: u32,
    /// True to add in-band forward error correction to packets of speech while listeners lose
    /// packets (RFC 6716 section 2.1.7).
    pub fec: bool,
    /// The application that the encoder optimizes for.
    pub application: OpusApplication,
    /// Complexity of the encoder, 0 to 10. From 7 on the encoder analyzes tonality, and recognizes
    /// speech, for which it has forward error correction.
    pub complexity: u8,
}

/// The application of Opus (RFC 6716 section 2.1.8 and the `OPUS_APPLICATION` of its reference
/// encoder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpusApplication {
    /// Any audio, as close to the original as possible.
    #[default]
    Audio,
    /// Speech, optimized for intelligibility.
    Voice,
    /// Any audio, with 4 ms less delay and without the speech modes.
    LowDelay,
}

impl OpusConfig {
    /// Minimum bitrate: stereo below sounds too bad.
    pub const MIN_BITRATE: u32 = 16_000;
    /// Maximum bitrate: a packet of 20 ms still fits one RTP packet.
    pub const MAX_BITRATE: u32 = 320_000;
    /// Maximum complexity.
    pub const MAX_COMPLEXITY: u8 = 10;
    /// Complexity unless set: the lowest at which the encoder analyzes its input. The maximum costs
    /// a fifth more and sounds no better, by `docs/performance.md`.
    const COMPLEXITY: u8 = 7;

    /// Checks that audio can be encoded with these settings.
    ///
    /// # Errors
    /// [`AudioError::Bitrate`] and [`AudioError::Complexity`].
    pub fn check(&self) -> Result<(), AudioError> {
        let Self {
            bitrate,
            complexity,
            ..
        } = *self;
        let (min, max) = (Self::MIN_BITRATE, Self::MAX_BITRATE);
        if !(min..=max).contains(&bitrate) {
            return Err(AudioError::Bitrate { bitrate, min, max });
        }
        let max = Self::MAX_COMPLEXITY;
        if complexity > max {
            return Err(AudioError::Complexity { complexity, max });
        }
        Ok(())
    }
}

impl Default for OpusConfig {
    fn default() -> Self {
        Self {
            bitrate: 96_000,
            fec: true,
            application: OpusApplication::default(),
            complexity: Self::COMPLEXITY,
        }
    }
}

/// Encodes blocks of 20 ms.
pub(super) struct OpusEncoder {
    encoder: Encoder,
    packet: [u8; MAX_PACKET],
}

impl OpusEncoder {
    pub(super) fn new(config: &OpusConfig) -> Result<Self, AudioError> {
        config.check()?;
        let encoder = encoder(config).map_err(internal)?;
        Ok(Self {
            encoder,
            packet: [0; MAX_PACKET],
        })
    }

    /// Sets the packet loss of the listeners in percent, which the encoding compensates for.
    pub(super) fn set_packet_loss(&mut self, percent: u8) -> Result<(), AudioError> {
        self.encoder
            .set_packet_loss(percent.min(MAX_LOSS))
            .map_err(internal)
    }

    /// Returns the delay from the encoder's input to a decoder's output, in samples.
    pub(super) fn delay(&self) -> usize {
        self.encoder.lookahead()
    }

    /// Encodes [`PACKET_LEN`] interleaved samples within -1 to 1.
    pub(super) fn encode(&mut self, block: &[f32]) -> Result<Bytes, AudioError> {
        let len = self
            .encoder
            .encode(block, &mut self.packet)
            .map_err(internal)?;
        Ok(Bytes::copy_from_slice(
            self.packet.get(..len).unwrap_or_default(),
        ))
    }
}

fn encoder(config: &OpusConfig) -> Result<Encoder, OpusError> {
    let mut encoder = Encoder::new(match config.application {
        OpusApplication::Audio => Application::Audio,
        OpusApplication::Voice => Application::Voice,
        OpusApplication::LowDelay => Application::LowDelay,
    })?;
    encoder.set_bitrate(config.bitrate)?;
    encoder.set_complexity(config.complexity)?;
    encoder.set_fec(config.fec)?;
    Ok(encoder)
}

fn internal(error: OpusError) -> AudioError {
    AudioError::Internal {
        stage: "the Opus encoder",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_fit_one_rtp_packet_at_the_maximum_bitrate() {
        let bitrate = OpusConfig::MAX_BITRATE;
        let mut encoder = OpusEncoder::new(&OpusConfig {
            bitrate,
            ..OpusConfig::default()
        })
        .unwrap();
        let mut seed = 1u32;
        let mut total = 0;
        for _ in 0..50 {
            let noise: Vec<f32> = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .take(PACKET_LEN)
            .collect();
            let packet = encoder.encode(&noise).unwrap();
            assert!(packet.len() <= MAX_PACKET);
            total += packet.len();
        }
        // 800 bytes for each 20 ms, within a tenth.
        assert!(
            (36_000..44_000).contains(&total),
            "{total} bytes in a second"
        );
    }

    #[test]
    fn bitrate_out_of_range_is_refused() {
        for bitrate in [0, 15_999, 320_001, u32::MAX] {
            let error = OpusEncoder::new(&OpusConfig {
                bitrate,
                ..OpusConfig::default()
            })
            .err();
            assert!(
                matches!(error, Some(AudioError::Bitrate { .. })),
                "{bitrate}: {error:?}"
            );
        }
    }

    #[test]
    fn each_application_and_complexity_encodes_with_its_delay() {
        // 312 samples of look-ahead, of which the restricted mode needs 120 (RFC 6716 section 2.1).
        for (application, delay) in [
            (OpusApplication::Audio, 312),
            (OpusApplication::Voice, 312),
            (OpusApplication::LowDelay, 120),
        ] {
            for complexity in [0, 10] {
                let config = OpusConfig {
                    application,
                    complexity,
                    ..OpusConfig::default()
                };
                let mut encoder = OpusEncoder::new(&config).unwrap();
                assert_eq!(encoder.delay(), delay, "{application:?}");
                assert!(!encoder.encode(&[0.1; PACKET_LEN]).unwrap().is_empty());
            }
        }
        let config = OpusConfig {
            complexity: 11,
            ..OpusConfig::default()
        };
        let error = OpusEncoder::new(&config).err();
        assert!(matches!(error, Some(AudioError::Complexity { .. })));
    }
}
