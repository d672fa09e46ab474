//! The table, in Markdown.

use serde_json::Value;

use super::load::Load;

/// The states of the gateway's API in a run.
pub(super) struct States {
    /// Before the first publisher.
    pub(super) empty: Value,
    /// With all streams, before the first viewer.
    pub(super) unwatched: Value,
    /// With all viewers.
    pub(super) watched: Value,
}

/// One run. Values that the report does not have are blank.
pub(super) struct Row {
    load: Load,
    shards: usize,
    joined: u64,
    cpu_us_per_packet: Option<f64>,
    floor_us_per_packet: Option<f64>,
    shard_percent: String,
    cpu_percent: Option<f64>,
    packets_per_second: Option<f64>,
    rss_per_viewer_kib: Option<f64>,
    per_stream_kib: Option<f64>,
    parts: String,
    join_p50: Option<f64>,
    join_p95: Option<f64>,
    loss_percent: Option<f64>,
    longest_gap: Option<f64>,
    fan_out_p99: Option<f64>,
}

impl Row {
    /// Takes the values from a report of `whep-swarm`, from the gateway's own stats, and from
    /// the report of `egress-floor` for as many viewers.
    pub(super) fn new(
        load: Load,
        shards: usize,
        report: &Value,
        states: &States,
        floor: &Value,
    ) -> Self {
        let number = |path: &str| number_at(report, path);
        Self {
            load,
            shards,
            joined: report["joined"].as_u64().unwrap_or_default(),
            cpu_us_per_packet: number("/server/cpu_us_per_packet"),
            floor_us_per_packet: floor["cpu_us_per_packet"].as_f64(),
            shard_percent: shard_percent(report),
            cpu_percent: number("/server/cpu_percent"),
            packets_per_second: number("/media/packets_per_second"),
            rss_per_viewer_kib: number("/server/rss_per_viewer_kib"),
            per_stream_kib: per_stream_kib(states, load.streams),
            parts: parts(&states.watched),
            join_p50: number("/join/first_keyframe/p50"),
            join_p95: number("/join/first_keyframe/p95"),
            loss_percent: number("/media/loss_percent"),
            longest_gap: number("/media/packet_gap/max"),
            fan_out_p99: number_at(&states.watched, "/fan_out/p99_ms"),
        }
    }

    /// Returns the number of viewers that one core could serve at this cost.
    fn viewers_per_core(&self) -> Option<f64> {
        let per_viewer = self.cpu_us_per_packet? * self.packets_per_second?;
        (per_viewer > 0.0).then(|| 1e6 / per_viewer)
    }

    fn cells(&self) -> [String; COLUMNS] {
        let shown = |value: Option<f64>, digits: usize| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        [
            self.load.to_string(),
            format!("{} of {}", self.joined, self.load.viewers()),
            self.shards.to_string(),
            shown(self.cpu_us_per_packet, 2),
            shown(self.floor_us_per_packet, 2),
            shown(self.cpu_percent, 0),
            self.shard_percent.clone(),
            shown(self.viewers_per_core(), 0),
            shown(self.rss_per_viewer_kib, 0),
            shown(self.per_stream_kib, 0),
            self.parts.clone(),
            shown(self.join_p50, 0),
            shown(self.join_p95, 0),
            shown(self.loss_percent, 3),
            shown(self.longest_gap, 0),
            shown(self.fan_out_p99, 1),
        ]
    }
}

fn number_at(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path).and_then(Value::as_f64)
}

/// Returns the resident memory for each stream before the first viewer, beside its frames, in KiB.
fn per_stream_kib(states: &States, streams: usize) -> Option<f64> {
    let besides_media = |state: &Value| {
        let media = number_at(state, "/memory/parts/media")?;
        Some(number_at(state, "/process/memory_bytes")? - media)
    };
    let grown = besides_media(&states.unwatched)? - besides_media(&states.empty)?;
    Some(grown / 1024.0 / streams as f64)
}

