//! `distributary`: RTMP in, WebRTC out.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_gateway::banner::{Banner, QrCode};
use distributary_gateway::cli::{Cli, warn_of_unknown};
use distributary_gateway::commands::{self, check::Findings};
use distributary_gateway::config::reading::Reading;
use distributary_gateway::gateway::{Ending, Gateway};
use distributary_gateway::logging;
use distributary_gateway::reload::Reload;
use distributary_gateway::signals::{Request, Signals};
use tokio::sync::watch;

/// Maximum time that remaining tasks have to end.
const TASK_GRACE: Duration = Duration::from_millis(100);

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    let result = match cli.task.take() {
        Some(task) => commands::run(task),
        None => run(cli),
    };
    result.unwrap_or_else(|error| {
        // If standard error is closed, there is nowhere to report it.
        let _ = writeln!(std::io::stderr(), "distributary: {error}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode, AnyError> {
    let reading = cli.read();
    let findings = Findings::of(&reading);
    if !findings.errors.is_empty() {
        let _ = write!(std::io::stderr(), "{findings}");
        return Ok(ExitCode::FAILURE);
    }
    let Reading {
        config, unknown, ..
    } = reading;
    let log = logging::start(&config.log, config.log_format, config.log_lines_per_minute)?;
    warn_of_unknown(&unknown);
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let signals = Signals::install()?;
        let gateway = Gateway::start(&config, cli.demo)?;
        let _ = write!(std::io::stdout(), "{}", Banner(gateway.addresses()));
        if cli.qr {
            let _ = write!(std::io::stdout(), "{}", QrCode(gateway.addresses()));
        }
        tokio::spawn(log.clone().report());
        let reload = Reload::new(cli, config, gateway.live(), log);
        let (end, ending) = watch::channel(None);
        tokio::spawn(handle(signals, reload, end));
        gateway.run(ending).await?;
        Ok(ExitCode::SUCCESS)
    });
    runtime.shutdown_timeout(TASK_GRACE);
    result
}

/// Handles signals. A second request to end is deliberate: it ends at once.
async fn handle(mut signals: Signals, mut reload: Reload, end: watch::Sender<Option<Ending>>) {
    loop {
        match signals.next().await {
            Request::Reload => reload.reload(),
            Request::Terminate if end.borrow().is_none() => {
                end.send_replace(Some(Ending::Drain));
            }
            Request::Terminate | Request::Interrupt => {
                end.send_replace(Some(Ending::Now));
            }
        }
    }
}
