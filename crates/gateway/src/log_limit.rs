//! Limits for the log lines that one client can cause.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use distributary_net::network;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Duration of a window, in which each client has its number of lines.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of clients that are tracked in a window; further ones share one allowance.
const MAX_CLIENTS: usize = 16_384;

/// Maximum number of clients that are named when lines were suppressed; one line covers the others.
const MAX_NAMED: usize = 10;

/// Fields of events and spans that contain the address of a client.
const ADDRESS_FIELDS: [&str; 5] = ["address", "peer", "remote", "from", "ip"];

/// Suppresses lines of a client beyond a number in a [`WINDOW`]. An IPv6 /64 network is one client.
/// Lines without a client are counted by the line of code that logs them.
#[derive(Clone, Debug)]
pub struct LogLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Number of lines in a window; 0 for no limit.
    lines: AtomicU32,
    written: Mutex<HashMap<Writer, u64>>,
}

/// The source of a log line, to which a limit applies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Client(IpAddr),
    Code(Identifier),
    /// All sources beyond the maximum.
    Rest,
}

/// The client of a span.
struct Client(IpAddr);

impl LogLimit {
    /// Creates a limit of lines per client and window; 0 for no limit.
    pub fn new(lines: u32) -> Self {
        Self(Arc::new(Shared {
            lines: AtomicU32::new(lines),
            written: Mutex::default(),
        }))
    }

    /// Returns the number of lines per client and window.
    pub fn lines(&self) -> u32 {
        self.0.lines.load(Ordering::Relaxed)
    }

    /// Changes the number of lines per client and window.
    pub fn set(&self, lines: u32) {
        self.0.lines.store(lines, Ordering::Relaxed);
    }

    /// Begins a new window, and returns the suppressed lines of the last one, the largest count
    /// first.
    fn turn(&self) -> Vec<(Writer, u64)> {
        let limit = u64::from(self.0.lines.load(Ordering::Relaxed));
        let written = std::mem::take(&mut *self.written());
        let mut suppressed: Vec<_> = written
            .into_iter()
            .filter(|(_, count)| limit > 0 && *count > limit)
            .map(|(writer, count)| (writer, count - limit))
            .collect();
        suppressed.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        suppressed
    }

    /// Begins a new window, and logs the suppressed lines of the last one.
    pub fn report(&self) {
        let mut suppressed = self.turn();
        let others = suppressed.split_off(suppressed.len().min(MAX_NAMED));
        for (writer, lines) in suppressed {
            match writer {
                Writer::Client(address) => {
                    tracing::warn!(%address, lines, "log lines about a client were suppressed");
                }
                Writer::Code(code) => {
                    let written_by = code.0.metadata().name();
                    tracing::warn!(written_by, lines, "similar log lines were suppressed");
                }
                Writer::Rest => tracing::warn!(lines, "log lines were suppressed"),
            }
        }
        if !others.is_empty() {
            let lines: u64 = others.iter().map(|(_, count)| count).sum();
            let clients = others.len();
            tracing::warn!(
                clients,
                lines,
                "log lines about other clients were suppressed"
            );
        }
    }

