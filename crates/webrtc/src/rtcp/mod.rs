//! RTCP (RFC 3550 section 6): what a viewer reports, and what it is told.
//!
//! * [`packet`]: the parts of a compound packet, and the few of them that matter here, parsed.
//! * [`compound`]: writing sender reports with their source descriptions, and BYE.
//! * [`ntp`]: wall-clock time as RTCP has it.

pub mod compound;
pub mod ntp;
pub mod packet;

pub use compound::{SenderInfo, write_bye, write_sender_reports};
pub use ntp::NtpTime;
pub use packet::{Packet, ReportBlock, packets};
