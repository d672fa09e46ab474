//! `distributary`: RTMP in, WebRTC out.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_gateway::banner::Banner;
use distributary_gateway::signals::Signals;
use distributary_gateway::{Cli, Gateway, limits, logging};

/// How long tasks that have not ended by themselves are waited for.
const TASK_GRACE: Duration = Duration::from_millis(100);

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "distributary: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), AnyError> {
    let config = cli.config()?;
    logging::start(&config.log)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::install()?;
        let gateway = Gateway::start(&config, cli.demo)?;
        let _ = write!(std::io::stdout(), "{}", Banner(gateway.addresses()));
        gateway.run(signals.wait()).await?;
        Ok(())
    });
    runtime.shutdown_timeout(TASK_GRACE);
    result
}
