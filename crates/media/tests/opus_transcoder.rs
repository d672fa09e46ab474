//! Transcodes tones from AAC, MP3 and G.711, and checks them with an independent Opus decoder.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

use std::time::Duration;

use bytes::Bytes;
use distributary_media::audio::{AudioError, OpusConfig, OpusTranscoder};
use distributary_media::test_util::flv_audio;
use distributary_media::{AudioCodec, AudioFrame, AudioTrack, MediaTime};
use opus_decoder::OpusDecoder;

const STEREO_44100: &[u8] = include_bytes!("fixtures/stereo-44100.flv");
const STEREO_48000: &[u8] = include_bytes!("fixtures/stereo-48000.flv");
const STEREO_32000: &[u8] = include_bytes!("fixtures/stereo-32000.flv");
const STEREO_96000: &[u8] = include_bytes!("fixtures/stereo-96000.flv");
const MONO_8000: &[u8] = include_bytes!("fixtures/mono-8000.flv");
const MONO_22050: &[u8] = include_bytes!("fixtures/mono-22050.flv");
const SURROUND: &[u8] = include_bytes!("fixtures/surround-48000.flv");
const HE_V1: &[u8] = include_bytes!("fixtures/he-v1.flv");
const HE_V2: &[u8] = include_bytes!("fixtures/he-v2.flv");
const MP3_44100: &[u8] = include_bytes!("fixtures/mp3-44100.flv");
const MP3_22050: &[u8] = include_bytes!("fixtures/mp3-22050.flv");
const ALAW_8000: &[u8] = include_bytes!("fixtures/alaw-8000.flv");
const MULAW_8000: &[u8] = include_bytes!("fixtures/mulaw-8000.flv");

fn transcoder(track: &AudioTrack) -> OpusTranscoder {
    OpusTranscoder::new(track, &OpusConfig::default()).unwrap()
}

fn transcode(track: &AudioTrack, frames: &[AudioFrame]) -> Vec<AudioFrame> {
    transcode_by(transcoder(track), frames)
}

fn transcode_by(mut transcoder: OpusTranscoder, frames: &[AudioFrame]) -> Vec<AudioFrame> {
    let mut packets = Vec::new();
    for frame in frames {
        transcoder.push(frame, &mut packets).unwrap();
    }
    packets
}

/// Decodes the packets to left and right samples.
fn decode(packets: &[AudioFrame]) -> [Vec<f32>; 2] {
    let mut decoder = OpusDecoder::new(48_000, 2).unwrap();
    let mut sides = [Vec::new(), Vec::new()];
    for packet in packets {
        assert_eq!(packet.codec, AudioCodec::Opus);
        let mut pcm = [0.0; 1920];
        assert_eq!(
            decoder.decode_float(&packet.data, &mut pcm, false).unwrap(),
            960
        );
        for pair in pcm.chunks(2) {
            sides[0].push(pair[0]);
            sides[1].push(pair[1]);
        }
    }
    sides
}

/// The amplitude of a tone, by Goertzel's algorithm over whole periods of 10 Hz.
fn amplitude(samples: &[f32], hertz: f64) -> f64 {
    let samples = &samples[..samples.len() / 4_800 * 4_800];
    let coefficient = 2.0 * (std::f64::consts::TAU * hertz / 48_000.0).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.sqrt() / samples.len() as f64
}

fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// The middle of a signal, where neither codec is starting or ending.
fn middle(samples: &[f32]) -> &[f32] {
    &samples[12_000..36_000]
}

#[track_caller]
fn assert_tone(samples: &[f32], hertz: f64, expected: f64) {
    let level = decibels(amplitude(middle(samples), hertz) / expected);
    assert!(level.abs() < 1.0, "{hertz} Hz is {level:.2} dB off");
}

