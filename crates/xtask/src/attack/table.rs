//! The table, in Markdown.

use serde_json::Value;

use super::health::Health;
use super::sampler::Course;
use crate::load::process::Sample;

/// Results of one attack.
pub(super) struct Row {
    pub(super) attack: &'static str,
    pub(super) course: Course,
    pub(super) health: Health,
    /// Milliseconds until an honest viewer that came during the attack had a keyframe.
    pub(super) newcomer: Option<f64>,
    /// Milliseconds until an honest publisher that came during the attack was granted its name.
    pub(super) publisher: Option<f64>,
    /// The report of `whep-swarm` on the innocent viewer.
    pub(super) viewer: Value,
    /// The report of `hostile`.
    pub(super) attacker: Value,
    /// Bytes that the gateway has logged during the attack.
    pub(super) log_growth: u64,
}

const COLUMNS: usize = 11;

const HEADER: [&str; COLUMNS] = [
    "attack",
    "RSS MiB: before -> peak -> 10 s after",
    "threads",
    "fds",
    "innocent viewer: longest frame gap ms",
    "fps",
    "/healthz: longest ms (failed)",
    "newcomer joins in ms",
    "publisher begins in ms",
    "log KiB",
    "attacker: MB sent, what it saw",
];

const MIB: f64 = (1 << 20) as f64;

impl Row {
    fn cells(&self) -> [String; COLUMNS] {
        let granted = |time: Option<f64>| match time {
            Some(millis) => format!("{millis:.0}"),
            None => "**failed**".to_owned(),
        };
        let viewer = |path: &str| match self.viewer.pointer(path).and_then(Value::as_f64) {
            Some(value) => format!("{value:.0}"),
            None => "none".to_owned(),
        };
        [
            self.attack.to_owned(),
            self.memory(),
            self.shown(|sample| sample.threads as f64),
            self.shown(|sample| sample.descriptors as f64),
            viewer("/media/frame_gap/max"),
            viewer("/media/fps"),
            format!(
                "{} ({})",
                self.health.longest.as_millis(),
                self.health.failures
            ),
            granted(self.newcomer),
            granted(self.publisher),
            (self.log_growth / 1024).to_string(),
            self.observations(),
        ]
    }

    fn memory(&self) -> String {
        let mut text = self.shown(|sample| sample.resident as f64 / MIB);
        let of_children = self.course.peak.of_children as f64 / MIB;
        if of_children > 0.0 {
            text += &format!(" (children: {of_children:.0})");
        }
        text += match (self.course.was_killed, self.course.has_ended) {
            (true, _) => ", **killed at the memory limit**",
            (false, true) => ", **process ended**",
            (false, false) => "",
        };
        text
    }

    fn shown(&self, value: impl Fn(&Sample) -> f64) -> String {
        let Course {
            before,
            peak,
            after,
            ..
        } = &self.course;
        let values = [before, peak, after].map(|sample| format!("{:.0}", value(sample)));
        values.join(" -> ")
    }

    fn observations(&self) -> String {
        let sent = self.attacker["sent"].as_f64().unwrap_or_default();
        let mut parts = vec![format!("{:.1}", sent / 1e6)];
        let observed = self.attacker["observed"].as_object();
        for (name, value) in observed.into_iter().flatten() {
            let value = value.as_f64().unwrap_or_default();
            let digits = if value.fract() == 0.0 { 0 } else { 1 };
            parts.push(format!("{name}: {value:.digits$}"));
        }
        parts.extend(
            self.attacker["error"]
                .as_str()
                .map(|error| format!("ended: {error}")),
        );
        parts.join("; ").replace('|', "/")
    }
}

/// Returns all rows under one header.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = joined(&HEADER.map(str::to_owned));
    text += &joined(&HEADER.map(|_| "---".to_owned()));
    text.extend(rows.iter().map(line));
    text
}

/// One row.
pub(super) fn line(row: &Row) -> String {
    joined(&row.cells())
}

fn joined(cells: &[String; COLUMNS]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn row() -> Row {
        let sample = |mib: u64, threads, descriptors| Sample {
            resident: mib << 20,
            threads,
            descriptors,
            of_children: 0,
        };
        Row {
            attack: "an-attack",
            course: Course {
                before: sample(20, 7, 30),
                peak: sample(700, 9, 31),
                after: sample(21, 7, 30),
                ..Course::default()
            },
            health: Health {
                longest: Duration::from_millis(12),
                failures: 1,
            },
            newcomer: Some(23.4),
            publisher: None,
            viewer: json!({ "media": { "fps": 29.97, "frame_gap": { "max": 51.2 } } }),
            attacker: json!({
                "sent": 2_500_000, "observed": { "amplification": 3.26, "restarts": 7.0 },
                "error": "HTTP status 429",
            }),
            log_growth: 3000,
        }
    }

    #[test]
    fn attack_becomes_a_row() {
        let rendered = render(&[row()]);
        assert_eq!(
            rendered.lines().last().unwrap(),
            "| an-attack | 20 -> 700 -> 21 | 7 -> 9 -> 7 | 30 -> 31 -> 30 | 51 | 30 | 12 (1) | 23 | \
             **failed** | 2 | 2.5; amplification: 3.3; restarts: 7; ended: HTTP status 429 |"
        );
    }

    #[test]
    fn ended_gateway_is_a_result() {
        let mut ended = row();
        ended.viewer = Value::Null;
        ended.course.has_ended = true;
        let rendered = render(&[ended]);
        assert!(
            rendered.contains("-> 21, **process ended** |"),
            "{rendered}"
        );
        assert!(rendered.contains("| none | none |"), "{rendered}");
        let mut killed = row();
        killed.course.has_ended = true;
        killed.course.was_killed = true;
        assert!(render(&[killed]).contains("**killed at the memory limit**"));
    }
}
