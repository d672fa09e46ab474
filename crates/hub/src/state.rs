//! The state behind the handles of a hub.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use distributary_names::StreamName;
use tokio::sync::watch;

use crate::admission::Arbiter;
use crate::audio::AudioPool;
use crate::config::HubConfig;
use crate::demand::Providers;
use crate::journal::Journal;
use crate::memory::Memory;
use crate::offer::Offers;
use crate::players::Players;
use crate::sent_bytes::SentBytes;
use crate::stream::StreamOwner;
use crate::stream_table::StreamTable;
use crate::takeovers::Takeovers;
use crate::transcoder::TranscoderPresence;
use crate::transcoder_stats::TranscoderCounters;
use crate::viewers::Viewers;

/// The state behind the handles of a hub.
#[derive(Debug)]
pub(crate) struct HubState {
    pub(crate) config: RwLock<Arc<HubConfig>>,
    pub(crate) streams: StreamTable,
    pub(crate) providers: Providers,
    pub(crate) arbiter: Arbiter,
    pub(crate) transcoders: TranscoderCounters,
    pub(crate) memory: Arc<Memory>,
    pub(crate) viewers: Viewers,
    pub(crate) players: Arc<Players>,
    pub(crate) sent: Arc<SentBytes>,
    pub(crate) journal: Journal,
    pub(crate) takeovers: Takeovers,
    pub(crate) transcoder: Arc<TranscoderPresence>,
    /// The threads that transcode the audio of all streams.
    pub(crate) audio_pool: Arc<AudioPool>,
    pub(crate) maker: Maker,
    /// Changes when a stream is published or ends, and when the configuration changes.
    pub(crate) changes: watch::Sender<()>,
}

/// The maker of renditions, if there is one.
#[derive(Default)]
pub(crate) struct Maker(pub(crate) RwLock<Option<Arc<Offers>>>);

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker")
    }
}

impl StreamOwner for HubState {
    fn remove_if_idle(&self, name: &StreamName) {
        self.streams.remove_if_idle(name);
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn takeovers(&self) -> &Takeovers {
        &self.takeovers
    }

    fn standby_after(&self) -> Duration {
        let config = self.config.read();
        config.unwrap_or_else(PoisonError::into_inner).standby_after
    }

    fn note_change(&self) {
        self.changes.send_replace(());
    }
}
