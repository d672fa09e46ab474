//! `GET /metrics`: metrics for Prometheus.
//!
//! All metrics are collected when they are requested, except histograms. Metrics of viewers are
//! sums and histograms per stream: a label for each viewer would create a new series with every
//! viewer.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_egress::engine::{
    DurationCounts, JoinCounts, JoinFailure, JoinHistogram, PreparedStats,
};
use distributary_hub::{SentBytes, StreamReport, TakeoverReason, Takeovers, TranscoderStats};
use distributary_names::StreamName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::answer::now;
use super::certificates::{self, validities};
use super::cluster_metrics;
use super::door::AdminDoor;
use super::duration_metrics::{DurationMetric, JoinMetric};
use super::exposition::negotiate;
use super::memory;
use super::metric_labels::{Labels, OfStream};
use super::process::cpu_time_of_children;
use super::process_metrics;
use super::rendition_metrics::{self, collect_switches};
use super::watching::{Watching, watching};
use crate::problem::Problem;
use crate::refusals::RefusalReason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfShard {
    shard: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

type FloatGauge = Gauge<f64, AtomicU64>;

pub(super) async fn metrics(
    State(door): State<AdminDoor>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut root = Registry::default();
    let uptime = now().saturating_duration_since(door.info.started);
    process_metrics::collect(uptime, &mut root);
    let registry = root.sub_registry_with_prefix("distributary");
    let mut labels = Labels::default();
    let live = collect_streams(&door, &mut labels, registry);
    collect_takeovers(door.hub.takeovers(), registry);
    let watching = watching(&door, None, now());
    collect_viewers(&live, &watching, &mut labels, registry);
    rendition_metrics::collect_viewers(&watching, &mut labels, registry);
    collect_switches(&door.engine.switches(), door.engine.probes(), registry);
    collect_sent(door.hub.sent_bytes(), registry);
    door.samples.register(registry);
    let cpu = cpu_time_of_children(|| door.hub.transcoder_processes());
    collect_transcoders(door.hub.transcoder_stats(), cpu, registry);
    collect_server(&Server::of(&door), registry);
    memory::collect(memory::Parts::of(&door), door.hub.memory(), registry);
    if let Some(cluster) = &door.cluster {
        cluster_metrics::collect(&cluster.report(), registry);
    }
    certificates::collect(&validities(&door), registry);
    let mut text = String::new();
    encode(&mut text, &root).map_err(|error| {
        tracing::error!(%error, "the metrics could not be encoded");
        let detail = "The metrics could not be encoded.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let (content_type, text) = negotiate(&headers, text);
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::VARY, "accept"),
    ];
    Ok((headers, text).into_response())
}

/// Collects the media sent to viewers.
fn collect_sent(sent: &SentBytes, registry: &mut Registry) {
    let bytes = Family::<OfStream, Counter>::default();
    let (by_stream, others) = sent.list();
    for (name, sent) in by_stream {
        bytes.get_or_create(&OfStream::named(&name)).inc_by(sent);
    }
    if others > 0 {
        bytes.get_or_create(&OfStream::others()).inc_by(others);
    }
    registry.register_with_unit(
        "sent",
        "Media sent to viewers, without headers",
        Unit::Bytes,
        bytes,
    );
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
    standbys: Family<OfStream, Gauge>,
}

/// Collects the streams, and returns those that are live.
fn collect_streams(
    door: &AdminDoor,
    labels: &mut Labels,
    registry: &mut Registry,
) -> Vec<StreamName> {
    let mut live = Vec::new();
    let families = StreamFamilies::default();
    let now = now();
    let mut streams = door.hub.streams();
    // Sorted, so that the same streams have series of their own each time.
    streams.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
    for stream in streams {
        let StreamReport {
            stats,
            measured: rates,
            standbys,
            ..
        } = stream.report(now);
        // A name that somebody only waits for has no metrics: anybody can wait for any name.
        if stats.live_since.is_none() && stats.bytes == 0 {
            continue;
        }
        let of = labels.of(stream.name());
        if stats.live_since.is_some() {
            live.push(stream.name().clone());
        }
        let standbys = i64::try_from(standbys.len()).unwrap_or(i64::MAX);
        families.standbys.get_or_create(&of).inc_by(standbys);
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
    live
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
            "publisher_standbys",
            "Publishers of the stream that stand by to take over",
            self.standbys,
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

/// Collects the takeovers by publishers that stood by.
fn collect_takeovers(takeovers: &Takeovers, registry: &mut Registry) {
    let family = Family::<OfReason, Counter>::default();
    for reason in TakeoverReason::ALL {
        let counter = family.get_or_create_owned(&OfReason {
            reason: reason.as_str(),
        });
        counter.inc_by(takeovers.count(reason));
    }
    registry.register(
        "publisher_takeovers",
        "Takeovers by publishers that stood by, by reason: the active one was gone (gone) or its video had stopped (silent), or it was requested (api)",
        family,
    );
}

/// Collects the viewers of the streams, among which those of `live` have series in any case.
fn collect_viewers(
    live: &[StreamName],
    viewers: &[Watching],
    labels: &mut Labels,
    registry: &mut Registry,
) {
    let connected = Family::<OfStream, Gauge>::default();
    let rtmp = Family::<OfStream, Gauge>::default();
    let limited = Family::<OfStream, Gauge>::default();
    let families = [&connected, &rtmp, &limited];
    // All three are there for each stream, so that shares can be computed.
    let create = |of: &OfStream| families.map(|family| family.get_or_create_owned(of));
    for name in live {
        create(&labels.of(name));
    }
    for viewer in viewers.iter().filter(|viewer| viewer.is_connected()) {
        let [connected, rtmp, limited] = create(&labels.of(viewer.stream()));
        connected.inc();
        match viewer {
            Watching::Session(info) => limited.inc_by(i64::from(info.stats.peer.is_limited)),
            Watching::Player(_) => rtmp.inc(),
        };
    }
    registry.register("viewers", "Viewers that receive media", connected);
    registry.register("rtmp_players", "RTMP players among the viewers", rtmp);
    registry.register(
        "viewers_limited",
        "Viewers whose path is slower than the stream",
        limited,
    );
}

/// Collects the metrics of the ffmpeg processes that transcode streams, and the CPU time of all so
/// far.
fn collect_transcoders(stats: TranscoderStats, cpu: Option<Duration>, registry: &mut Registry) {
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
        (
            "transcoder_requested_keyframes",
            "Keyframes made because a viewer moved to a lower rendition",
            stats.requested_keyframes,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    if let Some(time) = cpu {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(time.as_secs_f64());
        registry.register_with_unit(
            "transcoder_cpu",
            "User and system CPU time of the transcoders",
            Unit::Seconds,
            counter,
        );
    }
}

/// The gateway as a whole.
struct Server {
    version: &'static str,
    is_draining: bool,
    sessions: usize,
    /// Sessions of each shard.
    spread: Vec<usize>,
    fan_out: DurationCounts,
    joins: Vec<JoinHistogram>,
    prepared: PreparedStats,
    outcomes: JoinCounts,
    /// Refused viewers by reason.
    refusals: [(&'static str, u64); RefusalReason::ALL.len()],
}

/// Labels of failed joins, refused viewers and takeovers.
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
            fan_out: door.engine.fan_out_total(),
            refusals: RefusalReason::ALL
                .map(|reason| (reason.as_str(), door.refusals.count(reason))),
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
    let refused = Family::<OfReason, Counter>::default();
    for (reason, count) in server.refusals {
        let counter = refused.get_or_create_owned(&OfReason { reason });
        counter.inc_by(count);
    }
    registry.register(
        "viewers_refused",
        "Players that asked for a session and got none: not_live, access, offer (it cannot be used), rate \
         (too many requests), full (or draining) or internal",
        refused,
    );
    registry.register_with_unit(
        "fan_out",
        "Time from receiving a frame to sending it to the last viewer of a shard",
        Unit::Seconds,
        DurationMetric(server.fan_out.clone()),
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
    use crate::admin::cluster::ClusterReport;
    use crate::admin::viewer_samples::ViewerSamples;
    use std::collections::HashSet;

    use distributary_egress::engine::{SessionInfo, SessionStats, Switches};
    use distributary_egress::session::SessionId;
    use distributary_hub::Memory;
    use distributary_webrtc::quality::Reason;
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
        let samples = ViewerSamples::default();
        samples.observe(&report);
        samples.register(&mut registry);
        let watching = [Watching::Session(Box::new(report))];
        collect_viewers(&[], &watching, &mut labels, &mut registry);
        rendition_metrics::collect_viewers(&watching, &mut labels, &mut registry);
        let switches = [Switches {
            is_up: true,
            reason: Reason::Bandwidth,
            count: 1,
        }];
        collect_switches(&switches, 1, &mut registry);
        let sent = SentBytes::default();
        sent.add(&StreamName::parse("live/test").unwrap(), 1);
        collect_sent(&sent, &mut registry);
        let cpu = Some(Duration::from_secs(1));
        collect_transcoders(TranscoderStats::default(), cpu, &mut registry);
        collect_takeovers(&Takeovers::default(), &mut registry);
        let server = Server {
            version: "1.2.3",
            is_draining: false,
            sessions: 1,
            spread: vec![1],
            fan_out: DurationCounts {
                count: 1,
                sum: Duration::ZERO,
                buckets: vec![(1.0, 1), (f64::MAX, 0)],
            },
            refusals: RefusalReason::ALL.map(|reason| (reason.as_str(), 1)),
            joins: Vec::new(),
            prepared: PreparedStats::default(),
            outcomes: JoinCounts::default(),
        };
        collect_server(&server, &mut registry);
        memory::collect(memory::Parts::default(), &Memory::default(), &mut registry);
        certificates::collect(&[("/tls.pem".into(), 1)], &mut registry);
        cluster_metrics::collect(&ClusterReport::default(), &mut registry);
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
}
