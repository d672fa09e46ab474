//! The results, as text and as JSON.

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::ice::Checks;
use crate::inspector::Findings;
use crate::percentile::{Percentiles, millis};
use crate::process::ProcessUsage;
use crate::socket::ReceiveMode;
use crate::traffic::Measured;

/// Everything a run has shown. Times are in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The WHEP endpoint.
    pub url: String,
    /// Viewers that asked for a session.
    pub viewers: usize,
    /// Viewers that got at least one RTP packet.
    pub joined: usize,
    /// Failures, counted by reason: to join, or later. Those of viewers that were replaced count.
    pub failures: BTreeMap<String, usize>,
    /// Viewers that were replaced, if any were to be.
    pub churn: Option<ChurnReport>,
    /// Joins begun each second.
    pub ramp_per_second: f64,
    /// Time taken to join.
    pub join: JoinReport,
    /// The media over the measured interval.
    pub media: MediaReport,
    /// Results of decryption, since the first packet.
    pub content: ContentReport,
    /// Connectivity and consent checks since the beginning.
    pub checks: ChecksReport,
    /// The server process, if it is known.
    pub server: Option<ServerReport>,
    /// The swarm itself and the machine.
    pub swarm: SwarmReport,
    /// Each viewer.
    pub per_viewer: Vec<ViewerReport>,
}

/// Times from the beginning of the POST.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct JoinReport {
    /// To the SDP answer.
    pub answer: Option<Percentiles>,
    /// To the first RTP packet.
    pub first_packet: Option<Percentiles>,
    /// To the first whole keyframe, of the viewers that decrypt.
    pub first_keyframe: Option<Percentiles>,
}

/// The viewers that left in the measured interval, and were replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChurnReport {
    /// Number of them.
    pub left: usize,
    /// Their times from the beginning of the POST to the first RTP packet.
    pub first_packet: Option<Percentiles>,
    /// Their failures, counted by reason.
    pub failures: BTreeMap<String, usize>,
}

/// The media of all viewers that joined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MediaReport {
    /// Length of the measured interval in seconds.
    pub seconds: f64,
    /// RTP packets received.
    pub packets: u64,
    /// The same, per second and viewer.
    pub packets_per_second: f64,
    /// Megabits per second and viewer, RTP headers and tags included.
    pub megabits_per_second: f64,
    /// Video packets missing.
    pub video_lost: u64,
    /// Audio packets missing.
    pub audio_lost: u64,
    /// Missing packets in 100 sent.
    pub loss_percent: f64,
    /// Retransmissions received.
    pub retransmissions: u64,
    /// Frames per second and viewer.
    pub fps: f64,
    /// Frames per second of the viewer that got fewest.
    pub min_fps: f64,
    /// Longest time without a packet, of each viewer.
    pub packet_gap: Option<Percentiles>,
    /// Longest time from the end of one frame to that of the next, of each viewer.
    pub frame_gap: Option<Percentiles>,
}

/// The access units of the viewers that decrypt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ContentReport {
    /// Number of viewers that decrypt.
    pub viewers: usize,
    /// Number of these that started with a complete keyframe.
    pub began_with_keyframe: usize,
    /// Whole access units.
    pub whole: u64,
    /// Access units with a packet missing.
    pub damaged: u64,
    /// Access units that make no sense though nothing is missing.
    pub malformed: u64,
    /// Keyframes with their parameter sets.
    pub keyframes: u64,
    /// Keyframes without.
    pub bare_keyframes: u64,
    /// Packets that could not be decrypted.
    pub refused_packets: u64,
}

/// Connectivity and consent checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ChecksReport {
    /// Checks sent.
    pub sent: u64,
    /// Checks answered.
    pub answered: u64,
}

