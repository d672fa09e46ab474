//! RTCP (RFC 3550 section 6): parses feedback of viewers, and writes reports for them.
//!
//! * [`packet`]: the parts of a compound packet, those that matter here parsed.
//! * [`report`]: reception reports.
//! * [`feedback`]: NACK, intra requests, the receiver's estimate of the bandwidth.
//! * [`transport_cc`]: when packets arrived.
//! * [`xr`]: a receiver's clock, and its return.
//! * [`compound`]: writing sender reports with their source descriptions, and BYE.
//! * [`ntp`]: wall-clock time as RTCP has it.

pub mod compound;
pub mod feedback;
pub mod ntp;
pub mod packet;
pub mod report;
pub mod transport_cc;
mod word;
pub mod xr;

pub use compound::{SenderInfo, write_bye, write_sender_report};
pub use feedback::{FirRequests, NackPairs, Remb};
pub use ntp::NtpTime;
pub use packet::{Packet, packets};
pub use report::{ReportBlock, ReportBlocks};
pub use transport_cc::TransportFeedback;
pub use xr::{ReferenceTime, write_dlrr};
