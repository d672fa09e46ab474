//! Decodes the values in the messages of one connection, within a budget.

use std::time::Instant;

use crate::proto::amf::allowance::Allowance;
use crate::proto::amf::amf0::{self, Decoded};
use crate::proto::amf::{AmfError, AmfLimits};

/// A budget for decoding, in bytes.
#[derive(Clone, Copy)]
struct Budget {
    per_second: usize,
    /// Bytes at once.
    burst: usize,
}

/// Budget for the commands of one connection. `connect` of a Flash player costs about 4 KiB. Past
/// it the connection is closed.
const COMMANDS: Budget = Budget {
    per_second: 64 << 10,
    burst: 256 << 10,
};

/// Budget for the data messages of one connection. Metadata costs about 4 KiB, a caption less than
/// 1 KiB. Past it data is dropped undecoded.
const DATA: Budget = Budget {
    per_second: 1 << 20,
    burst: 1 << 20,
};

/// Decodes the values of messages of one kind.
#[derive(Debug)]
pub(crate) struct ValueDecoder {
    limits: AmfLimits,
    allowance: Allowance,
}

impl ValueDecoder {
    /// Returns a decoder for the commands of a connection.
    pub(crate) fn commands(limits: AmfLimits) -> Self {
        Self::new(limits, COMMANDS)
    }

    /// Returns a decoder for the data messages of a connection.
    pub(crate) fn data(limits: AmfLimits) -> Self {
        Self::new(limits, DATA)
    }

    fn new(limits: AmfLimits, budget: Budget) -> Self {
        Self {
            limits,
            allowance: Allowance::new(budget.per_second, budget.burst),
        }
    }

    /// Decodes the values of a message that arrived at `now`, up to the first error in it.
    ///
    /// # Errors
    /// Returns [`AmfError::TooOften`] if the budget is used up.
    pub(crate) fn decode(&mut self, payload: &[u8], now: Instant) -> Result<Decoded, AmfError> {
        if !self.allowance.has_some(now) {
            return Err(AmfError::TooOften);
        }
        let decoded = amf0::decode(payload, self.limits);
        self.allowance.spend(decoded.cost);
        Ok(decoded)
    }

    /// Returns the recent cost of decoding that has not expired.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> usize {
        self.allowance.spent()
    }
}
