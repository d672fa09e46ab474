//! `GET /metrics`: the gateway in figures, for Prometheus (OpenMetrics text format).
//!
//! Everything is collected at the moment it is asked for. Figures of viewers are given per stream, as
//! distributions: a label for each viewer would be a new series with each who comes.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use distributary_hub::StreamName;
use distributary_webrtc::engine::SessionReport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::AdminDoor;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of what paths carry, in bits per second.
const BANDWIDTHS: [f64; 8] = [5e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6];

/// Bounds of round trips, in seconds.
const ROUND_TRIPS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStream {
    stream: String,
}

impl OfStream {
    /// The label of a stream. The encoder writes values as they are, so quotes are escaped here; a name
    /// has neither of the other characters that would have to be, backslashes and line ends.
    fn new(name: &StreamName) -> Self {
        Self {
            stream: name.as_str().replace('"', "\\\""),
        }
    }
}

pub(super) async fn metrics(State(door): State<AdminDoor>) -> Response {
    let mut registry = Registry::with_prefix("distributary");
    collect_streams(&door, &mut registry);
    collect_viewers(&door.engine.report(None), &mut registry);
    collect_server(&door, &mut registry);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // Writing to a String does not fail.
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn collect_streams(door: &AdminDoor, registry: &mut Registry) {
    let live = Family::<OfStream, Gauge>::default();
    let video = Family::<OfStream, Counter>::default();
    let audio = Family::<OfStream, Counter>::default();
    let bytes = Family::<OfStream, Counter>::default();
    let dropped = Family::<OfStream, Counter>::default();
    for stream in door.hub.streams() {
        let stats = stream.stats();
        // A name that somebody waits for is nothing to count, and anybody can wait for any name.
        if stats.live_since.is_none() && stats.bytes == 0 {
            continue;
        }
        let of = OfStream::new(stream.name());
        live.get_or_create(&of)
            .set(i64::from(stats.live_since.is_some()));
        video.get_or_create(&of).inc_by(stats.video_frames);
        audio.get_or_create(&of).inc_by(stats.audio_frames);
        bytes.get_or_create(&of).inc_by(stats.bytes);
        dropped.get_or_create(&of).inc_by(stats.dropped);
    }
    registry.register("stream_live", "Whether a publisher is there", live);
    registry.register("stream_video_frames", "Pictures that came", video);
    registry.register("stream_audio_frames", "Blocks of sound that came", audio);
    registry.register_with_unit("stream", "Coded media that came", Unit::Bytes, bytes);
    registry.register(
        "stream_dropped_frames",
        "Frames that a shard, or the making of Opus, was too far behind to take",
        dropped,
    );
}

fn collect_viewers(reports: &[SessionReport], registry: &mut Registry) {
    let connected = Family::<OfStream, Gauge>::default();
    let limited = Family::<OfStream, Gauge>::default();
    let bandwidth =
        Family::<OfStream, Histogram, fn() -> Histogram>::new_with_constructor(bandwidths);
    let round_trip =
        Family::<OfStream, Histogram, fn() -> Histogram>::new_with_constructor(round_trips);
    for report in reports.iter().filter(|report| report.figures.is_connected) {
        let of = OfStream::new(&report.stream);
        let peer = &report.figures.peer;
        connected.get_or_create(&of).inc();
        limited
            .get_or_create(&of)
            .inc_by(i64::from(peer.is_limited));
        if let Some(bits) = peer.bandwidth {
            bandwidth.get_or_create(&of).observe(bits as f64);
        }
        if let Some(time) = peer.round_trip {
            round_trip.get_or_create(&of).observe(time.as_secs_f64());
        }
    }
    registry.register("viewers", "Viewers that are sent media", connected);
    registry.register(
        "viewers_limited",
        "Viewers whose path is slower than the stream",
        limited,
    );
    registry.register(
        "viewer_bandwidth_bits_per_second",
        "What the paths of the viewers are estimated to carry now",
        bandwidth,
    );
    registry.register_with_unit(
        "viewer_round_trip",
        "Round trips to the viewers now",
        Unit::Seconds,
        round_trip,
    );
}

fn bandwidths() -> Histogram {
    Histogram::new(BANDWIDTHS)
}

fn round_trips() -> Histogram {
    Histogram::new(ROUND_TRIPS)
}

fn collect_server(door: &AdminDoor, registry: &mut Registry) {
    let sessions: Gauge = Gauge::default();
    sessions.set(i64::try_from(door.engine.sessions()).unwrap_or(i64::MAX));
    registry.register(
        "sessions",
        "Sessions, those included that have not been heard of",
        sessions,
    );
    let fan_out = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
    fan_out.set(door.engine.fan_out().p99.as_secs_f64());
    registry.register_with_unit(
        "fan_out_p99",
        "From a picture's coming in to its going out to the last viewer of a shard, over ten seconds",
        Unit::Seconds,
        fan_out,
    );
}
