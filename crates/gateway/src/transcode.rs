//! The part of the configuration that is about encoding streams anew.

use std::future::Future;

use distributary_hub::Hub;
use distributary_transcode::{TranscodeConfig, Transcoder};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::units::{Size, Time};

/// How streams are encoded anew for viewers that cannot show them as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transcode {
    /// The program, ffmpeg; nothing is encoded anew when this is empty.
    pub command: String,
    /// Its options for decoding, separated by spaces.
    pub decode: String,
    /// Its options for encoding, likewise.
    pub encode: String,
    /// How long an encoder is kept that nobody watches any more.
    pub idle_timeout: Time,
    /// Most encoders at a time.
    pub max: usize,
    /// How much lower than that of the gateway an encoder's priority is.
    pub nice: u8,
    /// Most memory of an encoder.
    pub max_memory: Size,
    /// Most pixels of a video frame that is transcoded.
    pub max_pixels: u64,
}

impl Default for Transcode {
    fn default() -> Self {
        let config = TranscodeConfig::default();
        Self {
            command: config.command,
            decode: config.decode.join(" "),
            encode: config.encode.join(" "),
            idle_timeout: Time(config.idle_timeout),
            max: config.max,
            nice: config.nice,
            max_memory: Size(config.max_memory),
            max_pixels: config.max_pixels,
        }
    }
}

impl Transcode {
    fn config(&self) -> TranscodeConfig {
        let options = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        TranscodeConfig {
            command: self.command.clone(),
            decode: options(&self.decode),
            encode: options(&self.encode),
            idle_timeout: self.idle_timeout.0,
            max: self.max,
            nice: self.nice.min(19),
            max_memory: self.max_memory.0,
            max_pixels: self.max_pixels,
        }
    }

    /// Encodes what the hub is asked for until `shutdown` completes, if there is something to do it with.
    pub(crate) async fn run(self, hub: Hub, shutdown: impl Future<Output = ()>) {
        if self.command.is_empty() {
            return shutdown.await;
        }
        match Transcoder::find(self.config(), hub).await {
            Ok(transcoder) => {
                info!(
                    command = self.command,
                    version = transcoder.version(),
                    "streams that viewers cannot show as they are can be encoded anew"
                );
                transcoder.run(shutdown).await;
            }
            Err(reason) => {
                // It is the default to look for it, and no fault not to have it.
                match self == Self::default() {
                    true => info!(%reason, "no stream is transcoded"),
                    false => warn!(%reason, "no stream is transcoded: see [transcode]"),
                }
                shutdown.await;
            }
        }
    }
}
