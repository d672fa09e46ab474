//! `GET /api/doctor`: examines this machine's side of the gateway.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::fresh;
use super::door::AdminDoor;
use super::finding::Finding;
use crate::problem::Problem;

/// The response.
#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

pub(super) async fn doctor(State(door): State<AdminDoor>) -> Result<Response, Problem> {
    let examine = door.doctor.turn().await;
    let findings = tokio::task::spawn_blocking(move || {
        let findings = examine();
        // Held until here, also if the client has gone.
        drop(examine);
        findings
    });
    let findings = findings.await;
    let findings = findings.map_err(|error| {
        tracing::error!(%error, "this machine could not be examined");
        let detail = "This machine could not be examined.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(fresh(Findings { findings }))
}
