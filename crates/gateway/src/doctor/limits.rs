//! Limits of the system: open files, memory and socket buffers.

use distributary_egress::{SocketBuffers, socket_buffers};
use distributary_whep::admin::Finding;

use crate::config::Config;
use crate::limits::{Connections, open_files};
use crate::memory::{self, Available};

const FILES: &str = "open files";
const MEMORY: &str = "memory";
const BUFFERS: &str = "buffers";

/// The limits of the system.
pub(super) struct LimitFacts {
    /// The hard limit of open files, to which a start raises the soft one.
    open_files: u64,
    /// The share of each listener, if the limit is too low for all of them.
    share: Option<usize>,
    /// The memory that the process could use, if it is known.
    available: Option<Available>,
    /// Its budget; `None` for none.
    budget: Option<usize>,
    /// The buffers of the media sockets; the system's error if there can be none.
    buffers: Result<SocketBuffers, String>,
}

pub(super) fn facts(config: &Config) -> LimitFacts {
    let open_files = open_files();
    let available = memory::available();
    LimitFacts {
        open_files,
        share: Connections::within(open_files, config).share(),
        available,
        budget: memory::budget(&config.limits, available),
        buffers: socket_buffers().map_err(|error| error.to_string()),
    }
}

pub(super) fn findings(facts: &LimitFacts) -> Vec<Finding> {
    let LimitFacts {
        open_files,
        share,
        available,
        budget,
        buffers,
    } = facts;
    let files = match share {
        None => Finding::ok(FILES, format!("up to {open_files}")),
        Some(share) => Finding::warning(
            FILES,
            format!(
                "up to {open_files}, fewer than the connection limits of the configuration: each listener \
                 gets at most {share} connections"
            ),
        )
        .advise("Raise the limit: LimitNOFILE of systemd, ulimits of a container, /etc/security/limits.conf."),
    };
    let buffers = match buffers {
        Err(error) => Finding::error(BUFFERS, format!("no UDP socket can be made: {error}")),
        Ok(SocketBuffers { wanted, granted }) => {
            let text = format!(
                "media sockets get a receive buffer of {} KiB and a send buffer of {} KiB",
                granted.receive / 1024,
                granted.send / 1024
            );
            if granted.receive >= wanted.receive && granted.send >= wanted.send {
                Finding::ok(BUFFERS, text)
            } else {
                Finding::warning(BUFFERS, text).advise(format!(
                    "With hundreds of viewers, packets are lost in bursts. Allow more: sysctl -w \
                     net.core.rmem_max={} net.core.wmem_max={}",
                    wanted.receive, wanted.send
                ))
            }
        }
    };
    let memory = memory_finding(*available, *budget);
    [Some(files), memory, Some(buffers)]
        .into_iter()
        .flatten()
        .collect()
}

/// Judges the budget of memory; `None` if nothing is known of the machine.
fn memory_finding(available: Option<Available>, budget: Option<usize>) -> Option<Finding> {
    let available = available?;
    Some(match budget {
        None => Finding::warning(MEMORY, format!("no budget, of {available}")).advise(
            "When memory runs out, the kernel ends the gateway. Set memory under [limits].",
        ),
        Some(budget) => {
            let text = format!("a budget of {} MiB, of {available}", budget >> 20);
            if budget > available.bytes {
                Finding::warning(MEMORY, text).advise(
                    "When memory runs out, the kernel ends the gateway before it can refuse anybody. Lower \
                     memory under [limits], or set it to \"auto\".",
                )
            } else {
                Finding::ok(MEMORY, text)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;
    use distributary_egress::BufferSizes;

    #[test]
    fn low_limits_are_warnings_with_the_remedy() {
        let wanted = BufferSizes {
            receive: 4 << 20,
            send: 1 << 20,
        };
        let available = Some(Available {
            bytes: 2 << 30,
            is_container: false,
        });
        let enough = LimitFacts {
            open_files: 524_288,
            share: None,
            available,
            budget: Some(1536 << 20),
            buffers: Ok(SocketBuffers {
                wanted,
                granted: wanted,
            }),
        };
        assert_eq!(
            text(&findings(&enough)),
            "ok       open files    up to 524288\n\
             ok       memory        a budget of 1536 MiB, of the 2048 MiB of this machine\n\
             ok       buffers       media sockets get a receive buffer of 4096 KiB and a send buffer of 1024 KiB\n"
        );
        let low = LimitFacts {
            open_files: 1024,
            share: Some(180),
            available,
            budget: Some(4096 << 20),
            buffers: Ok(SocketBuffers {
                wanted,
                granted: BufferSizes {
                    receive: 212_992,
                    send: 212_992,
                },
            }),
        };
        assert_eq!(
            text(&findings(&low)),
            "warning  open files    up to 1024, fewer than the connection limits of the configuration: each\n\
             \x20                       listener gets at most 180 connections\n\
             \x20                       Raise the limit: LimitNOFILE of systemd, ulimits of a container,\n\
             \x20                       /etc/security/limits.conf.\n\
             warning  memory        a budget of 4096 MiB, of the 2048 MiB of this machine\n\
             \x20                       When memory runs out, the kernel ends the gateway before it can refuse\n\
             \x20                       anybody. Lower memory under [limits], or set it to \"auto\".\n\
             warning  buffers       media sockets get a receive buffer of 208 KiB and a send buffer of 208 KiB\n\
             \x20                       With hundreds of viewers, packets are lost in bursts. Allow more: sysctl -w\n\
             \x20                       net.core.rmem_max=4194304 net.core.wmem_max=1048576\n"
        );
        assert!(socket_buffers().unwrap().granted.send > 0);
    }
}
