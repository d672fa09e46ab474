//! The objects that answer commands (RTMP 1.0 sections 7.2.1 and 7.2.2).

use crate::amf::{Value, object};

/// A command went well.
pub(super) fn status(code: &str, description: &str) -> Value {
    info("status", code, description)
}

/// A command was refused.
pub(super) fn error(code: &str, description: &str) -> Value {
    info("error", code, description)
}

/// Publishing may begin.
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

/// The properties in the answer to `connect`. Clients look for a version of Flash Media Server
/// there, and some check that it is at least 3.
pub(super) fn server_properties() -> Value {
    object([
        ("fmsVer", "FMS/3,5,7,7009".into()),
        ("capabilities", 31.0.into()),
        ("mode", 1.0.into()),
    ])
}

/// The information in the answer to `connect`.
pub(super) fn connect_success(object_encoding: f64) -> Value {
    object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", object_encoding.into()),
    ])
}
