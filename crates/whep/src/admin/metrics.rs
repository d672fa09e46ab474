//! `GET /metrics`: metrics for Prometheus (OpenMetrics text format).
//!
//! All metrics are collected when they are requested. Metrics of viewers are histograms per stream:
//! a label for each viewer would create a new series with every viewer.

use std::collections::HashSet;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use distributary_egress::engine::{JoinCounts, JoinFailure, JoinHistogram, PreparedStats};
use distributary_hub::TranscoderStats;
use distributary_names::StreamName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::answer::now;
use super::certificates::{self, validities};
use super::door::AdminDoor;
use super::join_metrics::JoinMetric;
use super::watching::{Watching, watching};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Histogram buckets of path bandwidth, in bits per second.
const BANDWIDTHS: [f64; 8] = [5e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6];

/// Histogram buckets of round trip times, in seconds.
const ROUND_TRIPS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8];

/// Histogram buckets of packet loss, as a ratio.
const LOSSES: [f64; 7] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// Histogram buckets of the playout delay asked of viewers, in seconds. The first counts those that
/// are asked for none.
const PLAYOUT_DELAYS: [f64; 8] = [0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0];

/// Maximum number of streams with series of their own. Each stream has more than a dozen series.
const MAX_STREAMS: usize = 500;

/// Label for the sum of all further streams.
const OTHERS: &str = "(others)";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStream {
    stream: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfShard {
    shard: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Assigns label values to streams, up to [`MAX_STREAMS`].
#[derive(Default)]
struct Labels {
    known: HashSet<StreamName>,
}

impl Labels {
    /// Returns the label of a stream. The encoder does not escape values, so quotes are escaped
    /// here; a name contains neither backslashes nor line ends.
    fn of(&mut self, name: &StreamName) -> OfStream {
        let is_known = self.known.contains(name);
        if !is_known && self.known.len() >= MAX_STREAMS {
            return OfStream {
                stream: OTHERS.to_owned(),
            };
        }
        if !is_known {
            self.known.insert(name.clone());
        }
        OfStream {
            stream: name.as_str().replace('"', "\\\""),
        }
    }
}

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

pub(super) async fn metrics(State(door): State<AdminDoor>) -> Response {
    let mut registry = Registry::with_prefix("distributary");
    let mut labels = Labels::default();
    collect_streams(&door, &mut labels, &mut registry);
    collect_viewers(&watching(&door, None, now()), &mut labels, &mut registry);
    collect_transcoders(door.hub.transcoder_stats(), &mut registry);
    collect_server(&Server::of(&door), &mut registry);
    certificates::collect(&validities(&door), &mut registry);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // Writing to a String does not fail.
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Labels of a stream and the kind of its B-frames.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BFramesOfStream {
    stream: String,
    kind: &'static str,
}

/// Metrics of published streams.
#[derive(Default)]
struct StreamFamilies {
    live: Family<OfStream, Gauge>,
    video: Family<OfStream, Counter>,
    audio: Family<OfStream, Counter>,
    bytes: Family<OfStream, Counter>,
    dropped: Family<OfStream, Counter>,
    frame_rate: Family<OfStream, FloatGauge>,
    jitter: Family<OfStream, FloatGauge>,
    gop: Family<OfStream, FloatGauge>,
    b_frames: Family<BFramesOfStream, Gauge>,
}

fn collect_streams(door: &AdminDoor, labels: &mut Labels, registry: &mut Registry) {
    let families = StreamFamilies::default();
    let now = now();
    let mut streams = door.hub.streams();
    // Sorted, so that the same streams have series of their own each time.
    streams.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
    for stream in streams {
        let stats = stream.stats();
        // A name that somebody only waits for has no metrics: anybody can wait for any name.
        if stats.live_since.is_none() && stats.bytes == 0 {
            continue;
        }
        let of = labels.of(stream.name());
        let rates = stream.publisher_stats(now);
        families
            .live
            .get_or_create(&of)
            .inc_by(i64::from(stats.live_since.is_some()));
        families.video.get_or_create(&of).inc_by(stats.video_frames);
        families.audio.get_or_create(&of).inc_by(stats.audio_frames);
        families.bytes.get_or_create(&of).inc_by(stats.bytes);
        families.dropped.get_or_create(&of).inc_by(stats.dropped);
        families.frame_rate.get_or_create(&of).set(rates.frame_rate);
        families
            .jitter
            .get_or_create(&of)
            .set(rates.jitter.as_secs_f64());
        if let Some(kind) = stats.b_frames {
            let of = BFramesOfStream {
                stream: of.stream.clone(),
                kind: kind.as_str(),
            };
            families.b_frames.get_or_create(&of).set(1);
        }
        if let Some(gop) = rates.gop {
            let seconds = gop.duration.as_secs_f64();
            families.gop.get_or_create(&of).set(seconds);
        }
    }
    families.register(registry);
}

impl StreamFamilies {
    fn register(self, registry: &mut Registry) {
        registry.register(
            "stream_bframes",
            "Kind of B-frames in the stream, once known: none, non-reference or reference",
            self.b_frames,
        );
        registry.register(
            "stream_live",
            "1 while the stream has a publisher, else 0",
            self.live,
        );
        registry.register(
            "stream_video_frames",
            "Video frames received from publishers",
            self.video,
        );
        registry.register(
            "stream_audio_frames",
            "Audio frames received from publishers",
            self.audio,
        );
        registry.register_with_unit(
            "stream",
            "Encoded media received from publishers",
            Unit::Bytes,
            self.bytes,
        );
        registry.register(
            "stream_dropped_frames",
            "Frames dropped because a shard or the Opus encoder was too slow",
            self.dropped,
        );
        registry.register(
            "stream_frame_rate",
            "Video frames per second, over the last four seconds",
            self.frame_rate,
        );
        registry.register_with_unit(
            "stream_publisher_jitter",
            "Jitter of the arrival of video frames",
            Unit::Seconds,
            self.jitter,
        );
        registry.register_with_unit(
            "stream_keyframe_distance",
            "Duration of the last complete GOP",
            Unit::Seconds,
            self.gop,
        );
    }
}

fn collect_viewers(viewers: &[Watching], labels: &mut Labels, registry: &mut Registry) {
    let connected = Family::<OfStream, Gauge>::default();
    let rtmp = Family::<OfStream, Gauge>::default();
    let limited = Family::<OfStream, Gauge>::default();
    let sent = Family::<OfStream, Gauge>::default();
    let bandwidth = histograms(bandwidths);
    let round_trip = histograms(round_trips);
    let loss = histograms(losses);
    let delay = histograms(playout_delays);
    for viewer in viewers.iter().filter(|viewer| viewer.is_connected()) {
        let of = labels.of(viewer.stream());
        connected.get_or_create(&of).inc();
        let bits = i64::try_from(viewer.bitrate()).unwrap_or(i64::MAX);
        sent.get_or_create(&of).inc_by(bits);
        // Both are there for each stream, so that the share of limited viewers can be computed.
        let (players, limited) = (
            rtmp.get_or_create_owned(&of),
            limited.get_or_create_owned(&of),
        );
        let info = match viewer {
            Watching::Session(info) => info,
            Watching::Player(_) => {
                players.inc();
                continue;
            }
        };
        let peer = &info.stats.peer;
        limited.inc_by(i64::from(peer.is_limited));
        if let Some(bits) = peer.bandwidth {
            bandwidth.get_or_create(&of).observe(bits as f64);
        }
        if let Some(time) = peer.round_trip {
            round_trip.get_or_create(&of).observe(time.as_secs_f64());
        }
        if let Some(time) = peer.playout_delay {
            delay.get_or_create(&of).observe(time.as_secs_f64());
        }
        if let Some(part) = info.stats.loss() {
            loss.get_or_create(&of).observe(part);
        }
    }
    registry.register("viewers", "Viewers that receive media", connected);
    registry.register("rtmp_players", "RTMP players among the viewers", rtmp);
    registry.register(
        "viewers_limited",
        "Viewers whose path is slower than the stream",
        limited,
    );
    registry.register(
        "viewers_sent_bits_per_second",
        "Bitrate of the media sent to viewers, without headers",
        sent,
    );
    registry.register(
        "viewer_bandwidth_bits_per_second",
        "Estimated path bandwidth of viewers",
        bandwidth,
    );
    registry.register_with_unit(
        "viewer_round_trip",
        "Round trip times to viewers",
        Unit::Seconds,
        round_trip,
    );
    registry.register_with_unit(
        "viewer_playout_delay",
        "Playout delay that viewers are asked to keep, so that repairs of lost packets arrive in time",
        Unit::Seconds,
        delay,
    );
    registry.register_with_unit(
        "viewer_loss",
        "Ratio of packets that viewers lose",
        Unit::Ratios,
        loss,
    );
}

type Histograms = Family<OfStream, Histogram, fn() -> Histogram>;

fn histograms(make: fn() -> Histogram) -> Histograms {
    Family::new_with_constructor(make)
}

fn playout_delays() -> Histogram {
    Histogram::new(PLAYOUT_DELAYS)
}

fn losses() -> Histogram {
    Histogram::new(LOSSES)
}

fn bandwidths() -> Histogram {
    Histogram::new(BANDWIDTHS)
}

fn round_trips() -> Histogram {
    Histogram::new(ROUND_TRIPS)
}

/// Collects the metrics of the ffmpeg processes that transcode streams.
fn collect_transcoders(stats: TranscoderStats, registry: &mut Registry) {
    let running: Gauge = Gauge::default();
    running.set(i64::try_from(stats.running).unwrap_or(i64::MAX));
    registry.register("transcoders", "Running transcoders", running);
    for (name, help, value) in [
        ("transcoder_starts", "Transcoders started", stats.started),
        (
            "transcoder_failures",
            "Transcoders that failed or could not be started",
            stats.failed,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

/// The gateway as a whole.
struct Server {
    version: &'static str,
    is_draining: bool,
    sessions: usize,
    /// Sessions of each shard.
    spread: Vec<usize>,
    fan_out_p99: Duration,
    joins: Vec<JoinHistogram>,
    prepared: PreparedStats,
    outcomes: JoinCounts,
}

/// Labels of failed joins.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// Collects the outcomes of joins.
fn collect_joins(joins: &JoinCounts, registry: &mut Registry) {
    for (name, help, value) in [
        ("joins", "Viewers whose offers were answered", joins.asked),
        (
            "joins_connected",
            "Viewers that completed the DTLS handshake",
            joins.connected,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let failed = Family::<OfReason, Counter>::default();
    for failure in JoinFailure::ALL {
        let reason = failure.as_str();
        let counter = failed.get_or_create_owned(&OfReason { reason });
        counter.inc_by(joins.failed(failure));
    }
    registry.register(
        "joins_failed",
        "Answered viewers that did not connect: unreachable (no packet of theirs arrived), handshake \
         (DTLS failed) or overload",
        failed,
    );
}

impl Server {
    fn of(door: &AdminDoor) -> Self {
        Self {
            version: door.info.version,
            is_draining: door.admission.is_draining(),
            sessions: door.hub.viewers().count(),
            spread: door.engine.spread(),
            fan_out_p99: door.engine.fan_out().p99,
            joins: door.engine.joins().into(),
            prepared: door.engine.prepared(),
            outcomes: door.engine.join_stats().total,
        }
    }
}

fn collect_server(server: &Server, registry: &mut Registry) {
    let sessions: Gauge = Gauge::default();
    sessions.set(i64::try_from(server.sessions).unwrap_or(i64::MAX));
    registry.register(
        "sessions",
        "Viewers, including those still connecting",
        sessions,
    );
    let PreparedStats {
        made,
        answered,
        expired,
    } = server.prepared;
    for (name, help, value) in [
        ("prepared_sessions", "Player pages sent with an offer", made),
        (
            "prepared_sessions_answered",
            "Offers of player pages that were answered",
            answered,
        ),
        (
            "prepared_sessions_expired",
            "Offers of player pages that were not answered in time",
            expired,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    collect_joins(&server.outcomes, registry);
    let shards = Family::<OfShard, Gauge>::default();
    for (shard, sessions) in (0..).zip(&server.spread) {
        let sessions = i64::try_from(*sessions).unwrap_or(i64::MAX);
        shards.get_or_create(&OfShard { shard }).set(sessions);
    }
    registry.register(
        "shard_sessions",
        "Sessions of each egress shard, without those that have not sent a packet yet",
        shards,
    );
    let draining: Gauge = Gauge::default();
    draining.set(i64::from(server.is_draining));
    registry.register(
        "draining",
        "1 while new viewers are refused, else 0",
        draining,
    );
    let build = Family::<Build, Gauge>::default();
    let version = server.version;
    build.get_or_create(&Build { version }).set(1);
    registry.register("build_info", "Version of the gateway", build);
    let fan_out = FloatGauge::default();
    fan_out.set(server.fan_out_p99.as_secs_f64());
    registry.register_with_unit(
        "fan_out_p99",
        "99th percentile of the time from receiving a frame to sending it to the last viewer of a \
         shard, over ten seconds",
        Unit::Seconds,
        fan_out,
    );
    registry.register_with_unit(
        "join",
        "Durations of the steps of joins: until the first ICE check, of the DTLS handshake, and until \
         the first packet of media",
        Unit::Seconds,
        JoinMetric(server.joins.clone()),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_egress::engine::{SessionInfo, SessionStats};
    use distributary_egress::session::SessionId;
    use distributary_webrtc::rtcp::{Packet, packets};

    /// Returns the names of all series, as Prometheus reads them. A family without members is not
    /// encoded, so each gets one here.
    fn names() -> HashSet<String> {
        let mut registry = Registry::with_prefix("distributary");
        let mut labels = Labels::default();
        let stream = StreamName::parse("live/test").unwrap();
        let families = StreamFamilies::default();
        let of = labels.of(&stream);
        for family in [
            &families.video,
            &families.audio,
            &families.bytes,
            &families.dropped,
        ] {
            family.get_or_create(&of).inc();
        }
        families.live.get_or_create(&of).inc();
        for family in [&families.frame_rate, &families.jitter, &families.gop] {
            family.get_or_create(&of).set(1.0);
        }
        families.register(&mut registry);
        let mut stats = SessionStats {
            is_connected: true,
            ..SessionStats::default()
        };
        stats.peer.bandwidth = Some(1_000_000);
        stats.peer.round_trip = Some(Duration::from_millis(10));
        // One receiver report block, without loss.
        let report = [&[0x81, 201, 0, 7][..], &[0; 28]].concat();
        stats.peer.report = packets(&report).find_map(|packet| match packet {
            Packet::Report(blocks) => blocks.iter().next(),
            _ => None,
        });
        assert!(stats.peer.report.is_some());
        let report = SessionInfo {
            id: SessionId::random().short(),
            stream,
            since: now(),
            asked_from: None,
            client: None,
            stats,
        };
        collect_viewers(
            &[Watching::Session(Box::new(report))],
            &mut labels,
            &mut registry,
        );
        collect_transcoders(TranscoderStats::default(), &mut registry);
        let server = Server {
            version: "1.2.3",
            is_draining: false,
            sessions: 1,
            spread: vec![1],
            fan_out_p99: Duration::ZERO,
            joins: Vec::new(),
            prepared: PreparedStats::default(),
            outcomes: JoinCounts::default(),
        };
        collect_server(&server, &mut registry);
        certificates::collect(&[("/tls.pem".into(), 1)], &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn dashboard_and_alerts_use_existing_metrics() {
        let known = names();
        for file in [
            include_str!("../../../../config/grafana/distributary.json"),
            include_str!("../../../../config/prometheus/alerts.yml"),
        ] {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let names: Vec<&str> = file
                .split(|c| !is_of_name(c))
                .filter(|word| word.starts_with("distributary_"))
                .collect();
            assert!(names.len() > 5);
            for name in names {
                assert!(known.contains(name), "{name}: {known:?}");
            }
        }
    }

    #[test]
    fn streams_beyond_the_maximum_share_one_label() {
        let mut labels = Labels::default();
        let name = |n| StreamName::parse(&format!("live/{n}")).unwrap();
        for n in 0..MAX_STREAMS {
            assert_eq!(labels.of(&name(n)).stream, format!("live/{n}"));
        }
        assert_eq!(labels.of(&name(MAX_STREAMS)).stream, OTHERS);
        assert_eq!(labels.of(&name(0)).stream, "live/0");
    }
}
