//! The audio: four soft chords, and bell notes over them.

use std::f64::consts::TAU;

const RATE: f64 = 48_000.0;

/// The chords in Hz: A minor, F, C and G, each from its root up.
const CHORDS: [[f64; 4]; 4] = [
    [110.0, 164.81, 220.0, 261.63],
    [87.31, 174.61, 220.0, 261.63],
    [130.81, 164.81, 196.0, 261.63],
    [98.0, 146.83, 196.0, 246.94],
];

/// The bell: two drops for each of the eight pulses of light, pentatonic.
const DROPS: [f64; 16] = [
    880.0, 659.26, 523.25, 659.26, 698.46, 523.25, 880.0, 523.25, 783.99, 659.26, 1046.5, 659.26,
    783.99, 587.33, 493.88, 587.33,
];

/// Seconds in which a drop fades to a third.
const DROP_FADE: f64 = 0.35;

/// `count` samples, left and right, that can be played over and over.
pub(super) fn samples(count: usize) -> Vec<[f32; 2]> {
    let length = count as f64 / RATE;
    (0..count)
        .map(|n| {
            let time = n as f64 / RATE;
            let pad = [-1.0, 1.0].map(|side| pad(time, length, side));
            let bell = bell(time, length);
            [0, 1].map(|side| (0.09 * pad[side] + 0.08 * bell[side]) as f32)
        })
        .collect()
}

/// Returns a frequency near `hertz` that has whole periods in the loop.
fn in_tune(hertz: f64, length: f64) -> f64 {
    (hertz * length).round() / length
}

/// Returns the chords, each swelling while the one before it fades.
fn pad(time: f64, length: f64, side: f64) -> f64 {
    let place = time / length * CHORDS.len() as f64;
    let mut sum = 0.0;
    for (n, chord) in CHORDS.iter().enumerate() {
        let distance = (place - n as f64 - 0.5).rem_euclid(CHORDS.len() as f64);
        let distance = distance.min(CHORDS.len() as f64 - distance);
        // A raised cosine over two places: neighbors add up to one.
        if distance >= 1.0 {
            continue;
        }
        let swell = 0.5 + 0.5 * (TAU / 2.0 * distance).cos();
        for (voice, hertz) in chord.iter().enumerate() {
            // The sides are a beat apart, which makes it wide.
            let detuned = in_tune(hertz + side * 0.18, length);
            let tone = (TAU * detuned * time).sin() + 0.25 * (2.0 * TAU * detuned * time).sin();
            sum += swell * tone / (1.0 + 0.5 * voice as f64);
        }
    }
    sum * (0.85 + 0.15 * (TAU * 3.0 * time / length).sin())
}

/// Returns the drops, each to one side.
fn bell(time: f64, length: f64) -> [f64; 2] {
    let mut sides = [0.0; 2];
    for (n, hertz) in DROPS.iter().enumerate() {
        let since = (time - length * n as f64 / DROPS.len() as f64).rem_euclid(length);
        // Struck softly: no click at the beginning.
        let level = (1.0 - (-since / 0.006).exp()) * (-since / DROP_FADE).exp();
        let tone = (TAU * hertz * since).sin() + 0.3 * (TAU * 2.76 * hertz * since).sin() * level;
        let right = 0.5 + 0.35 * (n as f64 * 2.4).sin();
        sides[0] += level * tone * (1.0 - right);
        sides[1] += level * tone * right;
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_soft_and_its_end_matches_its_start() {
        let samples = samples(11_200 * 48);
        let peak = samples
            .iter()
            .flatten()
            .fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
        assert!((0.2..0.7).contains(&peak), "peak {peak}");
        let step = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
        let largest = samples
            .windows(2)
            .map(|pair| step(pair[0], pair[1]))
            .fold(0.0, f32::max);
        let seam = step(samples[samples.len() - 1], samples[0]);
        assert!(
            seam <= largest,
            "a step of {seam} over the seam, {largest} elsewhere"
        );
    }
}
