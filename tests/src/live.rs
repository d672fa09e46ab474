//! A gateway with a live stream.

use crate::ffmpeg::{Clip, FRAME_RATE, Publisher};
use crate::gateway::Gateway;

/// A gateway on which ffmpeg publishes a clip as `live/test`, with a keyframe every second.
pub struct LiveGateway {
    /// The gateway.
    pub gateway: Gateway,
    /// The clip.
    pub clip: Clip,
    _publisher: Publisher,
}

impl LiveGateway {
    /// Starts both and waits until the stream is live.
    pub async fn start() -> Self {
        let gateway = Gateway::start();
        let clip = Clip::with_gop(FRAME_RATE);
        let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        Self {
            gateway,
            clip,
            _publisher: publisher,
        }
    }
}
