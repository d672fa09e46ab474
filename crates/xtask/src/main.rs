//! Development tasks of Distributary: `cargo xtask <task>`.
//!
//! * `cargo xtask test`: everything that must hold before a change lands, see [`check`].
//! * `cargo xtask bench`: the cost of a viewer, as one table, see [`mod@bench`].
//! * `cargo xtask attack`: the effects of hostile clients on the gateway, as one table, see
//!   [`mod@attack`].
//! * `cargo xtask join`: how viewers in Chromium join over slow and lossy paths, see [`mod@join`].
//! * `cargo xtask cluster`: what viewers of a cluster see when parts of it fail, see
//!   [`mod@cluster`].
//! * `cargo xtask simulate`: simulations by seed, see [`mod@simulate`].
//! * `cargo xtask soak`: whether anything grows while clients come and go, see [`mod@soak`].
//! * `cargo xtask dist`: the artifacts of a release, see [`mod@dist`].
//! * `cargo xtask third-party`: the licenses of what is built into the gateway, see
//!   [`third_party`].
//! * `cargo xtask demo-clip`: makes the clip that `distributary --demo` publishes, see
//!   [`demo_clip`].

mod attack;
mod bench;
mod check;
mod cluster;
mod demo_clip;
mod dist;
mod document;
mod join;
mod load;
mod node;
mod npm;
mod programs;
mod python;
mod simulate;
mod soak;
mod summary;
mod third_party;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of Distributary.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the formatting, the lints, the documentation and the fuzz targets, and run all tests.
    ///
    /// On Debian, as root, programs that are missing (ffmpeg, chromium, ...) are installed first;
    /// elsewhere the command says which ones to install.
    Test(check::Options),
    /// Measure the cost of viewers: CPU, memory, joins and gaps, as one table.
    ///
    /// The gateway, a publisher and the viewers run on this machine, release builds, over loopback.
    Bench(bench::Options),
    /// Attack the gateway, and measure the effects on it and on its viewers, as one table.
    ///
    /// Each attack meets a fresh gateway (a release build) with an honest publisher and an innocent
    /// viewer, in a network namespace of its own, where the attacker has addresses that are not
    /// loopback ones.
    Attack(attack::Options),
    /// Measure how viewers in Chromium join over paths with delay, loss and a slow link.
    ///
    /// Gateway and browser run on this machine, in network namespaces of their own with a simulated
    /// path between them.
    Join(join::Options),
    /// Measure what viewers of a cluster see when its gateways, NATS servers or links fail.
    ///
    /// Gateways and NATS servers run on this machine, each pair in a network namespace of its own.
    Cluster(cluster::Options),
    /// Simulate the gateway with publishers, viewers and bad networks, by seed.
    ///
    /// A seed that fails is printed with the simulated time and the last events, and goes the same
    /// way each time.
    Simulate(simulate::Options),
    /// Let viewers and publishers come and go, and find what grows or stays.
    ///
    /// Samples memory, threads, file descriptors and metrics of a gateway (a release build), reloads
    /// its configuration each minute, and reads its log. The exit code is 0 if nothing grows and
    /// everything returns.
    Soak(soak::Options),
    /// Make the artifacts of a release: archive, Debian package, list of components, checksums.
    ///
    /// They are in target/dist. On Debian, as root, programs that are missing are installed first.
    Dist(dist::Options),
    /// Print the components that are built into the gateway, and their licenses.
    ThirdParty(third_party::Options),
    /// Make the clip that `distributary --demo` publishes, with ffmpeg.
    DemoClip(demo_clip::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Test(options) => check::run(&options).map_err(|error| error.to_string()),
        Task::Bench(options) => bench::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::Attack(options) => attack::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::Join(options) => join::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::Cluster(options) => cluster::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::Simulate(options) => simulate::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::Soak(options) => soak::run(&options).map_err(|error| error.to_string()),
        Task::Dist(options) => dist::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::ThirdParty(options) => third_party::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        Task::DemoClip(options) => demo_clip::run(&options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
