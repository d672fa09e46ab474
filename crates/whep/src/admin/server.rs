//! The admin API: the whole gateway.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use distributary_egress::engine::LatencyStats;
use distributary_hub::TranscoderStats;
use serde::Serialize;

use super::answer::{fresh, now};
use super::door::{AdminDoor, PublicAddresses};
use super::joins::JoinStatus;
use super::link::LinkStatus;
use super::memory::MemoryStatus;
use super::process::ProcessStatus;

/// The response of `GET /api/server`.
#[derive(Serialize)]
pub(super) struct ServerStatus {
    version: &'static str,
    /// Seconds since the start.
    uptime_seconds: u64,
    /// New viewers are refused.
    draining: bool,
    rtmp_port: u16,
    http_port: u16,
    addresses: PublicAddresses,
    /// Viewers, including those still connecting.
    sessions: usize,
    /// WebRTC sessions of each egress shard, without those that have not sent a packet yet.
    shard_sessions: Vec<usize>,
    fan_out: FanOut,
    joins: JoinStatus,
    process: ProcessStatus,
    memory: MemoryStatus,
    link: Option<LinkStatus>,
    transcoders: TranscodersStatus,
}

/// The transcoder processes.
#[derive(Serialize)]
struct TranscodersStatus {
    running: usize,
    /// Processes that failed, or could not be started, since the start.
    failed: u64,
}

/// Time from receiving a frame to sending it to the last viewer of a shard, over the last whole ten
/// seconds.
#[derive(Serialize)]
struct FanOut {
    frames: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

pub(super) async fn server(State(door): State<AdminDoor>) -> Response {
    fresh(ServerStatus::of(&door, now()))
}

impl ServerStatus {
    pub(super) fn of(door: &AdminDoor, now: Instant) -> Self {
        Self {
            version: door.info.version,
            uptime_seconds: now.saturating_duration_since(door.info.started).as_secs(),
            draining: door.admission.is_draining(),
            rtmp_port: door.info.rtmp.port(),
            http_port: door.info.http.port(),
            addresses: PublicAddresses::clone(&door.addresses),
            sessions: door.hub.viewers().count(),
            shard_sessions: door.engine.spread(),
            fan_out: door.engine.fan_out().into(),
            joins: (&door.engine.join_stats()).into(),
            process: ProcessStatus::read(door.history.cpu()),
            memory: MemoryStatus::of(door),
            link: LinkStatus::read(door.history.link_bps()),
            transcoders: door.hub.transcoder_stats().into(),
        }
    }
}

impl From<TranscoderStats> for TranscodersStatus {
    fn from(stats: TranscoderStats) -> Self {
        Self {
            running: stats.running,
            failed: stats.failed,
        }
    }
}

impl From<LatencyStats> for FanOut {
    fn from(summary: LatencyStats) -> Self {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            frames: summary.count,
            p50_ms: millis(summary.p50),
            p99_ms: millis(summary.p99),
            max_ms: millis(summary.max),
        }
    }
}