#[track_caller]
fn assert_no_tone(samples: &[f32], hertz: f64) {
    let level = decibels(amplitude(middle(samples), hertz));
    assert!(level < -50.0, "{hertz} Hz is there with {level:.1} dB");
}

/// Asserts that everything but the tone is at least 30 dB below it: no clicks, no distortion.
#[track_caller]
fn assert_clean(samples: &[f32], hertz: f64) {
    let samples = middle(samples);
    let tone = amplitude(samples, hertz).powi(2) / 2.0;
    let all = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
    let rest = decibels(((all - tone).max(1e-12) / tone).sqrt());
    assert!(
        rest < -30.0,
        "noise and distortion are {rest:.1} dB of the tone"
    );
}

/// Asserts that the signal never changes by more than the steepest part of the tone from one sample
/// to the next, as a click between two audio frames would.
#[track_caller]
fn assert_no_steps(samples: &[f32], hertz: f64) {
    let steepest = 0.25 * std::f64::consts::TAU * hertz / 48_000.0;
    for (at, pair) in middle(samples).windows(2).enumerate() {
        let step = f64::from(pair[1] - pair[0]).abs();
        assert!(
            step < 1.5 * steepest + 0.005,
            "a step of {step:.3} at sample {at}"
        );
    }
}

#[track_caller]
fn assert_continuous(packets: &[AudioFrame]) {
    for pair in packets.windows(2) {
        let step = pair[1].pts.as_nanos() - pair[0].pts.as_nanos();
        assert_eq!(
            step, 20_000_000,
            "{:?} after {:?}",
            pair[1].pts, pair[0].pts
        );
    }
}

#[test]
fn stereo_stays_stereo_from_32000_to_96000_hertz() {
    for file in [
        STEREO_32000,
        STEREO_44100,
        STEREO_48000,
        STEREO_96000,
        MP3_44100,
    ] {
        let (track, frames) = flv_audio(file);
        let packets = transcode(&track, &frames);
        assert_continuous(&packets);
        let [left, right] = decode(&packets);
        assert_tone(&left, 440.0, 0.25);
        assert_tone(&right, 1000.0, 0.25);
        assert_no_tone(&left, 1000.0);
        assert_no_tone(&right, 440.0);
        assert_clean(&left, 440.0);
        assert_clean(&right, 1000.0);
        assert_no_steps(&left, 440.0);
        assert_no_steps(&right, 1000.0);
    }
}

#[test]
fn mono_goes_to_both_sides() {
    for file in [MONO_8000, MONO_22050, MP3_22050, ALAW_8000, MULAW_8000] {
        let (track, frames) = flv_audio(file);
        assert_eq!(track.channels, 1);
        let packets = transcode(&track, &frames);
        assert_continuous(&packets);
        for side in decode(&packets) {
            assert_tone(&side, 500.0, 0.25);
            assert_clean(&side, 500.0);
            assert_no_steps(&side, 500.0);
        }
    }
}

#[test]
fn surround_is_mixed_down() {
    let (track, frames) = flv_audio(SURROUND);
    assert_eq!(track.channels, 6);
    let [left, right] = decode(&transcode(&track, &frames));
    let front = 0.5 / (1.0 + std::f64::consts::SQRT_2);
    let shared = front * std::f64::consts::FRAC_1_SQRT_2;
    assert_tone(&left, 440.0, front);
    assert_tone(&right, 1000.0, front);
    for side in [&left, &right] {
        assert_tone(side, 2000.0, shared);
        assert_no_tone(side, 60.0);
    }
    assert_tone(&left, 3000.0, shared);
    assert_tone(&right, 4000.0, shared);
    for (side, absent) in [(&left, [1000.0, 4000.0]), (&right, [440.0, 3000.0])] {
        for hertz in absent {
            assert_no_tone(side, hertz);
        }
    }
}