/// Resources used by the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerReport {
    /// Its process id.
    pub pid: u32,
    /// CPU time over the measured interval divided by the packets received, in microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// CPU time per second and viewer, in milliseconds.
    pub cpu_ms_per_second_and_viewer: Option<f64>,
    /// CPU time over the measured interval, in percent of one core.
    pub cpu_percent: f64,
    /// The same for its threads by name, greatest first.
    pub threads: Vec<ThreadReport>,
    /// Its nice level.
    pub nice: i32,
    /// Resident memory before the first viewer, in KiB.
    pub rss_before_kib: u64,
    /// Resident memory at the end of the measured interval, in KiB.
    pub rss_kib: u64,
    /// Resident memory after all viewers have left, in KiB.
    pub rss_after_kib: u64,
    /// Growth of resident memory for each viewer that joined, in KiB.
    pub rss_per_viewer_kib: Option<f64>,
}

/// CPU time of the threads of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadReport {
    /// The name.
    pub name: String,
    /// In percent of one core.
    pub cpu_percent: f64,
}

/// Resources used by the swarm, and other influences on the results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwarmReport {
    /// Receive mode of the viewers.
    pub receive: ReceiveMode,
    /// Its own CPU time divided by the packets received, in microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// Its own CPU time in percent of one core.
    pub cpu_percent: f64,
    /// Its nice level.
    pub nice: i32,
    /// Datagrams that this machine dropped at full receive buffers over the measured interval, the
    /// server's and those of others included.
    pub receive_buffer_drops: u64,
    /// Load average over a minute, at the end.
    pub load_average: f64,
}

/// One viewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ViewerReport {
    /// From the POST to the SDP answer.
    pub answer: Option<f64>,
    /// From the POST to the first RTP packet.
    pub first_packet: Option<f64>,
    /// From the POST to the first whole keyframe, if it decrypts.
    pub first_keyframe: Option<f64>,
    /// RTP packets in the measured interval.
    pub packets: u64,
    /// Video packets missing in it.
    pub video_lost: u64,
    /// Audio packets missing in it.
    pub audio_lost: u64,
    /// Frames per second.
    pub fps: f64,
    /// Longest time without a packet.
    pub packet_gap: f64,
    /// Longest time from the end of one frame to that of the next.
    pub frame_gap: f64,
    /// The reason of its failure, if it failed.
    pub failure: Option<String>,
}

/// The results of one viewer.
#[derive(Clone, Debug, Default)]
pub struct ViewerOutcome {
    /// From the POST to the SDP answer.
    pub answer: Option<Duration>,
    /// From the POST to the first RTP packet.
    pub first_packet: Option<Duration>,
    /// From the POST to the first whole keyframe.
    pub first_keyframe: Option<Duration>,
    /// Its media over the measured interval.
    pub measured: Measured,
    /// Results of decryption.
    pub findings: Option<Findings>,
    /// Stats of its checks.
    pub checks: Checks,
    /// The reason of its failure.
    pub failure: Option<String>,
}

/// A process before and after.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Before the first viewer.
    pub idle: ProcessUsage,
    /// At the beginning of the measured interval.
    pub begin: ProcessUsage,
    /// At its end.
    pub end: ProcessUsage,
    /// After all viewers have left.
    pub left: ProcessUsage,
}

impl JoinReport {
    /// Returns the join times of the viewers.
    #[must_use]
    pub fn of(viewers: &[ViewerOutcome]) -> Self {
        let percentiles = |time: fn(&ViewerOutcome) -> Option<Duration>| {
            Percentiles::of(viewers.iter().filter_map(time))
        };
        Self {
            answer: percentiles(|viewer| viewer.answer),
            first_packet: percentiles(|viewer| viewer.first_packet),
            first_keyframe: percentiles(|viewer| viewer.first_keyframe),
        }
    }
}

