//! The encoder.

#![allow(unsafe_code, reason = "calls of libopus, each with its reason")]

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use crate::sys;

/// Samples per second and channel.
const RATE: i32 = 48_000;

const CHANNELS: usize = 2;

/// Samples of the longest packet, 120 ms, per channel (RFC 6716 section 3.2.5).
const MAX_SAMPLES: usize = 5760;

/// The application that the encoder optimizes for (RFC 6716 section 2.1.8, `OPUS_APPLICATION_...`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// Any audio, as close to the original as possible.
    Audio,
    /// Speech, optimized for intelligibility.
    Voice,
    /// Any audio, with less delay and without the speech modes.
    LowDelay,
}

/// An error of libopus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusError(c_int);

impl std::fmt::Display for OpusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: it returns a constant text for every number.
        let text = unsafe { CStr::from_ptr(sys::opus_strerror(self.0)) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

impl std::error::Error for OpusError {}

/// Encodes 48 kHz stereo. It signals no silence, so that each block gives a packet.
///
/// libopus is built with its checks of array bounds and of its own assumptions. One that fails ends
/// the process; `catch_unwind` does not catch it. No input is known to make one fail: the length of
/// a block and of the packet are checked, settings out of range are errors, and libopus replaces a
/// block that has samples that are not numbers, or is absurdly loud, by silence.
#[derive(Debug)]
pub struct Encoder {
    raw: NonNull<sys::OpusEncoder>,
}

// SAFETY: the state is a block of memory of its own, and no other thread has it.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Returns an encoder with the default settings of libopus.
    ///
    /// # Errors
    /// Returns an error if there is no memory.
    pub fn new(application: Application) -> Result<Self, OpusError> {
        let application = match application {
            Application::Audio => sys::OPUS_APPLICATION_AUDIO,
            Application::Voice => sys::OPUS_APPLICATION_VOIP,
            Application::LowDelay => sys::OPUS_APPLICATION_RESTRICTED_LOWDELAY,
        };
        let mut error = sys::OPUS_OK;
        // SAFETY: `error` outlives the call.
        let raw = unsafe {
            sys::opus_encoder_create(RATE, CHANNELS as c_int, application, &raw mut error)
        };
        NonNull::new(raw)
            .map(|raw| Self { raw })
            .ok_or(OpusError(error))
    }

    /// Sets the bitrate, in bits per second.
    ///
    /// # Errors
    /// Returns an error if libopus has no such bitrate.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), OpusError> {
        let bitrate = i32::try_from(bitrate).unwrap_or(i32::MAX);
        self.set(sys::OPUS_SET_BITRATE_REQUEST, bitrate)
    }

    /// Sets the complexity, 0 to 10.
    ///
    /// # Errors
    /// Returns an error if it is higher.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), OpusError> {
        self.set(sys::OPUS_SET_COMPLEXITY_REQUEST, i32::from(complexity))
    }

    /// Adds in-band forward error correction to packets of speech (RFC 6716 section 2.1.7). Music is
    /// not encoded as speech for it.
    ///
    /// # Errors
    /// Returns an error if libopus does not support it.
    pub fn set_fec(&mut self, is_on: bool) -> Result<(), OpusError> {
        let mode = if is_on { 2 } else { 0 };
        self.set(sys::OPUS_SET_INBAND_FEC_REQUEST, mode)
    }

    /// Sets the packet loss of the receivers in percent, 0 to 100.
    ///
    /// # Errors
    /// Returns an error if it is higher.
    pub fn set_packet_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, i32::from(percent))
    }

    /// Returns the delay from the encoder's input to a decoder's output, in samples.
    pub fn lookahead(&self) -> usize {
        let mut samples = 0i32;
        // SAFETY: the encoder is valid, and the request writes an `opus_int32`.
        unsafe {
            sys::opus_encoder_ctl(
                self.raw.as_ptr(),
                sys::OPUS_GET_LOOKAHEAD_REQUEST,
                &raw mut samples,
            );
        }
        usize::try_from(samples).unwrap_or(0)
    }

    /// Encodes a block of interleaved samples within -1 to 1 into `packet`. The block is 2.5, 5, 10
    /// or a multiple of 20 ms long, at most 120 ms. Returns the length of the packet.
    ///
    /// # Errors
    /// Returns an error if a packet cannot have that duration, or `packet` is too short.
    pub fn encode(&mut self, block: &[f32], packet: &mut [u8]) -> Result<usize, OpusError> {
        let samples = samples(block.len())?;
        let room = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        // SAFETY: the encoder is valid, it reads `samples` for each channel, which `block` has, and
        // writes at most `room` bytes, which `packet` has. It multiplies `samples` by 400, which
        // does not overflow up to `MAX_SAMPLES`.
        let len = unsafe {
            sys::opus_encode_float(
                self.raw.as_ptr(),
                block.as_ptr(),
                samples,
                packet.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(len).map_err(|_| OpusError(len))
    }

    fn set(&mut self, request: c_int, value: i32) -> Result<(), OpusError> {
        // SAFETY: the encoder is valid, and these requests have one `opus_int32`.
        let result = unsafe { sys::opus_encoder_ctl(self.raw.as_ptr(), request, value) };
        if result == sys::OPUS_OK {
            Ok(())
        } else {
            Err(OpusError(result))
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: it is from `opus_encoder_create`, and nothing has it from here on.
        unsafe { sys::opus_encoder_destroy(self.raw.as_ptr()) };
    }
}

/// Returns the samples per channel of a block of this length.
fn samples(len: usize) -> Result<c_int, OpusError> {
    let samples = len / CHANNELS;
    c_int::try_from(samples)
        .ok()
        .filter(|_| samples <= MAX_SAMPLES)
        .ok_or(OpusError(sys::OPUS_BAD_ARG))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 960 * CHANNELS;

    #[test]
    fn another_decoder_returns_the_tone() {
        let mut encoder = Encoder::new(Application::Audio).unwrap();
        encoder.set_bitrate(128_000).unwrap();
        let tone =
            |n: usize, hertz: f32| (n as f32 * std::f32::consts::TAU * hertz / 48_000.0).sin();
        let pcm: Vec<f32> = (0..48_000)
            .flat_map(|n| [tone(n, 440.0) * 0.5, tone(n, 1000.0) * 0.25])
            .collect();
        let mut decoder = opus_decoder::OpusDecoder::new(48_000, CHANNELS).unwrap();
        let mut decoded = Vec::new();
        for block in pcm.chunks_exact(BLOCK) {
            let (mut packet, mut out) = ([0; 1100], [0.0; BLOCK]);
            let len = encoder.encode(block, &mut packet).unwrap();
            let samples = decoder
                .decode_float(&packet[..len], &mut out, false)
                .unwrap();
            decoded.extend_from_slice(&out[..samples * CHANNELS]);
        }
        let delay = encoder.lookahead() * CHANNELS;
        let (mut signal, mut noise) = (0.0, 0.0);
        for (a, b) in pcm.iter().zip(&decoded[delay..]).skip(9_600) {
            signal += a * a;
            noise += (a - b) * (a - b);
        }
        assert!(signal > 100.0 * noise, "{signal} to {noise}");
    }

    #[test]
    fn settings_that_libopus_does_not_have_are_errors() {
        let mut encoder = Encoder::new(Application::Voice).unwrap();
        assert!(encoder.set_complexity(10).is_ok() && encoder.set_fec(true).is_ok());
        assert_eq!(encoder.set_complexity(11), Err(OpusError(-1)));
        assert_eq!(encoder.set_packet_loss(101), Err(OpusError(-1)));
        let error = encoder.encode(&[0.0; 100], &mut [0; 1100]).unwrap_err();
        assert_eq!(error.to_string(), "invalid argument (-1)");
        assert!(encoder.encode(&[0.0; BLOCK], &mut []).is_err());
    }

    #[test]
    fn blocks_are_at_most_120_ms_long() {
        let mut encoder = Encoder::new(Application::Audio).unwrap();
        let mut packet = [0; 4000];
        for millis in [5, 10, 20, 40, 60, 80, 100, 120] {
            let block = vec![0.1; 48 * millis * CHANNELS];
            assert!(encoder.encode(&block, &mut packet).is_ok(), "{millis} ms");
        }
        let block = [0.0; (MAX_SAMPLES + 1) * CHANNELS];
        assert_eq!(encoder.encode(&block, &mut packet), Err(OpusError(-1)));
        assert_eq!(samples(MAX_SAMPLES * CHANNELS), Ok(5760));
        // 400 times this is 48 000 in 32 bits, which would pass for 2.5 ms.
        let wraps = (1 << 28) + 120;
        assert_eq!(samples(wraps * CHANNELS), Err(OpusError(-1)));
        assert_eq!(samples(usize::MAX), Err(OpusError(-1)));
    }

    #[test]
    fn samples_of_any_bits_are_encoded() {
        let applications = [
            Application::Audio,
            Application::Voice,
            Application::LowDelay,
        ];
        let mut bits = 1u32;
        for application in applications {
            let mut encoder = Encoder::new(application).unwrap();
            for round in 0..100 {
                // Xorshift. Fewer exponents in later rounds: a block that is loud, but not absurd.
                let block: Vec<f32> = std::iter::repeat_with(|| {
                    bits ^= bits << 13;
                    bits ^= bits >> 17;
                    bits ^= bits << 5;
                    let sample = f32::from_bits(bits);
                    if round < 50 {
                        sample
                    } else {
                        sample.clamp(-600.0, 600.0)
                    }
                })
                .take(BLOCK)
                .collect();
                assert!(encoder.encode(&block, &mut [0; 1100]).unwrap() > 0);
            }
        }
    }

    #[test]
    fn samples_out_of_range_are_encoded() {
        let mut encoder = Encoder::new(Application::Audio).unwrap();
        for value in [1e30, -1e30, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE] {
            let mut packet = [0; 1100];
            assert!(encoder.encode(&[value; BLOCK], &mut packet).unwrap() > 0);
        }
    }
}
