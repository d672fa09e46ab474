//! Access units of the codecs with NAL units: H264 and H265.

use bytes::Bytes;

use crate::h264::H264Error;

/// An access unit that is ready to be sent. `S` is the sequence parameter set of its codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit<S> {
    /// NAL units in decoding order, none of them empty.
    pub units: Vec<Bytes>,
    /// True if decoding can start with it.
    pub keyframe: bool,
    /// The sequence parameter set, if it differs from the previous one.
    pub new_sps: Option<S>,
}

/// The NAL units of an access unit.
#[derive(Debug)]
pub(crate) struct NalUnits {
    /// The complete ones.
    pub(crate) units: Vec<Bytes>,
    /// The error that ends a truncated access unit.
    pub(crate) broken: Option<H264Error>,
}

/// The access unit has too many NAL units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnits;

impl NalUnits {
    /// Collects at most `limit` units, without those that `is_dropped` selects, up to the first
    /// that is not complete.
    pub(crate) fn collect(
        all: impl Iterator<Item = Result<Bytes, H264Error>>,
        limit: usize,
        is_dropped: impl Fn(&Bytes) -> bool,
    ) -> Result<Self, TooManyUnits> {
        let mut units = Vec::new();
        for unit in all {
            match unit {
                Ok(unit) if is_dropped(&unit) => {}
                Ok(_) if units.len() == limit => return Err(TooManyUnits),
                Ok(unit) => units.push(unit),
                Err(H264Error::TooManyNalUnits { .. }) => return Err(TooManyUnits),
                Err(error) => {
                    let broken = Some(error);
                    return Ok(Self { units, broken });
                }
            }
        }
        Ok(Self {
            units,
            broken: None,
        })
    }
}
