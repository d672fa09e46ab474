//! The segment of a path that names a session. In a cluster it has the name of the session's gateway,
//! too:
//!
//! ```text
//! /session/0123456789abcdef0123456789abcdef.node1/layer
//! ```

use distributary_egress::session::SessionId;

/// Parses a segment: the session, and its gateway if the segment names one. `None` if it is no segment
/// of a session.
pub(crate) fn parse(segment: &str) -> Option<(SessionId, Option<&str>)> {
    let (id, node) = match segment.split_once('.') {
        Some((id, node)) => (id, Some(node)),
        None => (segment, None),
    };
    Some((id.parse().ok()?, node))
}

/// Returns the segment of a session of this gateway, whose name is `this` in a cluster.
pub(crate) fn of(this: Option<&str>, id: &SessionId) -> String {
    match this {
        Some(this) => format!("{id}.{this}"),
        None => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_the_session_and_its_gateway() {
        let id = SessionId::random();
        for this in [None, Some("node-1")] {
            assert_eq!(parse(&of(this, &id)), Some((id, this)));
        }
        assert_eq!(parse("x.node-1"), None);
        assert_eq!(parse(&format!("{id}x")), None);
    }
}
