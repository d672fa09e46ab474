//! The memory of the process: its budget, and how it is kept.
//!
//! * [`keep`]: watches the memory that the process uses.
//! * `machine`: what the machine, or the container, has.
//! * `trim`: returns freed memory to the system.

mod machine;
mod trim;

use std::time::{Duration, Instant};

use distributary_config::size;
use distributary_egress::engine::Engine;
use distributary_hub::{Hub, LimitsConfig, MemoryBudget, Pressure};
use distributary_whep::admin::resident_memory;

use crate::config::Config;
pub(crate) use machine::{Available, available};
use trim::{Tide, Trims, trim};

/// Interval between two checks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Checks after which the numbers of viewers and streams are looked at.
const TIDE_CHECKS: u32 = 4;

/// Least size of a budget that leaves room for publishers and viewers.
const LEAST_BUDGET: usize = 128 << 20;

/// Percent of the memory of the machine that the process may use by default. The rest is for the
/// kernel, its socket buffers, and transcoders.
const AUTO_PERCENT: usize = 75;

/// Returns the budget in bytes that a configuration sets on a machine with this much memory; `None`
/// is no limit.
pub(crate) fn budget(limits: &LimitsConfig, available: Option<Available>) -> Option<usize> {
    match limits.memory {
        MemoryBudget::Bytes(0) => None,
        MemoryBudget::Bytes(bytes) => Some(bytes),
        MemoryBudget::Auto => available.map(|Available { bytes, .. }| bytes / 100 * AUTO_PERCENT),
    }
}

/// Returns what a configuration asks for that this memory cannot hold.
pub(crate) fn warnings(config: &Config, available: Option<Available>) -> Vec<String> {
    let LimitsConfig {
        memory,
        memory_per_publisher,
    } = config.limits;
    let mut warnings = Vec::new();
    if let (MemoryBudget::Bytes(bytes), Some(available)) = (memory, available)
        && bytes > available.bytes
    {
        warnings.push(format!(
            "memory = \"{}\" under [limits] is more than {available}: when memory runs out, the kernel \
             ends the gateway before it can refuse anybody; \"auto\" is {AUTO_PERCENT} % of it",
            size::Display(bytes)
        ));
    }
    if let MemoryBudget::Bytes(bytes @ 1..LEAST_BUDGET) = memory {
        warnings.push(format!(
            "memory = \"{}\" under [limits] is less than {}: the program itself takes much of it, so \
             publishers and viewers may all be refused",
            size::Display(bytes),
            size::Display(LEAST_BUDGET)
        ));
    }
    let cache_size = config.streams.cache_size;
    if memory_per_publisher > 0 && memory_per_publisher / 2 < cache_size {
        warnings.push(format!(
            "memory_per_publisher = \"{}\" under [limits] is less than twice cache_size = \"{}\" under \
             [streams]: GOP caches hold no more than half of it",
            size::Display(memory_per_publisher),
            size::Display(cache_size)
        ));
    }
    warnings
}

/// Keeps the memory of the process within its budget, and returns free memory each time many
/// viewers or streams have left, while it is polled.
pub(crate) async fn keep(hub: Hub, engine: Engine) {
    let available = available();
    let mut tide = Tide::default();
    let mut trims = Trims::default();
    let mut checks = 0;
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        let now = interval.tick().await.into_std();
        checks = (checks + 1) % TIDE_CHECKS;
        if checks == 0 && tide.has_gone_out(engine.sessions() + hub.streams().len()) {
            let _ = tokio::task::spawn_blocking(trim).await;
        }
        let budget = budget(&hub.config().limits, available);
        let Some(mut used) = resident_memory() else {
            continue;
        };
        if Pressure::at(used, budget) > Pressure::None && trims.is_due(now) {
            // Memory that is free already is no reason to refuse anybody.
            let _ = tokio::task::spawn_blocking(trim).await;
            let before = used;
            used = resident_memory().unwrap_or(used);
            trims.note(before, used, now);
        }
        note(&hub, used, budget, now);
    }
}

/// Applies what follows from the memory in use, and logs a new step.
fn note(hub: &Hub, used: usize, budget: Option<usize>, now: Instant) {
    let gop_limit = hub.memory().gop_limit();
    let change = hub.memory().update(used, budget, now);
    if hub.memory().gop_limit() < gop_limit {
        hub.limit_gops();
    }
    let Some((before, after)) = change else {
        return;
    };
    let (used, budget) = (used >> 20, budget.unwrap_or_default() >> 20);
    let step = match after {
        Pressure::None => "memory suffices again: new publishers and viewers are accepted",
        Pressure::Publishers => "memory is short: new publishers are refused",
        Pressure::Gops => "memory is short: new publishers are refused, and GOP caches shrink",
        Pressure::Viewers => {
            "memory is short: new publishers and viewers are refused, and GOP caches shrink"
        }
    };
    if after > before {
        tracing::warn!(
            used_mib = used,
            budget_mib = budget,
            "{step}; the budget is the key memory under [limits]"
        );
    } else {
        tracing::info!(used_mib = used, budget_mib = budget, "{step}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_a_part_of_the_machine_unless_it_is_configured() {
        let available = Some(Available {
            bytes: 1000,
            is_container: false,
        });
        let limits = |memory| LimitsConfig {
            memory,
            ..LimitsConfig::default()
        };
        for (memory, expected) in [
            (MemoryBudget::Auto, Some(750)),
            (MemoryBudget::Bytes(0), None),
            (MemoryBudget::Bytes(5000), Some(5000)),
        ] {
            assert_eq!(budget(&limits(memory), available), expected);
        }
        assert_eq!(budget(&limits(MemoryBudget::Auto), None), None);
    }

    #[test]
    fn limits_that_cannot_hold_are_warned_of() {
        let warned = |text: &str, is_container| {
            let config: Config = toml::from_str(text).unwrap();
            let bytes = 2 << 30;
            warnings(
                &config,
                Some(Available {
                    bytes,
                    is_container,
                }),
            )
        };
        assert_eq!(warned("[limits]\nmemory = \"2GiB\"", true), [""; 0]);
        assert_eq!(
            warned("[limits]\nmemory = \"64MiB\"", true),
            [
                "memory = \"64MiB\" under [limits] is less than 128MiB: the program itself takes much of \
              it, so publishers and viewers may all be refused"
            ]
        );
        assert_eq!(
            warned("[limits]\nmemory = \"3GiB\"", true),
            [
                "memory = \"3GiB\" under [limits] is more than the 2048 MiB that the control group \
              (systemd, container) allows: when memory runs out, the kernel ends the gateway before it \
              can refuse anybody; \"auto\" is 75 % of it"
            ]
        );
        assert_eq!(
            warned(
                "[limits]\nmemory = \"0B\"\nmemory_per_publisher = \"32MiB\"",
                false
            ),
            [
                "memory_per_publisher = \"32MiB\" under [limits] is less than twice cache_size = \"32MiB\" \
              under [streams]: GOP caches hold no more than half of it"
            ]
        );
    }
}
