//! RTMP's 32-bit milliseconds, unrolled.

use distributary_media::MediaTime;

/// Converts timestamps that wrap after 49.7 days to continuous times.
///
/// Each timestamp stands for the time nearest to the previous one: timestamps are compared with
/// serial number arithmetic (RTMP 1.0 section 5.1). All tracks of a stream share one unroller, so
/// that they wrap together.
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
    fn time_continues_when_the_timestamp_wraps() {
        assert_eq!(
            unrolled(&[0xFFFF_FFF0, 0xFFFF_FFFF, 5, 40]),
            [0xFFFF_FFF0, 0xFFFF_FFFF, 0x1_0000_0005, 0x1_0000_0028]
        );
    }

    #[test]
    fn step_back_across_the_wrap_stays_a_step_back() {
        assert_eq!(
            unrolled(&[0xFFFF_FFFF, 3, 0xFFFF_FFFE, 4]),
            [0xFFFF_FFFF, 0x1_0000_0003, 0xFFFF_FFFE, 0x1_0000_0004]
        );
        assert_eq!(unrolled(&[10, 5]), [10, 5]);
    }
}
