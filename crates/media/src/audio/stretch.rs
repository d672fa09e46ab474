//! Stretches a block by a few samples, to follow a clock with a slightly different rate.

/// Number of interleaved channels.
const STEREO: usize = 2;

/// Stretches the block of interleaved stereo from `start` on by `samples` per channel (shortens it,
/// if negative), by cubic interpolation (Catmull and Rom).
pub(super) fn apply(pcm: &mut Vec<f32>, start: usize, samples: i64) {
    let block = pcm.split_off(start.min(pcm.len()));
    let len = block.len() / STEREO;
    let Some(wanted) = usize::try_from(len as i64 + samples)
        .ok()
        .filter(|_| len > 1)
    else {
        pcm.extend(block);
        return;
    };
    let at = |place: i64, side: usize| {
        let place = place.clamp(0, len as i64 - 1) as usize;
        block.get(place * STEREO + side).copied().unwrap_or(0.0)
    };
    // Both ends keep their values, so that blocks continue without a step.
    let step = (len - 1) as f64 / (wanted.max(2) - 1) as f64;
    for n in 0..wanted {
        let place = n as f64 * step;
        let (whole, part) = (place.floor(), place.fract() as f32);
        for side in 0..STEREO {
            let [a, b, c, d] = [-1, 0, 1, 2].map(|offset| at(whole as i64 + offset, side));
            let slope = (c - a) * 0.5;
            let next_slope = (d - b) * 0.5;
            let curve = 2.0 * (b - c) + slope + next_slope;
            let bend = 3.0 * (c - b) - 2.0 * slope - next_slope;
            pcm.push(((curve * part + bend) * part + slope) * part + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_length_of_a_tone_changes() {
        let tone = |n: f64| (n * std::f64::consts::TAU * 1000.0 / 48_000.0).sin() as f32;
        for samples in [-2, 2] {
            let mut pcm = vec![0.5; 10];
            pcm.extend((0..1024).flat_map(|n| [tone(f64::from(n)), 0.25]));
            apply(&mut pcm, 10, samples);
            let len = 1024 + samples;
            assert_eq!(pcm.len(), 10 + 2 * len as usize);
            assert!(pcm[..10].iter().all(|sample| *sample == 0.5));
            for n in 0..len {
                let expected = tone(n as f64 * 1023.0 / (len - 1) as f64);
                let [left, right] = [0, 1].map(|side| pcm[10 + 2 * n as usize + side]);
                // The ends of the block have no neighbors beyond them.
                assert!(
                    (left - expected).abs() < 0.01,
                    "{left} and {expected} at {n}"
                );
                assert_eq!(right, 0.25);
            }
        }
    }

    #[test]
    fn block_that_is_too_short_is_unchanged() {
        let mut pcm = vec![0.5, 0.25];
        apply(&mut pcm, 0, -2);
        assert_eq!(pcm, [0.5, 0.25]);
        apply(&mut pcm, 2, 2);
        assert_eq!(pcm, [0.5, 0.25]);
    }
}