#[test]
fn he_aac_is_decoded_in_full_with_either_signaling() {
    let (implicit, frames) = flv_audio(HE_V1);
    assert_eq!(
        implicit.sample_rate, 24_000,
        "the core's, as it is not said"
    );
    let explicit = AudioTrack {
        config: Bytes::from_static(&[0x2b, 0x11, 0x88, 0x00]),
        ..implicit.clone()
    };
    for track in [implicit, explicit] {
        let packets = transcode(&track, &frames);
        assert_continuous(&packets);
        let [left, right] = decode(&packets);
        assert_tone(&left, 440.0, 0.25);
        assert_tone(&right, 1000.0, 0.25);
        assert_no_tone(&left, 1000.0);
        assert_no_tone(&right, 440.0);
    }
}

#[test]
fn he_aac_v2_is_decoded_in_full_with_either_signaling() {
    let (implicit, frames) = flv_audio(HE_V2);
    assert_eq!(implicit.channels, 1, "the core's, as it is not said");
    let explicit = AudioTrack {
        config: Bytes::from_static(&[0xeb, 0x09, 0x88, 0x00]),
        ..implicit.clone()
    };
    for track in [implicit, explicit] {
        let packets = transcode(&track, &frames);
        assert_continuous(&packets);
        for side in decode(&packets) {
            assert_tone(&side, 440.0, 0.25);
        }
    }
}

/// Silence and then a tone: the tone starts at its time by the packets' timestamps.
#[test]
fn audio_keeps_its_time() {
    for file in [STEREO_44100, STEREO_48000, MONO_22050, HE_V1] {
        let (track, frames) = flv_audio(file);
        let start = frames[0].pts;
        let packets = transcode(&track, &frames);
        let [left, _] = decode(&packets);
        let onset = left.iter().position(|sample| sample.abs() > 0.05).unwrap();
        let heard = packets[0].pts + Duration::from_micros(onset as u64 * 1_000_000 / 48_000);
        // Decoded without our delay: the encoder's own priming comes before the tone.
        let reference = onset_without_transcoding(&track, &frames);
        let expected = start + reference;
        let error = heard.as_nanos() - expected.as_nanos();
        assert!(error.abs() < 2_000_000, "{} us off", error / 1000);
    }
}

fn onset_without_transcoding(track: &AudioTrack, frames: &[AudioFrame]) -> Duration {
    let options = syom::DecodeOptions::unbounded();
    let mut decoder = syom::Decoder::from_asc(&track.config, options).unwrap();
    let (mut samples, mut rate) = (Vec::new(), 0);
    for frame in frames {
        let on_frame = |decoded: syom::Frame<'_>| {
            rate = decoded.sample_rate;
            samples.extend_from_slice(decoded.planar[0]);
            Ok(())
        };
        decoder.decode_au(&frame.data, on_frame).unwrap();
    }
    let onset = samples
        .iter()
        .position(|sample: &f32| sample.abs() > 0.05)
        .unwrap();
    Duration::from_micros(onset as u64 * 1_000_000 / u64::from(rate))
}

#[test]
fn ten_minutes_do_not_drift() {
    let (track, frames) = flv_audio(STEREO_44100);
    // With low complexity, which does not affect the times.
    let config = OpusConfig {
        complexity: 0,
        ..OpusConfig::default()
    };
    let mut transcoder = OpusTranscoder::new(&track, &config).unwrap();
    let mut packets = Vec::new();
    let end_of = |n: i64| MediaTime::from_nanos(n * 1024 * 1_000_000_000 / 44_100);
    // The maximum held back in each minute: a partial packet and the delays.
    let mut held_back = [Duration::ZERO; 10];
    let count = 600 * 44_100 / 1024;
    for n in 0..count {
        let mut frame = frames[10 + n as usize % 20].clone();
        frame.pts = MediaTime::from_millis(end_of(n).as_millis());
        transcoder.push(&frame, &mut packets).unwrap();
        let Some(last) = packets.last() else { continue };
        let late = end_of(n + 1).saturating_since(last.pts + Duration::from_millis(20));
        let most = &mut held_back[(n * 10 / count) as usize];
        *most = late.max(*most);
    }
    assert_continuous(&packets);
    let drift = held_back[9].abs_diff(held_back[1]);
    assert!(drift < Duration::from_millis(1), "{held_back:?}");
    assert!(held_back[9] < Duration::from_millis(40), "{held_back:?}");
}

