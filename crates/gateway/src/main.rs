//! `distributary`: RTMP in, WebRTC out.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_gateway::banner::Banner;
use distributary_gateway::check::check;
use distributary_gateway::cli::{Cli, Task};
use distributary_gateway::config::ConfigError;
use distributary_gateway::gateway::{Ending, Gateway};
use distributary_gateway::health::health;
use distributary_gateway::reload::Reload;
use distributary_gateway::signals::{Request, Signals};
use distributary_gateway::{Config, logging};
use distributary_net::ListenAddress;
use tokio::sync::watch;

/// Maximum time that remaining tasks have to end.
const TASK_GRACE: Duration = Duration::from_millis(100);

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.task {
        Some(Task::Check { file }) => Config::read(file)
            .map_err(AnyError::from)
            .and_then(|config| Ok(check(&config)?))
            .map(|()| {
                let _ = writeln!(std::io::stdout(), "{} is valid", file.display());
            }),
        Some(Task::Health { address }) => ask_health(&cli, address.as_ref()),
        None => run(cli),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, there is nowhere to report it.
            let _ = writeln!(std::io::stderr(), "distributary: {error}");
            let config_error = error.downcast_ref::<ConfigError>();
            if let Some(excerpt) = config_error.and_then(ConfigError::excerpt) {
                let _ = writeln!(std::io::stderr(), "{excerpt}");
            }
            ExitCode::FAILURE
        }
    }
}

fn ask_health(cli: &Cli, address: Option<&ListenAddress>) -> Result<(), AnyError> {
    let configured = cli.config()?.http;
    Ok(health(address.unwrap_or(&configured))?)
}

fn run(cli: Cli) -> Result<(), AnyError> {
    let config = cli.config()?;
    let log = logging::start(&config.log, config.log_format, config.log_lines_per_minute)?;
    cli.warn_of_unknown_variables();
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let signals = Signals::install()?;
        let gateway = Gateway::start(&config, cli.demo)?;
        let _ = write!(std::io::stdout(), "{}", Banner(gateway.addresses()));
        tokio::spawn(log.clone().report());
        let reload = Reload::new(cli, config, gateway.live(), log);
        let (end, ending) = watch::channel(None);
        tokio::spawn(handle(signals, reload, end));
        gateway.run(ending).await?;
        Ok(())
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