    /// Counts a line. Returns whether it may be written.
    fn count(&self, writer: Writer) -> bool {
        let limit = self.0.lines.load(Ordering::Relaxed);
        if limit == 0 {
            return true;
        }
        let mut written = self.written();
        let is_full = written.len() >= MAX_CLIENTS && !written.contains_key(&writer);
        let writer = if is_full { Writer::Rest } else { writer };
        let count = written.entry(writer).or_default();
        *count += 1;
        *count <= u64::from(limit)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<Writer, u64>> {
        self.0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for LogLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        let mut address = Address::default();
        event.record(&mut address);
        let of_span = || {
            let mut spans = context.event_scope(event).into_iter().flatten();
            spans.find_map(|span| span.extensions().get::<Client>().map(|client| client.0))
        };
        let client = address.0.or_else(of_span).map(Writer::Client);
        self.count(client.unwrap_or_else(|| Writer::Code(event.metadata().callsite())))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut address = Address::default();
        attributes.record(&mut address);
        if let (Some(ip), Some(span)) = (address.0, context.span(id)) {
            span.extensions_mut().replace(Client(ip));
        }
    }
}

/// The address among the fields of an event or span.
#[derive(Default)]
struct Address(Option<IpAddr>);

impl Visit for Address {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.is_none() && ADDRESS_FIELDS.contains(&field.name()) {
            let text = format!("{value:?}");
            let ip = text.parse().or_else(|_| {
                let with_port: Result<SocketAddr, _> = text.parse();
                with_port.map(|address| address.ip())
            });
            self.0 = ip.ok().map(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{EnvFilter, Layer, fmt};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the output of a log with this limit.
    fn written(limit: &LogLimit, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .with_filter(limit.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_client_has_its_own_allowance() {
        let limit = LogLimit::new(3);
        let text = written(&limit, || {
            for port in 1..1000 {
                let peer = SocketAddr::from(([192, 0, 2, 1], port));
                tracing::info!(%peer, "noise");
            }
            // From a span around the event, and from an IPv6 network.
            for host in 1..1000 {
                let address = format!("2001:db8::{host:x}");
                let span = tracing::info_span!("viewer", address);
                let with_display = tracing::info_span!("viewer", address = %address);
                drop(span);
                tracing::info!(parent: &with_display, "hiss");
            }
            tracing::info!(address = %"192.0.2.2", "calm");
        });
        assert_eq!(text.matches("noise").count(), 3);
        assert_eq!(text.matches("hiss").count(), 3);
        assert_eq!(text.matches("calm").count(), 1);

        let told = written(&limit, || limit.report());
        assert!(told.contains("address=192.0.2.1 lines=996"), "{told}");
        assert!(told.contains("address=2001:db8:: lines=996"), "{told}");
        assert!(!told.contains("192.0.2.2"), "{told}");
        let again = written(&limit, || {
            tracing::info!(peer = %"192.0.2.1:5", "noise");
        });
        assert_eq!(again.matches("noise").count(), 1, "a new window has begun");
    }

    #[test]
    fn lines_without_a_client_are_limited_by_their_origin() {
        let limit = LogLimit::new(2);
        let text = written(&limit, || {
            for _ in 0..100 {
                tracing::warn!("not accepted");
            }
            tracing::warn!("another");
        });
        assert_eq!(text.matches("not accepted").count(), 2);
        assert_eq!(text.matches("another").count(), 1);
    }

    #[test]
    fn further_clients_share_one_allowance_and_few_are_named() {
        let limit = LogLimit::new(1);
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        let mut passed = 0;
        for n in 0..MAX_CLIENTS as u32 * 2 {
            for _ in 0..2 {
                passed += usize::from(limit.count(Writer::Client(ip(n))));
            }
        }
        assert_eq!(passed, MAX_CLIENTS + 1);
        assert_eq!(limit.written().len(), MAX_CLIENTS + 1);
        let told = written(&limit, || limit.report());
        assert!(told.lines().count() <= MAX_NAMED + 1, "{told}");
        assert!(limit.written().len() <= MAX_NAMED + 1);
    }

    #[test]
    fn disabled_levels_are_not_counted() {
        let layer = fmt::layer().with_filter(LogLimit::new(1));
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new("info"))
            .with(layer);
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(tracing::Level::INFO));
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
        });
    }

    #[test]
    fn zero_means_no_limit() {
        let limit = LogLimit::new(0);
        let text = written(&limit, || {
            for _ in 0..1000 {
                tracing::info!("all");
            }
        });
        assert_eq!(text.matches("all").count(), 1000);
        assert!(limit.turn().is_empty() && limit.written().is_empty());
    }
}
