//! `POST /session/{id}/failure`: a player reports that it cannot connect.
//!
//! Nothing verifies a report. It is parsed into what it may say, so that it cannot bring any other
//! text into the log, and only the first one of a session counts.

use std::fmt;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use serde::Deserialize;

use crate::access::Viewer;
use crate::front_door::FrontDoor;
use crate::offer;
use crate::problem::Problem;
use crate::refusal::unknown_session;
use crate::session::PathSession;

/// Maximum size of a report, in bytes.
const MAX_REPORT_LEN: usize = 4096;

/// Maximum number of candidate pairs that are noted; further ones are ignored.
const MAX_PAIRS: usize = 8;

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    post(report)
}

/// A player's report that it cannot connect.
#[derive(Debug, Deserialize)]
struct IceReport {
    /// The state of its ICE transport.
    ice: IceState,
    /// Seconds since it got the answer.
    seconds: f32,
    /// The candidate pairs that it has tried.
    #[serde(default)]
    pairs: Vec<TriedPair>,
}

/// The state of an ICE transport or of a candidate pair (WebRTC, section 5.6.3; WebRTC Statistics,
/// section 8.25).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum IceState {
    New,
    Checking,
    Connected,
    Completed,
    Disconnected,
    Failed,
    Closed,
    Frozen,
    Waiting,
    InProgress,
    Succeeded,
}

/// A candidate pair that a player has tried.
#[derive(Debug, Deserialize)]
struct TriedPair {
    /// The kind of the player's candidate.
    local: Kind,
    protocol: Protocol,
    /// The address of the gateway.
    address: IpAddr,
    port: u16,
    state: IceState,
    /// Checks that were sent.
    sent: u32,
    /// Answers that came.
    answered: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Host,
    Srflx,
    Prflx,
    Relay,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Udp,
    Tcp,
}

async fn report(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
    viewer: Viewer,
    request: Request,
) -> Result<StatusCode, Problem> {
    front.access.limits().change(viewer.counts_as())?;
    if !front.engine.contains(&id) {
        return Err(unknown_session());
    }
    let report = read(request).await?;
    if front.engine.note_report(&id, &report.to_string()) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown_session())
    }
}

/// Reads a report. The media type does not matter: pages of other sites can send nothing but text
/// without asking first.
async fn read(request: Request) -> Result<IceReport, Problem> {
    let bytes = offer::read(request, MAX_REPORT_LEN).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("The report cannot be read: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

impl fmt::Display for IceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.clamp(0.0, 999.0);
        write!(f, "ICE {} after {seconds:.1} s", self.ice)?;
        if self.pairs.is_empty() {
            f.write_str("; tried nothing")?;
        }
        for (at, pair) in self.pairs.iter().take(MAX_PAIRS).enumerate() {
            f.write_str(if at == 0 { "; tried " } else { ", " })?;
            write!(f, "{pair}")?;
        }
        match self.pairs.len().saturating_sub(MAX_PAIRS) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for TriedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            local,
            protocol,
            address,
            port,
            state,
            sent,
            answered,
        } = self;
        let address = std::net::SocketAddr::new(*address, *port);
        write!(
            f,
            "{protocol} {address} from {local} ({state}, {sent} checks, {answered} answers)"
        )
    }
}

/// Writes the name of a variant as the specification does.
macro_rules! names {
    ($type:ty, $($variant:ident => $name:literal),+ $(,)?) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

names!(IceState, New => "new", Checking => "checking", Connected => "connected",
    Completed => "completed", Disconnected => "disconnected", Failed => "failed",
    Closed => "closed", Frozen => "frozen", Waiting => "waiting", InProgress => "in progress",
    Succeeded => "succeeded");
names!(Kind, Host => "host", Srflx => "srflx", Prflx => "prflx", Relay => "relay");
names!(Protocol, Udp => "UDP", Tcp => "TCP");

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use serde_json::json;

    fn pair(port: u32) -> serde_json::Value {
        json!({
            "local": "srflx", "protocol": "udp", "address": "2001:db8::7", "port": port,
            "state": "in-progress", "sent": 9, "answered": 0,
        })
    }

    async fn parse(report: &serde_json::Value) -> Result<String, Problem> {
        read(Request::new(Body::from(report.to_string())))
            .await
            .map(|report| report.to_string())
    }

    #[tokio::test]
    async fn report_is_one_short_line() {
        let report = json!({ "ice": "checking", "seconds": 10.04, "pairs": [pair(8189)] });
        assert_eq!(
            parse(&report).await.unwrap(),
            "ICE checking after 10.0 s; tried UDP [2001:db8::7]:8189 from srflx (in progress, 9 checks, 0 answers)"
        );
        let report = json!({ "ice": "new", "seconds": -1e30 });
        assert_eq!(
            parse(&report).await.unwrap(),
            "ICE new after 0.0 s; tried nothing"
        );
        let pairs: Vec<_> = (0..30).map(pair).collect();
        let line = parse(&json!({ "ice": "failed", "seconds": 1e30, "pairs": pairs }))
            .await
            .unwrap();
        assert!(line.ends_with(" and 22 more") && line.len() < 800, "{line}");
    }

    #[tokio::test]
    async fn report_with_other_text_is_refused() {
        for report in [
            json!({ "ice": "lost\nWARN all is lost", "seconds": 1 }),
            json!({ "ice": "failed", "seconds": "1" }),
            json!({ "ice": "failed", "seconds": 1, "pairs": [pair(70_000)] }),
            json!([]),
        ] {
            let problem = parse(&report).await.unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{report}");
        }
        let long = json!({ "ice": "failed", "seconds": 1, "more": "x".repeat(MAX_REPORT_LEN) });
        let problem = parse(&long).await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
