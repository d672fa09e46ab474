//! The report as text.

use std::fmt;

use super::{
    ChecksReport, ChurnReport, ContentReport, JoinReport, MediaReport, Report, ServerReport,
    SwarmReport,
};
use crate::percentile::Percentiles;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: usize = self.failures.values().sum();
        writeln!(
            f,
            "viewers   {} asked, {} joined at {}/s, {failed} failed: {}",
            self.viewers, self.joined, self.ramp_per_second, self.url
        )?;
        for (reason, count) in &self.failures {
            writeln!(f, "          {count} x {reason}")?;
        }
        if let Some(ChurnReport {
            left, first_packet, ..
        }) = &self.churn
        {
            let times = Times(first_packet);
            writeln!(
                f,
                "churn     {left} left and were replaced; POST -> first packet: {times}"
            )?;
        }
        write!(f, "{}{}", self.join, self.media)?;
        writeln!(
            f,
            "          {} datagrams dropped at full receive buffers of this machine",
            self.swarm.receive_buffer_drops
        )?;
        write!(f, "{}", self.content)?;
        let ChecksReport { sent, answered } = self.checks;
        writeln!(f, "checks    {sent} sent, {answered} answered")?;
        if let Some(server) = &self.server {
            write!(f, "{server}")?;
        }
        write!(f, "{}", self.swarm)
    }
}

impl fmt::Display for JoinReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("answer", &self.answer),
            ("first packet", &self.first_packet),
            ("first keyframe", &self.first_keyframe),
        ];
        for (at, (name, times)) in rows.into_iter().enumerate() {
            let title = if at == 0 { "join" } else { "" };
            writeln!(f, "{title:<10}POST -> {name:<15}{}", Times(times))?;
        }
        Ok(())
    }
}

impl fmt::Display for MediaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "media     {:.1} s, {} packets; each viewer {:.1} packets/s, {:.2} Mbit/s, {:.2} fps (least {:.2})",
            self.seconds,
            self.packets,
            self.packets_per_second,
            self.megabits_per_second,
            self.fps,
            self.min_fps
        )?;
        writeln!(
            f,
            "gaps      longest of packets      {}",
            Times(&self.packet_gap)
        )?;
        writeln!(
            f,
            "          longest of frames       {}",
            Times(&self.frame_gap)
        )?;
        writeln!(
            f,
            "loss      {} video and {} audio packets, {:.4} %; {} retransmissions",
            self.video_lost, self.audio_lost, self.loss_percent, self.retransmissions
        )
    }
}

impl fmt::Display for ContentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "content   {} viewers decrypt, {} began with a keyframe; access units: {} whole, {} damaged, {} malformed; \
             keyframes: {} with parameter sets, {} without; {} packets refused",
            self.viewers,
            self.began_with_keyframe,
            self.whole,
            self.damaged,
            self.malformed,
            self.keyframes,
            self.bare_keyframes,
            self.refused_packets
        )
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "server    {:.2} us CPU per packet, {:.3} ms/s per viewer, {:.1} % of a core (pid {}, nice {})",
            self.cpu_us_per_packet.unwrap_or(f64::NAN),
            self.cpu_ms_per_second_and_viewer.unwrap_or(f64::NAN),
            self.cpu_percent,
            self.pid,
            self.nice
        )?;
        let busy = self
            .threads
            .iter()
            .filter(|thread| thread.cpu_percent > 0.0);
        let threads: Vec<String> = busy
            .map(|thread| format!("{} {:.1} %", thread.name, thread.cpu_percent))
            .collect();
        writeln!(f, "          by thread: {}", threads.join(", "))?;
        writeln!(
            f,
            "          RSS {} -> {} KiB, {:.1} KiB per viewer; {} KiB after they left",
            self.rss_before_kib,
            self.rss_kib,
            self.rss_per_viewer_kib.unwrap_or(f64::NAN),
            self.rss_after_kib
        )
    }
}

impl fmt::Display for SwarmReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "swarm     {} receivers, {:.2} us CPU per packet, {:.1} % of a core (nice {}, load average {:.2})",
            self.receive,
            self.cpu_us_per_packet.unwrap_or(f64::NAN),
            self.cpu_percent,
            self.nice,
            self.load_average
        )
    }
}

/// Percentiles in a line of text.
struct Times<'a>(&'a Option<Percentiles>);

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Percentiles {
                p50, p95, p99, max, ..
            }) => write!(
                f,
                "p50 {p50:.1}  p95 {p95:.1}  p99 {p99:.1}  max {max:.1} ms"
            ),
            None => f.write_str("none"),
        }
    }
}
