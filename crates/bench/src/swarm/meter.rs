//! Reads the counters of the server, of the swarm and of the machine.

use super::config::SwarmConfig;
use super::error::SwarmError;
use crate::process::{self, ProcessUsage};
use crate::report::{
    ChecksReport, ChurnReport, ContentReport, JoinReport, MediaReport, Report, ServerReport,
    SwarmReport, Usage, ViewerOutcome, ViewerReport, failures,
};

/// Counters of the two processes and the machine.
pub(super) struct Meter {
    server: Option<(u32, Usage)>,
    own: Usage,
    drops: u64,
}

impl Meter {
    pub(super) fn new(server_pid: Option<u32>) -> Result<Self, SwarmError> {
        let mut meter = Self {
            server: server_pid.map(|pid| (pid, Usage::default())),
            own: Usage::default(),
            drops: 0,
        };
        meter.read(|usage| &mut usage.idle)?;
        Ok(meter)
    }

    pub(super) fn begin(&mut self) -> Result<(), SwarmError> {
        self.drops = process::receive_buffer_drops()?;
        self.read(|usage| &mut usage.begin)
    }

    pub(super) fn end(&mut self) -> Result<(), SwarmError> {
        self.read(|usage| &mut usage.end)?;
        self.drops = process::receive_buffer_drops()?.saturating_sub(self.drops);
        Ok(())
    }

    pub(super) fn left(&mut self) -> Result<(), SwarmError> {
        self.read(|usage| &mut usage.left)
    }

    fn read(&mut self, place: fn(&mut Usage) -> &mut ProcessUsage) -> Result<(), SwarmError> {
        if let Some((pid, usage)) = &mut self.server {
            *place(usage) = ProcessUsage::of(*pid)
                .map_err(|source| SwarmError::Server { pid: *pid, source })?;
        }
        *place(&mut self.own) = ProcessUsage::of(std::process::id())?;
        Ok(())
    }

    pub(super) fn report(
        &self,
        config: &SwarmConfig,
        outcomes: &[ViewerOutcome],
        churn: Option<ChurnReport>,
    ) -> Report {
        let joined = outcomes
            .iter()
            .filter(|viewer| viewer.first_packet.is_some());
        let joined = joined.count();
        let media = MediaReport::of(outcomes);
        let load = process::load_average().unwrap_or(f64::NAN);
        Report {
            url: config.url.to_string(),
            viewers: outcomes.len(),
            joined,
            failures: failures(outcomes, churn.as_ref()),
            churn,
            ramp_per_second: config.ramp,
            join: JoinReport::of(outcomes),
            media,
            content: ContentReport::of(outcomes),
            checks: ChecksReport::of(outcomes),
            server: self
                .server
                .as_ref()
                .map(|(pid, usage)| ServerReport::of(*pid, usage, joined, &media)),
            swarm: SwarmReport::of(config.receive, &self.own, self.drops, load, &media),
            per_viewer: outcomes.iter().map(ViewerReport::from).collect(),
        }
    }
}