#[test]
fn jitter_of_the_input_is_not_passed_on() {
    let (track, mut frames) = flv_audio(STEREO_48000);
    for (n, frame) in frames.iter_mut().enumerate() {
        let jitter = [0, 13, 2, 30, 7][n % 5];
        frame.pts = frame.pts + Duration::from_millis(jitter);
    }
    assert_continuous(&transcode(&track, &frames));
}

/// A tone of 1000 Hz on the right side, `count` frames long: 15 frames at 48 kHz are 320 whole
/// periods, so they can be repeated. `stamp` returns the timestamp for a frame's number and its
/// correct time in milliseconds.
fn looped(count: usize, stamp: impl Fn(usize, i64) -> i64) -> (AudioTrack, Vec<AudioFrame>) {
    let (track, frames) = flv_audio(STEREO_48000);
    let looped = (0..count).map(|n| AudioFrame {
        pts: MediaTime::from_millis(stamp(n, right(n))),
        ..frames[20 + n % 15].clone()
    });
    (track, looped.collect())
}

/// Returns the timestamp of a frame for its number and its correct time in milliseconds.
type Stamp = dyn Fn(usize, i64) -> i64;

/// Returns the start of frame `n`, in milliseconds.
fn right(n: usize) -> i64 {
    n as i64 * 1024 / 48
}

/// Asserts that the right side after the start is the tone: loud everywhere, without clicks.
#[track_caller]
fn assert_looped_tone(packets: &[AudioFrame]) {
    let [_, side] = decode(packets);
    let steepest = 0.25 * std::f64::consts::TAU * 1000.0 / 48_000.0;
    for (at, pair) in side[12_000..].windows(2).enumerate() {
        let step = f64::from(pair[1] - pair[0]).abs();
        assert!(step < 1.5 * steepest + 0.005, "a step of {step:.3} at {at}");
    }
    for (at, part) in side[12_000..].chunks_exact(480).enumerate() {
        let power = part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 480.0;
        let level = decibels((power * 2.0).sqrt() / 0.25);
        assert!(level.abs() < 1.0, "{level:.2} dB after {at} times 10 ms");
    }
}

#[test]
fn shared_uneven_and_missing_timestamps_are_inaudible() {
    let shared = |by: usize| move |n: usize, _: i64| right(n / by * by);
    let stamps: [(&str, Box<Stamp>); 8] = [
        ("3 frames with one stamp", Box::new(shared(3))),
        ("4 frames with one stamp", Box::new(shared(4))),
        ("16 frames with one stamp", Box::new(shared(16))),
        (
            "jitter",
            Box::new(|n, right| right + n as i64 * 7919 % 91 - 45),
        ),
        (
            "one in 50 is late",
            Box::new(|n, right| right + if n % 50 == 17 { 80 } else { 0 }),
        ),
        ("all zero", Box::new(|_, _| 0)),
        ("twice real time", Box::new(|_, right| 2 * right)),
        ("right", Box::new(|_, right| right)),
    ];
    for (name, stamp) in stamps {
        let (track, frames) = looped(282, stamp);
        let packets = transcode(&track, &frames);
        assert_continuous(&packets);
        assert_looped_tone(&packets);
        assert!(packets.len() >= 298, "{name}: {} packets", packets.len());
    }
}