impl MediaReport {
    /// Returns the sums and extremes over those viewers that joined.
    #[must_use]
    pub fn of(viewers: &[ViewerOutcome]) -> Self {
        let joined: Vec<&Measured> = viewers
            .iter()
            .filter(|viewer| viewer.first_packet.is_some())
            .map(|viewer| &viewer.measured)
            .collect();
        let sum = |value: fn(&Measured) -> u64| joined.iter().map(|viewer| value(viewer)).sum();
        let interval = joined.iter().map(|viewer| viewer.interval).max();
        let seconds = interval.unwrap_or_default().as_secs_f64();
        // Those that came later were measured for less time.
        let intervals = joined.iter().map(|viewer| viewer.interval);
        let viewer_seconds = intervals.sum::<Duration>().as_secs_f64();
        let packets: u64 = sum(|viewer| viewer.packets);
        let (bytes, frames): (u64, u64) = (sum(|viewer| viewer.bytes), sum(|viewer| viewer.frames));
        let (video_lost, audio_lost) = (
            sum(|viewer| viewer.video_lost),
            sum(|viewer| viewer.audio_lost),
        );
        let retransmissions = sum(|viewer| viewer.retransmissions);
        let lost = video_lost + audio_lost;
        let sent = packets - retransmissions + lost;
        Self {
            seconds,
            packets,
            packets_per_second: ratio(packets as f64, viewer_seconds).unwrap_or_default(),
            megabits_per_second: ratio(bytes as f64 * 8e-6, viewer_seconds).unwrap_or_default(),
            video_lost,
            audio_lost,
            loss_percent: ratio(100.0 * lost as f64, sent as f64).unwrap_or_default(),
            retransmissions,
            fps: ratio(frames as f64, viewer_seconds).unwrap_or_default(),
            min_fps: joined
                .iter()
                .map(|viewer| viewer.fps())
                .min_by(f64::total_cmp)
                .unwrap_or_default(),
            packet_gap: Percentiles::of(joined.iter().map(|viewer| viewer.packet_gap)),
            frame_gap: Percentiles::of(joined.iter().map(|viewer| viewer.frame_gap)),
        }
    }
}

impl ContentReport {
    /// Returns the results of the viewers that decrypt.
    #[must_use]
    pub fn of(viewers: &[ViewerOutcome]) -> Self {
        let mut report = Self::default();
        for Findings { units, refused, .. } in viewers.iter().filter_map(|viewer| viewer.findings) {
            report.viewers += 1;
            report.began_with_keyframe += usize::from(units.begins_with_keyframe);
            report.whole += units.whole;
            report.damaged += units.damaged;
            report.malformed += units.malformed;
            report.keyframes += units.keyframes;
            report.bare_keyframes += units.bare_keyframes;
            report.refused_packets += refused;
        }
        report
    }
}

impl ChecksReport {
    /// Returns the checks of all viewers.
    #[must_use]
    pub fn of(viewers: &[ViewerOutcome]) -> Self {
        Self {
            sent: viewers
                .iter()
                .map(|viewer| u64::from(viewer.checks.sent))
                .sum(),
            answered: viewers
                .iter()
                .map(|viewer| u64::from(viewer.checks.answered))
                .sum(),
        }
    }
}

impl ServerReport {
    /// Returns the resources that process `pid` used while `joined` viewers received `media`.
    #[must_use]
    pub fn of(pid: u32, usage: &Usage, joined: usize, media: &MediaReport) -> Self {
        let cpu = usage.end.cpu.saturating_sub(usage.begin.cpu);
        let growth = usage.end.resident.saturating_sub(usage.idle.resident);
        let viewer_seconds = media.seconds * joined as f64;
        let threads = usage.end.threads_since(&usage.begin).into_iter();
        Self {
            pid,
            cpu_us_per_packet: ratio(cpu.as_secs_f64() * 1e6, media.packets as f64),
            cpu_ms_per_second_and_viewer: ratio(cpu.as_secs_f64() * 1e3, viewer_seconds),
            cpu_percent: percent(cpu, media.seconds),
            threads: threads
                .map(|(name, cpu)| ThreadReport {
                    name,
                    cpu_percent: percent(cpu, media.seconds),
                })
                .collect(),
            nice: usage.end.nice,
            rss_before_kib: usage.idle.resident / 1024,
            rss_kib: usage.end.resident / 1024,
            rss_after_kib: usage.left.resident / 1024,
            rss_per_viewer_kib: ratio(growth as f64 / 1024.0, joined as f64),
        }
    }
}

