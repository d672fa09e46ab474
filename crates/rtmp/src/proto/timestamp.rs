//! RTMP's 32-bit milliseconds, unrolled.

use distributary_media::MediaTime;

/// Turns timestamps that wrap after 49.7 days into times that do not.
///
/// Each timestamp is taken for the one nearest to the last: timestamps are compared with serial
/// number arithmetic, as RTMP 1.0 section 5.1 demands. All tracks of a stream share one of these,
/// so that they wrap together.
#[derive(Clone, Debug, Default)]
pub struct TimestampUnroller {
    last: Option<i64>,
}

impl TimestampUnroller {
    /// Returns the time of a message with this timestamp.
    pub fn unroll(&mut self, timestamp: u32) -> MediaTime {
        let millis = match self.last {
            Some(last) => {
                let step = timestamp.wrapping_sub(last as u32) as i32;
                last.saturating_add(step.into())
            }
            None => timestamp.into(),
        };
        self.last = Some(millis);
        MediaTime::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unrolled(timestamps: &[u32]) -> Vec<i64> {
        let mut unroller = TimestampUnroller::default();
        timestamps
            .iter()
            .map(|&timestamp| unroller.unroll(timestamp).as_millis())
            .collect()
    }

    #[test]
    fn time_goes_on_where_the_timestamp_wraps() {
        assert_eq!(
            unrolled(&[0xFFFF_FFF0, 0xFFFF_FFFF, 5, 40]),
            [0xFFFF_FFF0, 0xFFFF_FFFF, 0x1_0000_0005, 0x1_0000_0028]
        );
    }

    #[test]
    fn a_step_back_across_the_wrap_is_a_step_back() {
        assert_eq!(
            unrolled(&[0xFFFF_FFFF, 3, 0xFFFF_FFFE, 4]),
            [0xFFFF_FFFF, 0x1_0000_0003, 0xFFFF_FFFE, 0x1_0000_0004]
        );
        assert_eq!(unrolled(&[10, 5]), [10, 5]);
    }
}