#[test]
fn lasting_drift_is_followed_inaudibly() {
    for late in [100, -100] {
        let stamp = |n: usize, right: i64| right + if n < 50 { 0 } else { late };
        let (track, frames) = looped(3000, stamp);
        // Low complexity, which suffices for a tone: there is a minute of it.
        let config = OpusConfig {
            complexity: 1,
            bitrate: 256_000,
            ..OpusConfig::default()
        };
        let transcoder = OpusTranscoder::new(&track, &config).unwrap();
        let packets = transcode_by(transcoder, &frames);
        assert_continuous(&packets);
        assert_looped_tone(&packets);
        // Less than two packets remain in the transcoder.
        let end = packets.last().unwrap().pts.as_millis() + 20;
        let behind = right(3000) + late - end;
        assert!((-5..45).contains(&behind), "{behind} ms");
    }
}

#[test]
fn gap_in_the_input_is_a_gap_in_the_output() {
    let (track, mut frames) = flv_audio(STEREO_48000);
    let gap = Duration::from_millis(1500);
    for frame in &mut frames[25..] {
        frame.pts = frame.pts + gap;
    }
    let after = frames[25].pts;
    let packets = transcode(&track, &frames);
    let steps: Vec<_> = packets
        .windows(2)
        .map(|pair| pair[1].pts.saturating_since(pair[0].pts))
        .filter(|step| *step != Duration::from_millis(20))
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(
        steps[0] > gap && steps[0] < gap + Duration::from_millis(20),
        "{steps:?}"
    );
    // 312 samples of delay in the encoder.
    let first = packets
        .iter()
        .find(|packet| packet.pts + gap > after)
        .unwrap();
    assert_eq!((after.as_nanos() - first.pts.as_nanos()) / 1000, 6_500);
}

#[test]
fn smaller_gap_is_followed_once_the_timestamps_agree() {
    let (track, frames) = looped(300, |n, right| right + if n < 100 { 0 } else { 400 });
    let packets = transcode(&track, &frames);
    let gaps: Vec<_> = packets
        .windows(2)
        .map(|pair| pair[1].pts.saturating_since(pair[0].pts).as_millis())
        .filter(|step| *step != 20)
        .collect();
    assert!(matches!(gaps[..], [400..460]), "{gaps:?}");
}

#[test]
fn output_times_never_go_back() {
    let back = 1500;
    let (track, frames) = looped(300, |n, right| right - if n < 100 { 0 } else { back });
    let packets = transcode(&track, &frames);
    assert_continuous(&packets);
    let duration = packets.len() as i64 * 20;
    let input = right(300) - back;
    assert!(
        (input - 40..=input + 40).contains(&duration),
        "{duration} ms of {input}"
    );
}

#[test]
fn changed_configuration_continues_without_a_break() {
    let (track, frames) = looped(282, |_, right| right);
    let explicit = AudioTrack {
        config: Bytes::from_static(&[0x11, 0x90]),
        ..track.clone()
    };
    let unusable = AudioTrack {
        config: Bytes::from_static(&[0xf9, 0x46, 0x42, 0x00]),
        ..track.clone()
    };
    let mut transcoder = transcoder(&track);
    let mut packets = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        if n == 141 {
            assert!(transcoder.set_track(&unusable).is_err());
            transcoder.set_track(&explicit).unwrap();
        }
        transcoder.push(frame, &mut packets).unwrap();
    }
    let steps = packets
        .windows(2)
        .map(|pair| pair[1].pts.saturating_since(pair[0].pts));
    let uneven = steps.filter(|step| *step != Duration::from_millis(20));
    // The partial packet is completed when the other decoder starts.
    assert!(uneven.count() <= 1);
    assert!(packets.len() >= 298);
}