/// Returns the memory of each part in MiB.
fn parts(state: &Value) -> String {
    let parts = ["media", "logs", "sessions", "history", "other"].iter();
    let parts = parts.filter_map(|name| {
        let bytes = number_at(state, &format!("/memory/parts/{name}"))?;
        Some(format!("{:.1}", bytes / f64::from(1 << 20)))
    });
    parts.collect::<Vec<_>>().join(" + ")
}

/// CPU of each egress shard in percent of a core, in the order of their numbers.
fn shard_percent(report: &Value) -> String {
    let threads = report.pointer("/server/threads").and_then(Value::as_array);
    let mut shards: Vec<(&str, f64)> = threads
        .into_iter()
        .flatten()
        .filter_map(|thread| Some((thread["name"].as_str()?, thread["cpu_percent"].as_f64()?)))
        .filter(|(name, _)| name.starts_with("egress"))
        .collect();
    shards.sort_by_key(|(name, _)| *name);
    let shards = shards.iter().map(|(_, percent)| format!("{percent:.0}"));
    shards.collect::<Vec<_>>().join(" + ")
}

const COLUMNS: usize = 16;

const HEADER: [&str; COLUMNS] = [
    "streams x viewers",
    "joined",
    "shards",
    "CPU us/packet",
    "seal + send alone",
    "CPU %",
    "of the shards",
    "viewers/core",
    "KiB/viewer",
    "KiB/stream",
    "media + logs + sessions + history + other, MiB",
    "join p50 ms",
    "join p95 ms",
    "loss %",
    "longest gap ms",
    "frame in to last out, p99 ms",
];

/// Returns all rows under one header.
pub(super) fn render(rows: &[Row]) -> String {
    let line = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(HEADER.map(str::to_owned));
    text += &line(HEADER.map(|_| "---".to_owned()));
    text.extend(rows.iter().map(|row| line(row.cells())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn report_becomes_a_row() {
        let report = json!({
            "joined": 99,
            "server": {
                "cpu_us_per_packet": 1.25, "cpu_percent": 40.4, "rss_per_viewer_kib": 20.6,
                "threads": [
                    { "name": "egress 1", "cpu_percent": 19.6 },
                    { "name": "egress 0", "cpu_percent": 18.2 },
                    { "name": "audio live/test", "cpu_percent": 2.0 },
                ],
            },
            "media": {
                "packets_per_second": 320.0, "loss_percent": 0.0, "packet_gap": { "max": 51.0 }
            },
            "join": { "first_keyframe": { "p50": 12.0, "p95": 30.4 } },
        });
        let state = |bytes: u64, media: u64| {
            json!({
                "fan_out": { "p99_ms": 3.26 },
                "process": { "memory_bytes": bytes },
                "memory": { "parts": { "media": media, "logs": 512 << 10, "other": 20 << 20 } },
            })
        };
        let states = States {
            empty: state(20 << 20, 0),
            unwatched: state(22 << 20, 1 << 20),
            watched: state(30 << 20, 1 << 20),
        };
        let floor = json!({ "cpu_us_per_packet": 0.96 });
        let load = "10x10".parse().unwrap();
        let rendered = render(&[Row::new(load, 2, &report, &states, &floor)]);
        let last = rendered.lines().last().unwrap();
        assert_eq!(
            last,
            "| 10 x 10 | 99 of 100 | 2 | 1.25 | 0.96 | 40 | 18 + 20 | 2500 | 21 | 102 | 1.0 + 0.5 + 20.0 \
             | 12 | 30 | 0.000 | 51 | 3.3 |"
        );
    }

    #[test]
    fn missing_values_are_blank() {
        let nothing = || json!({});
        let states = States {
            empty: nothing(),
            unwatched: nothing(),
            watched: nothing(),
        };
        let load = "1x1".parse().unwrap();
        let rendered = render(&[Row::new(load, 1, &nothing(), &states, &nothing())]);
        let blank = "  |".repeat(COLUMNS - 3);
        assert!(rendered.ends_with(&format!("| 1 x 1 | 0 of 1 | 1 |{blank}\n")));
    }
}
