//! The text formats of metrics: OpenMetrics, and that of Prometheus for all who do not ask for it.

use std::fmt::Write;

use axum::http::{HeaderMap, header};

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of the text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the media type and the text in the format that a client accepts, from text in
/// OpenMetrics.
pub(super) fn negotiate(headers: &HeaderMap, open_metrics: String) -> (&'static str, String) {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        (OPEN_METRICS, open_metrics)
    } else {
        (PROMETHEUS, to_prometheus(&open_metrics))
    }
}

/// Converts OpenMetrics to the text format of Prometheus, which has neither units nor an end, and
/// describes counters by the names of their samples.
fn to_prometheus(open_metrics: &str) -> String {
    let is_counter = |name: &str| {
        let described = format!("# TYPE {name} counter");
        open_metrics.lines().any(|line| line == described)
    };
    let mut text = String::with_capacity(open_metrics.len());
    let mut counter = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let described = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(kind @ ("HELP" | "TYPE")), Some(name), Some(rest)) => {
                Some((kind, name, rest))
            }
            _ => None,
        };
        // Writing to a String does not fail.
        let _ = match described {
            Some((kind, name, rest)) => {
                // HELP comes before TYPE.
                if kind == "HELP" {
                    counter = is_counter(name).then_some(name);
                }
                let suffix = if counter == Some(name) { "_total" } else { "" };
                writeln!(text, "# {kind} {name}{suffix} {rest}")
            }
            None => writeln!(text, "{line}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const OPEN: &str = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                        a_bytes_total{stream=\"live/a b\"} 7\n# HELP b B.\n# TYPE b gauge\nb 1\n# EOF\n";

    #[test]
    fn prometheus_gets_its_own_format() {
        let (kind, text) = negotiate(&HeaderMap::new(), OPEN.to_owned());
        assert_eq!(kind, PROMETHEUS);
        assert_eq!(
            text,
            "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\n\
             a_bytes_total{stream=\"live/a b\"} 7\n# HELP b B.\n# TYPE b gauge\nb 1\n"
        );
    }

    #[test]
    fn client_that_accepts_open_metrics_gets_it() {
        let accept =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        let accept = (header::ACCEPT, HeaderValue::from_static(accept));
        let headers: HeaderMap = [accept].into_iter().collect();
        assert_eq!(
            negotiate(&headers, OPEN.to_owned()),
            (OPEN_METRICS, OPEN.to_owned())
        );
    }
}