#[test]
fn broken_frame_becomes_silence_and_the_rest_continues() {
    let (track, mut frames) = flv_audio(STEREO_44100);
    frames[20].data = frames[20].data.slice(..20);
    frames[21].data = Bytes::from(vec![0x21; 1 << 20]);
    let mut transcoder = transcoder(&track);
    let mut packets = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let result = transcoder.push(frame, &mut packets);
        let is_broken = (20..22).contains(&n);
        assert_eq!(
            matches!(result, Err(AudioError::Decode { .. })),
            is_broken,
            "{n}: {result:?}"
        );
    }
    assert_eq!(transcoder.concealed(), 2);
    assert_continuous(&packets);
    let [left, _] = decode(&packets);
    let broken = 21 * 1024 * 480 / 441;
    let silence = &left[broken + 900..broken + 1500];
    assert!(
        silence.iter().all(|sample| sample.abs() < 0.05),
        "silence in place of the frame"
    );
    let rest = &left[broken + 6_000..broken + 15_600];
    assert!(decibels(amplitude(rest, 440.0) / 0.25).abs() < 1.0);
}

#[test]
fn arbitrary_access_units_never_stop_the_transcoder() {
    // 400 frames of 1024 samples; the declared length of a broken frame may shift a few packets.
    let packets = arbitrary_frames(SURROUND, 1024);
    assert!((400..=430).contains(&packets), "{packets}");
    // A damaged header may declare another rate, or half the samples.
    let packets = arbitrary_frames(MP3_44100, 1152);
    assert!((400..=560).contains(&packets), "{packets}");
}

