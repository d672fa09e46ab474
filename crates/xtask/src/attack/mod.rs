//! `cargo xtask attack`: the effects of hostile clients on the gateway, as one table.
//!
//! ```text
//! rtmp-swarm (honest) ──RTMP──►              ──WebRTC──► whep-swarm (innocent)
//!                               distributary
//! hostile ─────────────────────►             ──HTTP────► GET /healthz, once a second
//!                                    ▲
//!                                    └── memory, threads, file descriptors: ten times a second
//! ```
//!
//! Everything runs on this machine, in a network namespace of its own (see [`network`]). The
//! attacker takes its share of the processors, as it would not from elsewhere: a machine with one
//! core shows less.

mod health;
mod network;
mod plan;
mod sampler;
mod scene;
mod table;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use clap::Args;

use crate::load::{LoadError, Programs, machine};
use plan::PLANS;
use scene::Scene;
use table::Row;

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these attacks, by name
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = plan::names())]
    only: Vec<String>,
    /// Time that each attack takes
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Megabits per second that the attacker may send
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Another gateway to attack, such as an older build; by default that of this tree is built
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
    /// Kill a gateway that has more than this many GiB of memory, as the limit of a container would
    #[arg(long, default_value_t = 4)]
    memory_limit: u64,
    /// True if this process is in the network namespace already
    #[arg(long, hide = true)]
    inside: bool,
}

/// Attacks, and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    if !options.inside {
        let mut crates = vec!["distributary-bench"];
        crates.extend(options.gateway.is_none().then_some("distributary-gateway"));
        let programs = Programs::build(&crates)?;
        programs.clip()?;
        return network::enter();
    }
    let programs = Programs::built()?;
    let gateway = options.gateway.clone();
    let scene = Scene {
        clip: programs.clip()?,
        gateway: gateway.unwrap_or_else(|| programs.folder.join("distributary")),
        seconds: options.seconds,
        rate: options.rate,
        memory_limit: options.memory_limit << 30,
        programs,
    };
    let is_wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut rows: Vec<Row> = Vec::new();
    for plan in PLANS.iter().filter(|plan| is_wanted(plan.name)) {
        eprintln!("{}", plan.name);
        let row = scene.play(plan)?;
        // Each row as it comes: all of them take a while.
        eprint!("{}", table::line(&row));
        rows.push(row);
    }
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    println!("\n{}\n", machine::describe(cores));
    println!("{}", table::render(&rows));
    Ok(())
}
