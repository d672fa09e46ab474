//! State that the transcodes of all streams share.

use std::sync::Arc;

use distributary_hub::Hub;

use crate::availability::Availability;
use crate::config::TranscodeConfig;

#[derive(Debug)]
pub(crate) struct TranscodeContext {
    pub(crate) hub: Hub,
    pub(crate) config: TranscodeConfig,
    pub(crate) availability: Arc<Availability>,
    /// True for ffmpeg 5.1 and later, which has `-fps_mode` in place of `-vsync`.
    pub(crate) has_fps_mode: bool,
}
