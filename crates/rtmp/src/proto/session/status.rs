//! The objects in responses to commands (RTMP 1.0 sections 7.2.1 and 7.2.2).

use crate::proto::amf::{Value, object};

/// Returns the information that a command has succeeded.
pub(super) fn status(code: &str, description: &str) -> Value {
    info("status", code, description)
}

/// Returns the information that a command was refused.
pub(super) fn error(code: &str, description: &str) -> Value {
    info("error", code, description)
}

/// Returns advice to a publisher, whose stream goes on.
pub(super) fn advice(description: &str) -> Value {
    info("warning", "NetStream.Publish.Advice", description)
}

/// Returns the information about the standing of a publisher among those of its name.
pub(super) fn standing(description: &str) -> Value {
    status("NetStream.Publish.Standing", description)
}

/// Returns the information that publishing may begin.
pub(super) fn publish_start() -> Value {
    status("NetStream.Publish.Start", "The stream is published.")
}

fn info(level: &str, code: &str, description: &str) -> Value {
    object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", description.into()),
    ])
}

/// The codecs that are supported by FourCC, video and audio.
const VIDEO_CODECS: [&str; 4] = ["avc1", "hvc1", "av01", "vp09"];
const AUDIO_CODECS: [&str; 2] = ["mp4a", "Opus"];

/// Enhanced RTMP's `FourCcInfoMask.CanForward`.
const CAN_FORWARD: f64 = 4.0;

/// Enhanced RTMP's `CapsExMask.Reconnect`: supports reconnect requests.
pub(super) const CAN_RECONNECT: u32 = 0x01;

/// Enhanced RTMP's `CapsExMask`: Reconnect, Multitrack, ModEx and TimestampNanoOffset.
const CAPABILITIES: f64 = (CAN_RECONNECT | 0x02 | 0x04 | 0x08) as f64;

/// Returns the request to reconnect to the same address (Enhanced RTMP v2, "Reconnect Request").
pub(super) fn reconnect_request() -> Value {
    status(
        "NetConnection.Connect.ReconnectRequest",
        "The server is about to end.",
    )
}

/// Returns the properties in the response to `connect`. Clients look for a version of Flash Media
/// Server there, and some check that it is at least 3. An enhanced client gets the supported codecs
/// (<https://veovera.org/docs/enhanced/enhanced-rtmp-v2>, "Enhancing NetConnection connect
/// Command").
pub(super) fn server_properties(enhanced: bool) -> Value {
    let mut members: Vec<(&str, Value)> = vec![
        ("fmsVer", "FMS/3,5,7,7009".into()),
        ("capabilities", 31.0.into()),
        ("mode", 1.0.into()),
    ];
    if enhanced {
        let codecs = VIDEO_CODECS.iter().chain(&AUDIO_CODECS);
        let list = codecs.map(|&codec| codec.into()).collect();
        members.push(("fourCcList", Value::StrictArray(list)));
        members.push(("videoFourCcInfoMap", object(VIDEO_CODECS.map(forwarded))));
        members.push(("audioFourCcInfoMap", object(AUDIO_CODECS.map(forwarded))));
        members.push(("capsEx", CAPABILITIES.into()));
    }
    object(members)
}

fn forwarded(codec: &str) -> (&str, Value) {
    (codec, CAN_FORWARD.into())
}

/// Returns the information in the response to `connect`.
pub(super) fn connect_success(object_encoding: f64) -> Value {
    object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", object_encoding.into()),
    ])
}
