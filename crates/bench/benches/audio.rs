//! The costs of the audio of a stream, each row for one second of it:
//! `cargo bench -p distributary-bench --bench audio`. One millisecond is 0.1 % of a core.
#![allow(clippy::unwrap_used, missing_docs, reason = "measurements")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use distributary_media::test_util::flv_audio;
use distributary_media::{AudioFrame, AudioTrack, OpusConfig, OpusTranscoder};
use distributary_opus::{Application, Encoder};

const STEREO_48000: &[u8] = include_bytes!("../../media/tests/fixtures/stereo-48000.flv");
const STEREO_44100: &[u8] = include_bytes!("../../media/tests/fixtures/stereo-44100.flv");

/// Interleaved samples of a packet of 20 ms.
const BLOCK: usize = 2 * 960;

/// Returns the track of a fixture, and about a second of its frames.
fn second(flv: &'static [u8]) -> (AudioTrack, Vec<AudioFrame>) {
    let (track, mut frames) = flv_audio(flv);
    frames.truncate((track.sample_rate / 1024) as usize);
    (track, frames)
}

fn decode(criterion: &mut Criterion) {
    let (track, frames) = second(STEREO_48000);
    let mut decoder =
        syom::Decoder::from_asc(&track.config, syom::DecodeOptions::unbounded()).unwrap();
    criterion.bench_function("audio/decode AAC-LC", |bencher| {
        bencher.iter(|| {
            for frame in &frames {
                let on_frame = |decoded: syom::Frame<'_>| {
                    black_box(decoded.planar);
                    Ok(())
                };
                decoder.decode_au(&frame.data, on_frame).unwrap();
            }
        });
    });
}

fn encode(criterion: &mut Criterion) {
    let pcm = music();
    for complexity in [0, 5, 7, 10] {
        let mut encoder = Encoder::new(Application::Audio).unwrap();
        encoder.set_bitrate(OpusConfig::default().bitrate).unwrap();
        encoder.set_complexity(complexity).unwrap();
        encoder.set_fec(true).unwrap();
        let name = format!("audio/encode Opus, complexity {complexity}");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                let mut packet = [0; 1100];
                for block in pcm.chunks_exact(BLOCK) {
                    black_box(encoder.encode(block, &mut packet).unwrap());
                }
            });
        });
    }
}

fn transcode(criterion: &mut Criterion) {
    for (name, flv) in [
        ("48 kHz", STEREO_48000),
        ("44.1 kHz, resampled", STEREO_44100),
    ] {
        let (track, mut frames) = second(flv);
        let mut transcoder = OpusTranscoder::new(&track, &OpusConfig::default()).unwrap();
        let length = Duration::from_secs(frames.len() as u64 * 1024) / track.sample_rate;
        criterion.bench_function(&format!("audio/transcode {name}"), |bencher| {
            bencher.iter(|| {
                let mut packets = Vec::new();
                for frame in &mut frames {
                    transcoder.push(frame, &mut packets).unwrap();
                    frame.pts = frame.pts + length;
                }
                black_box(packets)
            });
        });
    }
}

/// Returns a second of chords that fade and begin again, with some noise.
fn music() -> Vec<f32> {
    let mut seed = 1u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut pcm = Vec::new();
    for n in 0..48_000 {
        let beat = (n % 12_000) as f32 / 12_000.0;
        let second = n as f32 / 48_000.0;
        for chord in [[220.0, 277.2, 329.6], [220.0, 293.7, 440.0]] {
            let tones = chord.map(|hertz: f32| (second * std::f32::consts::TAU * hertz).sin());
            let sum: f32 = tones.iter().sum();
            pcm.push(sum * 0.2 * (-3.0 * beat).exp() + noise() * 0.1 * (-20.0 * beat).exp());
        }
    }
    pcm
}

criterion_group! {
    name = audio;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = decode, encode, transcode
}
criterion_main!(audio);