/// Transcodes 400 damaged frames, and returns the number of packets.
fn arbitrary_frames(file: &'static [u8], samples: u64) -> usize {
    let (track, frames) = flv_audio(file);
    let frame_time = samples * 1_000_000_000 / u64::from(track.sample_rate);
    let mut transcoder = transcoder(&track);
    let mut packets = Vec::new();
    let mut seed = 0x2545_f491_u32;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    for n in 0..400 {
        let mut data = frames[n % frames.len()].data.to_vec();
        for _ in 0..random() % 6 {
            let at = random() as usize % data.len();
            data[at] ^= 1 << (random() % 8);
        }
        data.truncate(1 + random() as usize % (2 * data.len()));
        let frame = AudioFrame {
            codec: track.codec,
            pts: MediaTime::from_nanos((n as u64 * frame_time) as i64),
            data: data.into(),
        };
        match transcoder.push(&frame, &mut packets) {
            Ok(()) | Err(AudioError::Decode { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(transcoder.concealed() > 0);
    let steps = packets
        .windows(2)
        .map(|pair| pair[1].pts.as_nanos() - pair[0].pts.as_nanos());
    assert!(steps.into_iter().all(|step| step >= 20_000_000));
    packets.len()
}

#[test]
fn track_that_changes_its_codec_continues() {
    let (aac, first) = flv_audio(STEREO_44100);
    let (mp3, second) = flv_audio(MP3_44100);
    let mut transcoder = transcoder(&aac);
    let mut packets = Vec::new();
    for frame in &first {
        transcoder.push(frame, &mut packets).unwrap();
    }
    transcoder.set_track(&mp3).unwrap();
    let end = first.last().unwrap().pts + Duration::from_millis(23);
    for frame in &second {
        let pts = end + frame.pts.saturating_since(MediaTime::ZERO);
        transcoder
            .push(
                &AudioFrame {
                    pts,
                    ..frame.clone()
                },
                &mut packets,
            )
            .unwrap();
    }
    let [left, _] = decode(&packets);
    // 1.2 s of each.
    assert_tone(&left[48_000..], 440.0, 0.25);
    assert!(packets.len() > 110, "{}", packets.len());
}

/// Pushes the frames of both files, the second after the first, with the tracks or, where frames
/// describe themselves, without the second one. Returns left and right samples.
fn one_after_the_other(
    [first, second]: [&(AudioTrack, Vec<AudioFrame>); 2],
    describes_itself: bool,
) -> [Vec<f32>; 2] {
    let mut transcoder = transcoder(&first.0);
    let mut packets = Vec::new();
    for frame in &first.1 {
        transcoder.push(frame, &mut packets).unwrap();
    }
    if !describes_itself {
        transcoder.set_track(&second.0).unwrap();
    }
    let [.., before, last] = &first.1[..] else {
        panic!("two frames have a distance");
    };
    let end = last.pts + last.pts.saturating_since(before.pts);
    for frame in &second.1 {
        let pts = end + frame.pts.saturating_since(second.1[0].pts);
        let frame = AudioFrame {
            pts,
            ..frame.clone()
        };
        transcoder.push(&frame, &mut packets).unwrap();
    }
    assert_eq!(transcoder.concealed(), 0);
    let steps = packets
        .windows(2)
        .map(|pair| pair[1].pts.saturating_since(pair[0].pts));
    let uneven = steps.filter(|step| *step != Duration::from_millis(20));
    // The partial packet is completed at the change.
    assert!(uneven.count() <= 1);
    decode(&packets)
}

#[test]
fn mp3_that_changes_its_rate_and_channels_continues() {
    let (stereo, mono) = (flv_audio(MP3_44100), flv_audio(MP3_22050));
    let [left, right] = one_after_the_other([&stereo, &mono], true);
    assert_tone(&left[..48_000], 440.0, 0.25);
    assert_tone(&right[..48_000], 1000.0, 0.25);
    for side in [&left, &right] {
        assert_tone(&side[side.len() - 40_000..], 500.0, 0.25);
    }
    let [left, right] = one_after_the_other([&mono, &stereo], true);
    for side in [&left, &right] {
        assert_tone(&side[..40_000], 500.0, 0.25);
    }
    assert_tone(&left[left.len() - 40_000..], 440.0, 0.25);
    assert_tone(&right[right.len() - 40_000..], 1000.0, 0.25);
}

#[test]
fn g711_that_changes_its_channels_continues() {
    let mono = flv_audio(ALAW_8000);
    // The tone on the left, and silence on the right.
    let silence = 0xD5;
    let one_side = |frame: &AudioFrame| AudioFrame {
        data: frame
            .data
            .iter()
            .flat_map(|byte| [*byte, silence])
            .collect(),
        ..frame.clone()
    };
    let stereo = (
        AudioTrack {
            channels: 2,
            ..mono.0.clone()
        },
        mono.1.iter().map(one_side).collect(),
    );
    let [left, right] = one_after_the_other([&mono, &stereo], false);
    for side in [&left, &right] {
        assert_tone(&side[..40_000], 500.0, 0.25);
    }
    assert_tone(&left[left.len() - 40_000..], 500.0, 0.25);
    assert_no_tone(&right[right.len() - 40_000..], 500.0);
    let [left, right] = one_after_the_other([&stereo, &mono], false);
    assert_tone(&left[..40_000], 500.0, 0.25);
    assert_no_tone(&right[..40_000], 500.0);
    for side in [&left, &right] {
        assert_tone(&side[side.len() - 40_000..], 500.0, 0.25);
    }
}

#[test]
fn tracks_that_cannot_be_transcoded_are_refused_with_the_reason() {
    let (track, _) = flv_audio(STEREO_48000);
    let new = |track: &AudioTrack| OpusTranscoder::new(track, &OpusConfig::default()).unwrap_err();
    let opus = AudioTrack {
        codec: AudioCodec::Opus,
        ..track.clone()
    };
    assert_eq!(new(&opus).to_string(), "Opus cannot be transcoded to Opus");
    let xhe = AudioTrack {
        config: Bytes::from_static(&[0xf9, 0x46, 0x42, 0x00]),
        ..track.clone()
    };
    let message = new(&xhe).to_string();
    assert!(
        message.starts_with("xHE-AAC is not supported: "),
        "{message}"
    );
    let empty = AudioTrack {
        config: Bytes::new(),
        ..track
    };
    assert!(matches!(new(&empty), AudioError::Config(_)));
}
