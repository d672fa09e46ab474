//! Measures how viewers in Chromium join over paths with delay, loss and a slow link.
//!
//! ```text
//! publisher's machine                      gateway's machine                 viewer's machine
//!   ffmpeg ──TUN──► path (this process) ──TUN──► distributary ◄──TUN──► path ◄──TUN──► Chromium
//! ```
//!
//! * [`network`]: three machines as network namespaces; [`mod@line`]: the thread that carries the packets
//!   between two of them.
//! * [`path`], [`losses`] and [`bottleneck`]: when each packet arrives, if it does, without sockets and
//!   clocks.
//! * [`live`]: a gateway with a stream.
//! * [`plan`]: the measurements; [`lab`]: one of them, [`join`] by join; [`row`]: their table.
//! * [`course`]: the measurements of renditions, with their tables in [`switch`] and [`start`];
//!   [`crowd`]: many viewers; [`networks`]: bad networks, with their table in [`watch`].
//!
//! `cargo xtask join` builds this program and starts it in namespaces of its own.

mod bottleneck;
mod condition;
mod course;
mod crowd;
mod join;
mod lab;
mod line;
mod live;
mod losses;
mod network;
mod networks;
mod packet;
mod path;
mod plan;
mod row;
mod start;
mod stream;
mod switch;
mod watch;

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{self, ExitCode};
use std::thread;

use clap::Parser;

use crate::lab::Lab;
use crate::plan::Mode;
use crate::switch::{Swinging, Switching};

/// Measures how viewers in Chromium join over paths with delay, loss and a slow link.
///
/// Times are in milliseconds; of several joins, tables have the median and the worst. All rows of a
/// run meet the same random losses.
#[derive(Parser)]
#[command(name = "cargo xtask join", bin_name = "cargo xtask join")]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
    /// Another gateway to measure, such as an older build; by default that of this tree is built
    #[arg(
        long,
        global = true,
        value_name = "PROGRAM",
        default_value = "distributary",
        hide_default_value = true
    )]
    gateway: String,
    /// Configuration file of the gateway
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// Print all joins as JSON instead of the table
    #[arg(long, global = true)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    end_with_parent();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends this process, and with it everything in its namespaces, when standard input ends: `cargo
/// xtask join` holds the other end, and lets it go in whatever way it ends.
fn end_with_parent() {
    thread::spawn(|| {
        let ended = io::copy(&mut io::stdin(), &mut io::sink());
        ended.map_or_else(|_| process::exit(1), |_| process::exit(1))
    });
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let gateway = cli.gateway.clone();
    let lab = Lab::new(cli.gateway, cli.config).await?;
    let Some(plan) = cli.mode.plan() else {
        return courses(&cli.mode, &lab, &gateway, cli.json).await;
    };
    let mut rows = Vec::new();
    for condition in &plan.conditions {
        let row = lab.measure(&plan, condition).await?;
        // Each row as it comes: all of them take a while.
        eprint!("{}", row::line(plan.columns, &row));
        rows.push(row);
    }
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{gateway}, {}, {} joins in each row\n",
        lab.browser().await,
        plan.joins
    );
    println!("{}", row::table(plan.columns, &rows));
    Ok(())
}

/// Measures what viewers get while time passes.
async fn courses(
    mode: &Mode,
    lab: &Lab,
    gateway: &str,
    is_json: bool,
) -> Result<(), Box<dyn Error>> {
    let (json, table) = match mode {
        Mode::Switch(links) => {
            let mut rows = Vec::new();
            for slow in &links.slow {
                let (notes, begins) = lab.follow(&links.course(*slow)).await?;
                let [_, slowdown, recovery] = begins[..] else {
                    return Err("--seconds takes three numbers".into());
                };
                let name = format!("{} → {slow} → {}", links.fast, links.fast);
                rows.push((name, Switching::new(&notes, slowdown, recovery)));
            }
            (serde_json::to_string_pretty(&rows)?, switch::table(&rows))
        }
        Mode::Swing(links) => {
            let mut rows = Vec::new();
            for low in &links.low {
                let (notes, begins) = lab.follow(&links.course(*low)).await?;
                let begin = begins.get(1).copied().unwrap_or_default();
                let name = format!("{} ↔ {low} in {} s", links.high, links.period);
                rows.push((name, Swinging::new(&notes, begin)));
            }
            let table = switch::swing_table(&rows);
            (serde_json::to_string_pretty(&rows)?, table)
        }
        Mode::Layer(layer) => {
            let starts = lab.start_rendition(layer).await?;
            let table = start::table(&layer.layer, &starts);
            (serde_json::to_string_pretty(&starts)?, table)
        }
        Mode::Networks(networks) => {
            let mut rows = Vec::new();
            for network in networks.rows() {
                let row = lab.endure(network).await?;
                // Each row as it comes: all of them take a while.
                eprintln!("{}", row.line());
                rows.push(row);
            }
            (serde_json::to_string_pretty(&rows)?, watch::table(&rows))
        }
        Mode::Crowd(crowd) => {
            let mut rows = Vec::new();
            for rate in &crowd.rate {
                rows.push(lab.watch_as_crowd(crowd, *rate).await?);
            }
            (serde_json::to_string_pretty(&rows)?, crowd::table(&rows))
        }
        _ => return Ok(()),
    };
    if is_json {
        println!("{json}");
    } else {
        // Without its folder: the table may go to the documentation.
        let program = Path::new(gateway).file_name().unwrap_or_default();
        println!("{}, {}\n", program.display(), lab.browser().await);
        println!("{table}");
    }
    Ok(())
}