impl SwarmReport {
    /// Returns the resources that this process used while it received `media`.
    #[must_use]
    pub fn of(
        receive: ReceiveMode,
        usage: &Usage,
        receive_buffer_drops: u64,
        load_average: f64,
        media: &MediaReport,
    ) -> Self {
        let cpu = usage.end.cpu.saturating_sub(usage.begin.cpu);
        Self {
            receive,
            cpu_us_per_packet: ratio(cpu.as_secs_f64() * 1e6, media.packets as f64),
            cpu_percent: percent(cpu, media.seconds),
            nice: usage.end.nice,
            receive_buffer_drops,
            load_average,
        }
    }
}

impl From<&ViewerOutcome> for ViewerReport {
    fn from(viewer: &ViewerOutcome) -> Self {
        let measured = &viewer.measured;
        Self {
            answer: viewer.answer.map(millis),
            first_packet: viewer.first_packet.map(millis),
            first_keyframe: viewer.first_keyframe.map(millis),
            packets: measured.packets,
            video_lost: measured.video_lost,
            audio_lost: measured.audio_lost,
            fps: measured.fps(),
            packet_gap: millis(measured.packet_gap),
            frame_gap: millis(measured.frame_gap),
            failure: viewer.failure.clone(),
        }
    }
}

/// Returns the number of failed viewers by reason, with those that were replaced.
#[must_use]
pub fn failures(viewers: &[ViewerOutcome], churn: Option<&ChurnReport>) -> BTreeMap<String, usize> {
    let mut failures = churn.map_or_else(BTreeMap::new, |churn| churn.failures.clone());
    for failure in viewers.iter().filter_map(|viewer| viewer.failure.as_ref()) {
        *failures.entry(failure.clone()).or_default() += 1;
    }
    failures
}

fn percent(cpu: Duration, seconds: f64) -> f64 {
    ratio(100.0 * cpu.as_secs_f64(), seconds).unwrap_or_default()
}

/// Returns a ratio; `None` if the divisor is zero.
fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor)
}

#[cfg(test)]
mod tests {
    use crate::h264::UnitCounts;

    use super::*;

    fn viewer(packets: u64, frames: u64, gap: u64) -> ViewerOutcome {
        ViewerOutcome {
            answer: Some(Duration::from_millis(1)),
            first_packet: Some(Duration::from_millis(gap)),
            measured: Measured {
                interval: Duration::from_secs(10),
                packets,
                bytes: packets * 1000,
                frames,
                packet_gap: Duration::from_millis(gap),
                frame_gap: Duration::from_millis(gap),
                ..Measured::default()
            },
            checks: Checks {
                sent: 5,
                answered: 4,
            },
            ..ViewerOutcome::default()
        }
    }

    fn failed(reason: &str) -> ViewerOutcome {
        ViewerOutcome {
            failure: Some(reason.to_owned()),
            ..ViewerOutcome::default()
        }
    }

    #[test]
    fn media_are_averaged_over_the_viewers_that_joined() {
        let mut lossy = viewer(2000, 290, 70);
        lossy.measured.video_lost = 40;
        lossy.measured.retransmissions = 40;
        let viewers = [viewer(3000, 300, 40), lossy, failed("HTTP status 409")];
        let media = MediaReport::of(&viewers);
        assert_eq!(media.seconds, 10.0);
        assert_eq!(media.packets, 5000);
        assert_eq!(media.packets_per_second, 250.0);
        assert!((media.megabits_per_second - 2.0).abs() < 1e-9);
        assert_eq!((media.fps, media.min_fps), (29.5, 29.0));
        assert_eq!(media.loss_percent, 100.0 * 40.0 / 5000.0);
        assert_eq!(media.packet_gap.unwrap().max, 70.0);
        assert_eq!(media.packet_gap.unwrap().count, 2);
        let checks = ChecksReport {
            sent: 10,
            answered: 8,
        };
        assert_eq!(ChecksReport::of(&viewers), checks);
    }

