//! The section of a data channel (RFC 8841): SCTP over DTLS, on the transport of audio and video.

use ::sdp::description::common::Attribute;

use super::attributes::value_of;
use super::normalize::MediaLine;
use crate::data::{DataConfig, SCTP_PORT};

/// The only format of such a section (RFC 8832 section 8.1).
pub(super) const FORMAT: &str = "webrtc-datachannel";

/// Default of `a=max-message-size` in bytes (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_SIZE: u32 = 64 * 1024;

/// Returns the SCTP association of a section; `None` if it is no data channel.
///
/// Without `a=sctp-port` the usual port applies, which all SCTP libraries use. The form before RFC
/// 8841, `DTLS/SCTP 5000` with `a=sctpmap`, is not supported: no current player writes it.
pub(super) fn parse(line: &MediaLine, attributes: &[Attribute]) -> Option<DataConfig> {
    let is_data = line.media == "application"
        && matches!(line.proto.as_str(), "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP")
        && line.formats.iter().any(|format| format == FORMAT);
    if !is_data {
        return None;
    }
    let number = |key: &'static str| value_of(attributes, key).map(str::trim);
    let port = match number("sctp-port") {
        // Port 0 closes the association (RFC 8841 section 5.1).
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => SCTP_PORT,
    };
    let max_message_size = match number("max-message-size") {
        // A number that overflows means no limit, which is written as 0.
        Some(size) => size.parse::<u64>().ok()?.try_into().unwrap_or(0),
        None => DEFAULT_MAX_MESSAGE_SIZE,
    };
    Some(DataConfig {
        port,
        max_message_size,
    })
}
