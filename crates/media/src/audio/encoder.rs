//! Stereo samples at 48 kHz to Opus.

use bytes::Bytes;
use ropus::{Application, Bitrate, Channels, Encoder, InbandFec};
use serde::{Deserialize, Serialize};

use super::{AudioError, OPUS_RATE};

/// Samples per channel in a packet of 20 ms.
pub(super) const PACKET_SAMPLES: usize = 960;

/// Interleaved samples in a packet.
pub(super) const PACKET_LEN: usize = PACKET_SAMPLES * 2;

/// Most bytes in a packet: it must go into one RTP packet, and Opus cannot be divided
/// (RFC 7587 section 4.2).
const MAX_PACKET: usize = 1100;

/// Most percent of loss that the encoder is told of: to bear more would cost all the quality there is.
const MAX_LOSS: u8 = 20;

/// How Opus is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits per second, from 16 000 to 320 000.
    pub bitrate: u32,
    /// Whether packets of speech repeat the one before them in little, when listeners lose packets
    /// (in-band forward error correction, RFC 6716 section 2.1.7).
    pub fec: bool,
    /// What the encoder is to do well.
    pub application: OpusApplication,
    /// The encoder's effort, 0 to 10. All of it costs about one percent of a core; below 10 the
    /// encoder does not analyse tonality and codes pure tones 4 to 7 dB worse.
    pub complexity: u8,
}

/// What Opus is used for (RFC 6716 section 2.1.8 and the `OPUS_APPLICATION` of its reference encoder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpusApplication {
    /// Any sound, to be as near to the original as can be.
    #[default]
    Audio,
    /// Speech, to be understood.
    Voice,
    /// Any sound, with 4 ms less of delay and without what codes speech well.
    LowDelay,
}

impl OpusConfig {
    /// The least bitrate that is accepted: stereo below is not worth listening to.
    pub const MIN_BITRATE: u32 = 16_000;
    /// The most that is accepted: a packet of 20 ms still goes into one RTP packet.
    pub const MAX_BITRATE: u32 = 320_000;
    /// The most effort there is.
    pub const MAX_COMPLEXITY: u8 = 10;

    /// Whether sound can be encoded with these options.
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
            complexity: Self::MAX_COMPLEXITY,
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
        let application = match config.application {
            OpusApplication::Audio => Application::Audio,
            OpusApplication::Voice => Application::Voip,
            OpusApplication::LowDelay => Application::RestrictedLowDelay,
        };
        let encoder = Encoder::builder(OPUS_RATE, Channels::Stereo, application)
            .bitrate(Bitrate::Bits(config.bitrate))
            .complexity(config.complexity)
            .inband_fec(fec(config.fec))
            // A gap is heard as loss by receivers that were not told of silence.
            .dtx(false)
            .build()
            .map_err(internal)?;
        Ok(Self {
            encoder,
            packet: [0; MAX_PACKET],
        })
    }

    /// Tells how many percent of the packets listeners lose, so that sound is coded to bear it.
    pub(super) fn set_packet_loss(&mut self, percent: u8) -> Result<(), AudioError> {
        self.encoder
            .set_packet_loss_perc(percent.min(MAX_LOSS))
            .map_err(internal)
    }

    /// How much later than it went in a sound comes out of a decoder, in samples.
    pub(super) fn delay(&self) -> usize {
        self.encoder.lookahead() as usize
    }

    /// Encodes [`PACKET_LEN`] interleaved samples within -1 to 1.
    pub(super) fn encode(&mut self, block: &[f32]) -> Result<Bytes, AudioError> {
        let len = self
            .encoder
            .encode_float(block, &mut self.packet)
            .map_err(internal)?;
        Ok(Bytes::copy_from_slice(
            self.packet.get(..len).unwrap_or_default(),
        ))
    }
}

/// Forward error correction exists in the codec for speech alone. The encoder may change to it, but not
/// for music, which it would spoil for all listeners because of some.
fn fec(is_on: bool) -> InbandFec {
    match is_on {
        true => InbandFec::Forced,
        false => InbandFec::Disabled,
    }
}

fn internal(error: impl std::fmt::Display) -> AudioError {
    AudioError::Internal {
        stage: "the Opus encoder",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_within_one_rtp_packet_at_the_highest_bitrate() {
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
    fn bitrates_out_of_range_are_refused() {
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
    fn each_application_and_effort_codes_and_tells_its_delay() {
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
