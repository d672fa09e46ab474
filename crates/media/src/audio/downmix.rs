//! Mixes any number of channels to stereo.

use syom::{Channel, MAX_PLANES};

/// -3 dB: the gain of a channel that is mixed to both sides.
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Mixes channels to stereo by the matrix of ISO/IEC 14496-3 section 4.5.1.2.2 (the same as of
/// ITU-R BS.775): center and surround 3 dB lower, no low-frequency effects, all scaled so that the
/// sum cannot clip. One channel goes to both sides and two stay as they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Downmix {
    channels: [Option<Channel>; MAX_PLANES],
    /// The gains of each channel for the left and the right side.
    gains: Vec<[f32; 2]>,
}

impl Downmix {
    /// Selects the matrix for channels in this order.
    pub(super) fn select(&mut self, channels: [Option<Channel>; MAX_PLANES]) {
        if channels == self.channels {
            return;
        }
        self.channels = channels;
        let named: Vec<_> = channels.into_iter().flatten().collect();
        self.gains = match named[..] {
            [_] => vec![[1.0, 1.0]],
            [_, _] => vec![[1.0, 0.0], [0.0, 1.0]],
            _ => named.into_iter().map(gains).collect(),
        };
        let side_sum = |side: usize| self.gains.iter().map(|gain| gain[side]).sum::<f32>();
        let loudest = side_sum(0).max(side_sum(1)).max(1.0);
        for gain in self.gains.iter_mut().flatten() {
            *gain /= loudest;
        }
    }

    /// Selects the matrix for this number of channels in the order of MPEG-4 (ISO/IEC 14496-3 table
    /// 1.19).
    pub(super) fn select_count(&mut self, count: u8) {
        let mut channels = [None; MAX_PLANES];
        for (slot, channel) in channels.iter_mut().zip(syom::mpeg_channels(count)) {
            *slot = Some(*channel);
        }
        self.select(channels);
    }

    /// Appends `samples` of each channel to `out` as interleaved stereo, within -1 to 1.
    pub(super) fn apply(&self, planes: &[&[f32]], samples: usize, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + samples * 2, 0.0);
        let Some(block) = out.get_mut(start..) else {
            return;
        };
        for (plane, gain) in planes.iter().zip(&self.gains) {
            for (pair, sample) in block.chunks_exact_mut(2).zip(*plane) {
                // A broken stream can decode to anything, even NaN.
                let sample = if sample.is_finite() { *sample } else { 0.0 };
                pair[0] += sample * gain[0];
                pair[1] += sample * gain[1];
            }
        }
        for sample in block {
            *sample = sample.clamp(-1.0, 1.0);
        }
    }
}

fn gains(channel: Channel) -> [f32; 2] {
    match channel {
        Channel::FrontLeft => [1.0, 0.0],
        Channel::FrontRight => [0.0, 1.0],
        Channel::BackLeft | Channel::SideLeft => [HALF_POWER, 0.0],
        Channel::BackRight | Channel::SideRight => [0.0, HALF_POWER],
        Channel::Lfe => [0.0, 0.0],
        Channel::BackCenter => [0.5, 0.5],
        // The center, and channels at unknown positions.
        _ => [HALF_POWER, HALF_POWER],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(channels: &[Channel], values: &[f32]) -> Vec<f32> {
        let mut downmix = Downmix::default();
        let mut named = [None; MAX_PLANES];
        for (slot, channel) in named.iter_mut().zip(channels) {
            *slot = Some(*channel);
        }
        downmix.select(named);
        let planes: Vec<[f32; 1]> = values.iter().map(|value| [*value]).collect();
        let planes: Vec<&[f32]> = planes.iter().map(<[f32; 1]>::as_slice).collect();
        let mut out = Vec::new();
        downmix.apply(&planes, 1, &mut out);
        out
    }

    fn assert_close(mixed: &[f32], expected: [f32; 2]) {
        let close = mixed
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(
            mixed.len() == 2 && close,
            "{mixed:?} instead of {expected:?}"
        );
    }

    #[test]
    fn mono_goes_to_both_sides_and_stereo_is_unchanged() {
        assert_close(&mix(&[Channel::FrontCenter], &[0.5]), [0.5, 0.5]);
        let stereo = [Channel::FrontLeft, Channel::FrontRight];
        assert_close(&mix(&stereo, &[0.5, -0.25]), [0.5, -0.25]);
    }

    #[test]
    fn surround_is_mixed_by_the_standard_matrix() {
        let surround = syom::mpeg_channels(6);
        // Left alone, center alone, left surround alone: the sum of the shares is 2.414.
        assert_close(
            &mix(surround, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            [0.4142, 0.0],
        );
        assert_close(
            &mix(surround, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
            [0.2929, 0.2929],
        );
        assert_close(
            &mix(surround, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            [0.2929, 0.0],
        );
        assert_close(
            &mix(surround, &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
            [0.0, 0.2929],
        );
        assert_close(&mix(surround, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), [0.0, 0.0]);
        assert_close(&mix(surround, &[1.0; 6]), [1.0, 1.0]);
    }

    #[test]
    fn invalid_samples_become_valid() {
        let stereo = [Channel::FrontLeft, Channel::FrontRight];
        assert_close(&mix(&stereo, &[f32::NAN, 1e20]), [0.0, 1.0]);
        assert_close(&mix(&stereo, &[-1e38, f32::INFINITY]), [-1.0, 0.0]);
    }
}
