//! The admin API: the last 15 minutes, and the streams that have ended in them.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::fresh;
use super::door::AdminDoor;
use super::history::{EndedStream, Series, StreamSample, TotalSample};
use crate::name::PathStream;
use crate::problem::Problem;

/// Interval between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// The response of `GET /api/history/{name}`. The lists have the oldest sample first, and `null`
/// where there is none.
#[derive(Serialize)]
struct StreamHistory {
    interval_seconds: u64,
    /// Seconds since the newest sample.
    age_seconds: u64,
    received_bps: Vec<Option<u64>>,
    sent_bps: Vec<Option<u64>>,
    viewers: Vec<Option<u32>>,
    frame_rate: Vec<Option<f64>>,
    jitter_ms: Vec<Option<f64>>,
}

/// The response of `GET /api/history`: the sums of all streams.
#[derive(Serialize)]
struct TotalHistory {
    interval_seconds: u64,
    age_seconds: u64,
    received_bps: Vec<Option<u64>>,
    sent_bps: Vec<Option<u64>>,
    viewers: Vec<Option<u32>>,
    streams: Vec<Option<u16>>,
    cpu_percent: Vec<Option<u16>>,
}

/// The response of `GET /api/ended`.
#[derive(Serialize)]
struct EndedList {
    streams: Vec<EndedStatus>,
}

/// A stream that has ended in the last 15 minutes.
#[derive(Serialize)]
pub(super) struct EndedStatus {
    name: String,
    /// Seconds since its end.
    ended_seconds: u64,
    /// The reason in the words of the log; `null` if it is not known.
    reason: Option<String>,
    /// The highest number of viewers in the time that is kept.
    most_viewers: u32,
}

pub(super) async fn total(State(door): State<AdminDoor>) -> Response {
    fresh(TotalHistory::from(door.history.total()))
}

pub(super) async fn stream(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
) -> Result<Response, Problem> {
    let series = door.history.stream(name.as_str());
    series
        .map(|series| fresh(StreamHistory::from(series)))
        .ok_or_else(|| {
            let detail = format!("The stream {name} was not live in the last 15 minutes.");
            Problem::new(StatusCode::NOT_FOUND, detail).about(&name)
        })
}

pub(super) async fn ended(State(door): State<AdminDoor>) -> Response {
    fresh(EndedList {
        streams: ended_streams(&door, usize::MAX),
    })
}

/// Returns at most `max` streams that have ended, the last one first.
pub(super) fn ended_streams(door: &AdminDoor, max: usize) -> Vec<EndedStatus> {
    let ended = door.history.ended(max).into_iter();
    ended.map(EndedStatus::from).collect()
}

impl From<EndedStream> for EndedStatus {
    fn from(ended: EndedStream) -> Self {
        Self {
            name: ended.name,
            ended_seconds: ended.ago,
            reason: ended.reason.map(|reason| reason.to_string()),
            most_viewers: ended.most_viewers,
        }
    }
}

impl From<Series<StreamSample>> for StreamHistory {
    fn from(series: Series<StreamSample>) -> Self {
        Self {
            interval_seconds: INTERVAL.as_secs(),
            age_seconds: series.age,
            received_bps: each(&series, |sample| bits(sample.received)),
            sent_bps: each(&series, |sample| bits(sample.sent)),
            viewers: each(&series, |sample| sample.viewers),
            frame_rate: each(&series, |sample| f64::from(sample.frame_rate) / 10.0),
            jitter_ms: each(&series, |sample| f64::from(sample.jitter) / 10.0),
        }
    }
}

impl From<Series<TotalSample>> for TotalHistory {
    fn from(series: Series<TotalSample>) -> Self {
        Self {
            interval_seconds: INTERVAL.as_secs(),
            age_seconds: series.age,
            received_bps: each(&series, |sample| bits(sample.received)),
            sent_bps: each(&series, |sample| bits(sample.sent)),
            viewers: each(&series, |sample| sample.viewers),
            streams: each(&series, |sample| sample.streams),
            cpu_percent: each(&series, |sample| sample.cpu)
                .into_iter()
                .map(Option::flatten)
                .collect(),
        }
    }
}

fn each<S: Copy, T>(series: &Series<S>, value: impl Fn(S) -> T) -> Vec<Option<T>> {
    let samples = series.samples.iter();
    samples.map(|sample| sample.map(&value)).collect()
}

fn bits(kilobits: u32) -> u64 {
    u64::from(kilobits) * 1000
}