    #[test]
    fn server_time_and_memory_are_divided_among_packets_and_viewers() {
        let usage = |cpu, resident: u64| ProcessUsage {
            cpu: Duration::from_millis(cpu),
            resident: resident * 1024,
            threads: [("shard".to_owned(), Duration::from_millis(cpu / 2))].into(),
            ..ProcessUsage::default()
        };
        let usage = Usage {
            idle: usage(100, 20_000),
            begin: usage(200, 25_000),
            end: usage(700, 28_000),
            left: usage(800, 21_000),
        };
        let media = MediaReport::of(&[viewer(200_000, 300, 40), viewer(200_000, 300, 40)]);
        let server = ServerReport::of(9, &usage, 2, &media);
        assert_eq!(server.cpu_us_per_packet, Some(1.25));
        assert_eq!(server.cpu_ms_per_second_and_viewer, Some(25.0));
        assert_eq!(server.cpu_percent, 5.0);
        assert_eq!(server.threads[0].cpu_percent, 2.5);
        assert_eq!(server.rss_per_viewer_kib, Some(4000.0));
        assert_eq!(server.rss_after_kib, 21_000);
    }

    #[test]
    fn report_without_any_joined_viewer_is_empty() {
        let viewers = [failed("b"), failed("a"), failed("b")];
        let media = MediaReport::of(&viewers);
        assert_eq!((media.packets, media.fps, media.packet_gap), (0, 0.0, None));
        let server = ServerReport::of(9, &Usage::default(), 0, &media);
        assert_eq!(server.cpu_us_per_packet, None);
        assert_eq!(server.rss_per_viewer_kib, None);
        assert_eq!(JoinReport::of(&viewers).first_packet, None);
        let expected = [("a".to_owned(), 1), ("b".to_owned(), 2)];
        assert_eq!(failures(&viewers, None), expected.into());
    }

    #[test]
    fn content_is_that_of_the_viewers_that_decrypt() {
        let findings = |begins_with_keyframe| Findings {
            units: UnitCounts {
                whole: 10,
                damaged: 2,
                keyframes: 1,
                begins_with_keyframe,
                ..UnitCounts::default()
            },
            refused: 3,
            first_keyframe: None,
        };
        let mut viewers = [viewer(1, 1, 1), viewer(1, 1, 1), viewer(1, 1, 1)];
        viewers[0].findings = Some(findings(true));
        viewers[1].findings = Some(findings(false));
        let content = ContentReport::of(&viewers);
        assert_eq!((content.viewers, content.began_with_keyframe), (2, 1));
        assert_eq!((content.whole, content.damaged), (20, 4));
        assert_eq!(content.refused_packets, 6);
    }

    #[test]
    fn report_is_readable_as_text_and_as_json() {
        let viewers = [viewer(3000, 300, 40), failed("HTTP status 409")];
        let media = MediaReport::of(&viewers);
        let churn = ChurnReport {
            left: 7,
            first_packet: None,
            failures: [("no media".to_owned(), 2)].into(),
        };
        let report = Report {
            url: "http://127.0.0.1:8080/whep/live/test".to_owned(),
            viewers: 2,
            joined: 1,
            failures: failures(&viewers, Some(&churn)),
            churn: Some(churn),
            ramp_per_second: 50.0,
            join: JoinReport::of(&viewers),
            media,
            content: ContentReport::of(&viewers),
            checks: ChecksReport::of(&viewers),
            server: Some(ServerReport::of(9, &Usage::default(), 1, &media)),
            swarm: SwarmReport::of(ReceiveMode::Gro, &Usage::default(), 0, 0.5, &media),
            per_viewer: viewers.iter().map(ViewerReport::from).collect(),
        };
        let text = report.to_string();
        assert!(
            text.contains("2 asked, 1 joined at 50/s, 3 failed"),
            "{text}"
        );
        assert!(text.contains("1 x HTTP status 409"), "{text}");
        assert!(text.contains("2 x no media"), "{text}");
        assert!(
            text.contains("churn     7 left and were replaced"),
            "{text}"
        );
        assert!(text.contains("30.00 fps (least 30.00)"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["join"]["first_packet"]["p95"], 40.0);
        assert_eq!(json["join"]["first_keyframe"], serde_json::Value::Null);
        assert_eq!(json["swarm"]["receive"], "gro");
        assert_eq!(json["per_viewer"][1]["failure"], "HTTP status 409");
    }
}
