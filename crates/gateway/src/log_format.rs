//! The form of log lines for people.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes lines with milliseconds. Those of the level `debug` and below have the module that wrote
/// them; it means nothing to the readers of the others.
pub(crate) struct TextLines {
    brief: Format<Full, Millis>,
    detailed: Format<Full, Millis>,
}

impl Default for TextLines {
    fn default() -> Self {
        let detailed = Format::default().with_timer(Millis);
        Self {
            brief: detailed.clone().with_target(false),
            detailed,
        }
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let format = if *event.metadata().level() > Level::INFO {
            &self.detailed
        } else {
            &self.brief
        };
        format.format_event(context, writer, event)
    }
}

/// The time with milliseconds: `2026-01-31T12:34:56.789Z`.
#[derive(Clone)]
struct Millis;

impl FormatTime for Millis {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let mut text = String::new();
        SystemTime.format_time(&mut Writer::new(&mut text))?;
        writer.write_str(&shortened(&text))
    }
}

/// Shortens microseconds to milliseconds.
fn shortened(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.len() > 4 => {
            format!("{seconds}.{}Z", fraction.get(..3).unwrap_or_default())
        }
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Sink {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn lines_have_milliseconds_and_modules_only_below_info() {
        let sink = Sink::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(sink.clone())
            .with_ansi(false)
            .event_format(TextLines::default());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let viewer = tracing::info_span!("viewer", viewer = "0a1b2c3d");
            tracing::info!(parent: &viewer, frames = 2, "connected");
            tracing::debug!("detail");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let (time, rest) = lines[0].split_at("2026-01-31T12:34:56.789Z".len());
        assert!(time.ends_with('Z') && time.as_bytes()[19] == b'.', "{text}");
        assert_eq!(
            rest,
            "  INFO viewer{viewer=\"0a1b2c3d\"}: connected frames=2"
        );
        let module = module_path!();
        assert!(
            lines[1].ends_with(&format!(" DEBUG {module}: detail")),
            "{text}"
        );
    }

    #[test]
    fn time_of_another_form_stays() {
        assert_eq!(
            shortened("2026-01-31T12:34:56.789123Z"),
            "2026-01-31T12:34:56.789Z"
        );
        assert_eq!(shortened("2026-01-31T12:34:56Z"), "2026-01-31T12:34:56Z");
    }
}
