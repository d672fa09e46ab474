//! Histograms of the viewers' paths: each viewer is observed every ten seconds.
//!
//! They only grow, so that Prometheus can compute rates of them and sum them over gateways.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_egress::engine::{Engine, SessionInfo};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{MissedTickBehavior, interval};

use super::metric_labels::{Labels, OfStream};

/// Interval between two observations of a viewer.
const INTERVAL: Duration = Duration::from_secs(10);

/// Buckets of path bandwidth, in bytes per second: 0.5 to 64 Mbit/s.
const BANDWIDTHS: [f64; 8] = [62.5e3, 125e3, 250e3, 500e3, 1e6, 2e6, 4e6, 8e6];

/// Buckets of round trip times, in seconds.
const ROUND_TRIPS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8];

/// Buckets of packet loss, as a ratio.
const LOSSES: [f64; 7] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// Buckets of the playout delay asked of viewers, in seconds. The first counts those that are asked
/// for none.
const PLAYOUT_DELAYS: [f64; 8] = [0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0];

type Histograms = Family<OfStream, Histogram, fn() -> Histogram>;

/// The histograms by stream. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct ViewerSamples {
    bandwidth: Histograms,
    round_trip: Histograms,
    loss: Histograms,
    delay: Histograms,
    labels: Arc<Mutex<Labels>>,
}

impl Default for ViewerSamples {
    fn default() -> Self {
        Self {
            bandwidth: Family::new_with_constructor(|| Histogram::new(BANDWIDTHS)),
            round_trip: Family::new_with_constructor(|| Histogram::new(ROUND_TRIPS)),
            loss: Family::new_with_constructor(|| Histogram::new(LOSSES)),
            delay: Family::new_with_constructor(|| Histogram::new(PLAYOUT_DELAYS)),
            labels: Arc::default(),
        }
    }
}

impl ViewerSamples {
    /// Observes the viewers of an engine, while it is polled.
    pub async fn observe_all(self, engine: Engine) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for viewer in engine.session_infos(None) {
                self.observe(&viewer);
            }
        }
    }

    /// Observes a viewer, if it is connected.
    pub(super) fn observe(&self, viewer: &SessionInfo) {
        if !viewer.stats.is_connected {
            return;
        }
        let of = {
            let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
            labels.of(&viewer.stream)
        };
        let peer = &viewer.stats.peer;
        if let Some(bits) = peer.bandwidth {
            self.bandwidth.get_or_create(&of).observe(bits as f64 / 8.0);
        }
        if let Some(time) = peer.round_trip {
            self.round_trip
                .get_or_create(&of)
                .observe(time.as_secs_f64());
        }
        if let Some(time) = peer.playout_delay {
            self.delay.get_or_create(&of).observe(time.as_secs_f64());
        }
        if let Some(part) = viewer.stats.loss() {
            self.loss.get_or_create(&of).observe(part);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "viewer_bandwidth_bytes_per_second",
            "Estimated path bandwidth of viewers, observed every ten seconds",
            self.bandwidth.clone(),
        );
        registry.register_with_unit(
            "viewer_round_trip",
            "Round trip times to viewers, observed every ten seconds",
            Unit::Seconds,
            self.round_trip.clone(),
        );
        registry.register_with_unit(
            "viewer_playout_delay",
            "Playout delay that viewers are asked to keep, so that repairs of lost packets arrive in time, observed every \
             ten seconds",
            Unit::Seconds,
            self.delay.clone(),
        );
        registry.register(
            "viewer_loss_ratio",
            "Ratio of packets that viewers lose, observed every ten seconds",
            self.loss.clone(),
        );
    }
}
