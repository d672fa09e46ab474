//! Answers the hub's demands for renditions.

use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Demand, Hub, provide_each};
use tokio::process::Command;
use tokio::sync::mpsc;
use tracing::{Instrument, error_span, info, warn};

use crate::availability::Availability;
use crate::config::TranscodeConfig;
use crate::context::TranscodeContext;
use crate::encoder::clear_environment;
use crate::job::Job;

/// Timeout for the program to print its version.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes renditions of the hub's streams while somebody watches them.
#[derive(Debug)]
pub struct Transcoder {
    context: Arc<TranscodeContext>,
    demands: mpsc::Receiver<Demand>,
    version: String,
}

/// The reason why streams cannot be transcoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The program cannot be run.
    #[error("{command:?} cannot be run: {source}")]
    Run {
        /// The program.
        command: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The program does not answer.
    #[error("{command:?} does not print its version within {FIND_TIMEOUT:?}")]
    Silent {
        /// The program.
        command: String,
    },
    /// The program is not ffmpeg.
    #[error("{command:?} is not ffmpeg: it prints no version of it ({status})")]
    NotFfmpeg {
        /// The program.
        command: String,
        /// Its exit status.
        status: ExitStatus,
    },
}

impl Transcoder {
    /// Finds the program, and registers with the hub as the provider of renditions.
    ///
    /// # Errors
    /// When there is no such program, or it is not ffmpeg.
    pub async fn find(config: TranscodeConfig, hub: Hub) -> Result<Self, FindError> {
        let version = version(&config.command).await?;
        let availability = Arc::new(Availability::new(&config));
        let offered = Arc::clone(&availability);
        Ok(Self {
            demands: hub.provide_renditions(move |source| offered.offers(source)),
            context: Arc::new(TranscodeContext {
                hub,
                config,
                availability,
                has_fps_mode: has_fps_mode(&version),
            }),
            version,
        })
    }

    /// Returns the version of the program.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Transcodes on demand until `shutdown` completes. All encoders end with it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let begin = |demand: &Demand, waiting| {
            let name = demand.name().published();
            let span = error_span!("transcode", stream = name.as_str());
            let job = Job::new(Arc::clone(&self.context), name, waiting);
            Ok(job.run().instrument(span))
        };
        provide_each(self.demands, begin, shutdown).await;
    }
}

/// Transcodes on demand until `shutdown` completes, if the program is found.
pub async fn run(config: TranscodeConfig, hub: Hub, shutdown: impl Future<Output = ()>) {
    if config.command.is_empty() {
        hub.lack_renditions();
        return shutdown.await;
    }
    match Transcoder::find(config.clone(), hub.clone()).await {
        Ok(transcoder) => {
            info!(
                command = config.command,
                version = transcoder.version(),
                "streams are transcoded for viewers that cannot decode them"
            );
            transcoder.run(shutdown).await;
        }
        Err(reason) => {
            hub.lack_renditions();
            // The default looks for the program; a machine without it is not misconfigured.
            if config == TranscodeConfig::default() {
                info!(%reason, "no stream is transcoded");
            } else {
                warn!(%reason, "no stream is transcoded: see [transcode]");
            }
            shutdown.await;
        }
    }
}

/// Asks the program for its version.
async fn version(command: &str) -> Result<String, FindError> {
    let mut program = Command::new(command);
    clear_environment(&mut program);
    let output = program
        .args(["-hide_banner", "-version"])
        .kill_on_drop(true)
        .output();
    let command = command.to_owned();
    let output = match tokio::time::timeout(FIND_TIMEOUT, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(FindError::Run { command, source }),
        Err(_) => return Err(FindError::Silent { command }),
    };
    // ffmpeg version 7.1 Copyright (c) 2000-2024 the FFmpeg developers
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .strip_prefix("ffmpeg version ")
        .and_then(|rest| rest.split_whitespace().next());
    let status = output.status;
    version
        .map(str::to_owned)
        .ok_or(FindError::NotFfmpeg { command, status })
}

/// Returns whether a version of ffmpeg has the option `-fps_mode`: 5.1 and later, and builds that
/// are named after a revision (`N-109000-g1234`, `git-2024-01-01`).
fn has_fps_mode(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('n').split(['.', '-']);
    let mut number = || numbers.next()?.parse::<u32>().ok();
    number().is_none_or(|major| major > 5 || (major == 5 && number().unwrap_or(0) >= 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_hub::{DemandError, HubConfig};
    use distributary_names::{RenditionId, StreamName};

    async fn find(command: &str) -> (Hub, Result<Transcoder, FindError>) {
        let hub = Hub::new(HubConfig::default());
        let config = TranscodeConfig {
            command: command.to_owned(),
            ..TranscodeConfig::default()
        };
        let found = Transcoder::find(config, hub.clone()).await;
        (hub, found)
    }

    #[test]
    fn versions_of_ffmpeg_are_told_apart() {
        for version in [
            "5.1.9-0+deb12u1",
            "n6.0",
            "7.1",
            "8",
            "N-109000-gabc",
            "git-2024",
        ] {
            assert!(has_fps_mode(version), "{version}");
        }
        for version in [
            "4.3.9-0+deb11u1",
            "4.4.2-0ubuntu0.22.04.1",
            "5.0.1",
            "5",
            "n4.4",
        ] {
            assert!(!has_fps_mode(version), "{version}");
        }
    }

    #[tokio::test]
    async fn error_names_a_program_that_is_not_ffmpeg() {
        let (_, missing) = find("no-such-program").await;
        let error = missing.unwrap_err().to_string();
        assert!(
            error.starts_with("\"no-such-program\" cannot be run: "),
            "{error}"
        );
        let (hub, other) = find("echo").await;
        assert!(matches!(other, Err(FindError::NotFfmpeg { .. })));
        let rendition = StreamName::parse("live/test")
            .unwrap()
            .rendition(&RenditionId::H264);
        assert_eq!(
            hub.ensure_live(&rendition).await,
            Err(DemandError::NoProvider)
        );
    }

    #[tokio::test]
    async fn missing_stream_has_no_rendition() {
        let (hub, found) = find("ffmpeg").await;
        let transcoder = found.unwrap();
        assert!(!transcoder.version().is_empty());
        let rendition = StreamName::parse("live/test")
            .unwrap()
            .rendition(&RenditionId::H264);
        tokio::select! {
            () = transcoder.run(std::future::pending()) => panic!("it runs until shutdown"),
            answer = hub.ensure_live(&rendition) => {
                assert!(matches!(answer, Err(DemandError::Failed(_))), "{answer:?}");
            }
        }
        assert!(hub.stream(&rendition).is_none());
    }
}
