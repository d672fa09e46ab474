//! The registry of streams.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use tokio::sync::{mpsc, watch};

use crate::admission::{Admission, AdmissionError, Arbiter, Permit, Tenure, WhenTaken};
use crate::audio::AudioPool;
use crate::config::HubConfig;
use crate::demand::{Demand, DemandError, Providers, Wanted};
use crate::journal::Journal;
use crate::memory::{Memory, Pressure};
use crate::offer::Offers;
use crate::players::{Player, Players};
use crate::sent_bytes::SentBytes;
use crate::state::{HubState, Maker};
use crate::stream::{
    Claim, MAX_STANDBYS, Publisher, Reservation, Stream, StreamOwner, Subscription,
};
use crate::stream_table::StreamTable;
use crate::subscriber::Sink;
use crate::takeovers::Takeovers;
use crate::transcoder_stats::{RunningTranscoder, TranscoderCounters, TranscoderStats};
use crate::viewers::{ViewerPermit, Viewers};

/// The reason why a name cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another publisher has this name.
    #[error("the stream is already live")]
    AlreadyLive,
    /// As many publishers of this name as possible stand by already.
    #[error("{MAX_STANDBYS} other publishers stand by for it already")]
    TooManyStandbys,
}

/// All streams of the gateway, by name. A clone is a handle to the same registry.
///
/// A stream exists while it has a publisher, a subscriber or a reservation.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<HubState>,
}

impl Hub {
    /// Returns an empty registry.
    pub fn new(config: HubConfig) -> Self {
        Self::with_audio(config, AudioPool::default())
    }

    /// Returns an empty registry without threads for audio: [`Self::transcode_audio`] does their work.
    #[cfg(feature = "test-util")]
    pub fn with_driven_audio(config: HubConfig) -> Self {
        Self::with_audio(config, AudioPool::driven())
    }

    /// Transcodes the audio that waits, of all streams, in a registry without threads for it.
    #[cfg(feature = "test-util")]
    pub fn transcode_audio(&self) {
        self.shared.audio_pool.run_due();
    }

    fn with_audio(config: HubConfig, audio_pool: AudioPool) -> Self {
        let sent = Arc::<SentBytes>::default();
        let memory = Arc::<Memory>::default();
        Self {
            shared: Arc::new(HubState {
                viewers: Viewers::new(config.viewers, Arc::clone(&memory)),
                memory,
                config: RwLock::new(Arc::new(config)),
                streams: StreamTable::default(),
                providers: Providers::default(),
                arbiter: Arbiter::default(),
                transcoders: TranscoderCounters::default(),
                players: Arc::new(Players::new(Arc::clone(&sent))),
                sent,
                journal: Journal::default(),
                takeovers: Takeovers::default(),
                transcoder: Arc::default(),
                audio_pool: Arc::new(audio_pool),
                maker: Maker::default(),
                changes: watch::Sender::default(),
            }),
        }
    }

    /// Sets the configuration of streams and viewers that come from now on.
    pub fn reconfigure(&self, config: HubConfig) {
        self.shared.viewers.set_limits(config.viewers);
        let current = self.shared.config.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.shared.changes.send_replace(());
    }

    /// Returns a receiver that changes when a stream is published or ends, and when the
    /// configuration changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changes.subscribe()
    }

    /// Returns the configuration of new streams.
    pub fn config(&self) -> Arc<HubConfig> {
        let current = self.shared.config.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts publishing `name`. Subscribers that wait for it are notified.
    ///
    /// # Errors
    /// Returns [`PublishError::AlreadyLive`] if another publisher has the name.
    pub fn publish(&self, name: &StreamName, now: Instant) -> Result<Publisher, PublishError> {
        self.claim(name, now, |stream| stream.take_publisher(now))
            .ok_or(PublishError::AlreadyLive)
    }

    /// Starts publishing `name`, and replaces its current publisher, which is notified;
    /// subscribers see the stream continue.
    pub fn take_over(&self, name: &StreamName, now: Instant) -> Publisher {
        self.claim(name, now, |stream| Some(stream.take_over(now)))
            .expect("a takeover is never refused")
    }

    /// Starts publishing `name` with this permit; if somebody publishes it, here or on another
    /// gateway, stands by to take over when that one is gone or silent (see
    /// [`HubConfig::standby_after`]). [`Publisher::standings`] tells which.
    ///
    /// # Errors
    /// Returns [`PublishError::TooManyStandbys`] if [`MAX_STANDBYS`] publishers stand by already, and none
    /// of them is silent.
    pub fn stand_by(
        &self,
        name: &StreamName,
        permit: Permit,
        now: Instant,
    ) -> Result<Publisher, PublishError> {
        let tenure = permit.tenure.clone();
        let publisher = self.claim(name, now, |stream| stream.stand_by(tenure, now));
        let publisher = publisher.ok_or(PublishError::TooManyStandbys)?;
        Ok(publisher.hold(permit))
    }

    /// Ends the publishing by the publishers of this ownership, unless this gateway has the name
    /// again: those of one that is suspended stand by, others are dismissed. A stream that waits for
    /// a standby of another gateway is offline.
    pub fn end_tenure(&self, name: &StreamName, tenure: &Tenure, now: Instant) {
        if let Some(stream) = self.stream(name) {
            stream.end_tenure(tenure, now);
            self.shared.remove_if_idle(name);
        }
    }

    /// Starts publishing `name` as it arrives from another gateway. Subscribers see the stream
    /// continue if it is live. `None` if it is published on this gateway. Its publishers with permits of
    /// an ownership that has ended are dismissed, or stand by if it is suspended.
    pub fn publish_remote(
        &self,
        name: &StreamName,
        epoch: Instant,
        now: Instant,
    ) -> Option<Publisher> {
        self.claim(name, epoch, |stream| stream.take_remotely(now))
    }

    /// Waits for the permit to publish `name` on this gateway, which the publisher has to hold
    /// ([`Publisher::with_permit`], [`Self::stand_by`]).
    ///
    /// # Errors
    /// Returns [`AdmissionError`] if memory is short and nobody publishes or watches the stream, or
    /// if there is an arbiter and it refuses, or does not answer.
    pub async fn admit(
        &self,
        name: &StreamName,
        when_taken: WhenTaken,
    ) -> Result<Permit, AdmissionError> {
        let is_short = self.shared.memory.pressure() >= Pressure::Publishers;
        // A stream in the registry has a publisher or viewers: it goes on when its encoder
        // reconnects.
        if is_short && self.stream(name).is_none() {
            return Err(AdmissionError::Memory);
        }
        self.shared.arbiter.admit(name, when_taken).await
    }

    /// Registers the arbiter of stream names. Requests arrive in the returned queue; once it is
    /// dropped, all are refused.
    pub fn arbitrate(&self) -> mpsc::Receiver<Admission> {
        self.shared.arbiter.register()
    }

    /// Keeps a stream, published or not, for a viewer that is about to subscribe.
    pub fn reserve(&self, name: &StreamName, now: Instant) -> Reservation {
        let entry = self.entry(name, now);
        entry.add_reservation();
        Reservation::new(Arc::clone(&entry), self.owner())
    }

    /// Finds the stream, or creates it with this timeline origin, and makes the publisher
    /// that `claim` returns the current one.
    pub(crate) fn claim(
        &self,
        name: &StreamName,
        epoch: Instant,
        claim: impl FnOnce(&Stream) -> Option<Claim>,
    ) -> Option<Publisher> {
        let stream = self.entry(name, epoch);
        let claim = claim(&stream)?;
        let stream = Arc::clone(&stream);
        if !name.is_rendition() {
            stream.tell_other_forms();
            self.shared.changes.send_replace(());
        }
        Some(Publisher::new(stream, claim, self.owner()))
    }

    /// Returns the registry, for the handles of its streams.
    fn owner(&self) -> Arc<dyn StreamOwner> {
        Arc::clone(&self.shared) as Arc<dyn StreamOwner>
    }

    /// Finds or creates the stream. While the entry is held the stream cannot be removed as idle.
    fn entry(&self, name: &StreamName, epoch: Instant) -> impl Deref<Target = Arc<Stream>> + '_ {
        let (streams, new) = (&self.shared.streams, name.clone());
        streams.get_or_insert_with(name, move || {
            let transcoder = Arc::clone(&self.shared.transcoder);
            let pool = Arc::clone(&self.shared.audio_pool);
            let memory = Arc::clone(&self.shared.memory);
            let config = self.config();
            Arc::new(Stream::new(new, config, transcoder, pool, memory, epoch))
        })
    }

    /// Subscribes to a stream that exists. Its events arrive in `sink` with `tag` from now on.
    /// Returns the frames that a decoder needs to join now (the GOP so far).
    pub fn subscribe(
        &self,
        name: &StreamName,
        sink: Sink,
        tag: u64,
    ) -> Option<(Subscription, Vec<Arc<Frame>>)> {
        // The map's lock keeps the stream from being removed meanwhile.
        let entry = self.shared.streams.get(name)?;
        let (id, cached) = entry.add_subscriber(sink, tag);
        let stream = Arc::clone(&entry);
        drop(entry);
        let source = name
            .is_rendition()
            .then(|| self.reserve(&name.published(), stream.epoch()));
        Some((Subscription::new(stream, id, self.owner(), source), cached))
    }

    /// Registers a provider of the streams whose names `accepts` accepts.
    /// Requests arrive in the returned queue until it is dropped.
    pub fn provide(
        &self,
        accepts: impl Fn(&StreamName) -> bool + Send + Sync + 'static,
    ) -> mpsc::Receiver<Demand> {
        let providers = &self.shared.providers;
        providers.add(move |wanted| !wanted.name.is_rendition() && accepts(wanted.name))
    }

    /// Registers the provider of the streams of other gateways, and of the renditions that these
    /// have of streams that arrive from there. Requests arrive as with [`Self::provide`].
    pub fn provide_from_elsewhere(&self) -> mpsc::Receiver<Demand> {
        let providers = &self.shared.providers;
        providers.add(|wanted| !wanted.name.is_rendition() || wanted.is_elsewhere)
    }

    /// Returns the maker of renditions.
    pub(crate) fn maker(&self) -> &RwLock<Option<Arc<Offers>>> {
        &self.shared.maker.0
    }

    /// Registers a provider of renditions. Requests arrive as with [`Self::provide`].
    pub(crate) fn provide_as_transcoder(&self) -> mpsc::Receiver<Demand> {
        self.shared.transcoder.set(true);
        let providers = &self.shared.providers;
        providers.add(|wanted| wanted.name.is_rendition() && !wanted.is_elsewhere)
    }

    /// Notes that the availability of renditions is being determined. Log lines that depend on it
    /// are held back until [`provide_renditions`](Self::provide_renditions) or
    /// [`lack_renditions`](Self::lack_renditions) is called.
    pub fn seek_renditions(&self) {
        self.shared.transcoder.seek();
    }

    /// Declares that renditions are not available.
    pub fn lack_renditions(&self) {
        self.shared.transcoder.set(false);
    }

    /// Waits until a stream is live. If it is not, a provider is asked for it.
    ///
    /// # Errors
    /// Returns [`DemandError`] if no provider accepts the name, or the provider is busy or fails.
    pub async fn ensure_live(&self, name: &StreamName) -> Result<(), DemandError> {
        self.ensure_live_for(name, None).await
    }

    /// Waits until a stream is live, on behalf of a client at the address `asker`, which can
    /// request a limited number of streams at a time.
    ///
    /// # Errors
    /// Returns [`DemandError`] as [`Self::ensure_live`].
    pub async fn ensure_live_for(
        &self,
        name: &StreamName,
        asker: Option<IpAddr>,
    ) -> Result<(), DemandError> {
        if self.stream(name).is_some_and(|stream| stream.is_live()) {
            return Ok(());
        }
        self.shared.providers.ask(self.wanted(name), asker).await
    }

    fn wanted<'a>(&self, name: &'a StreamName) -> Wanted<'a> {
        let is_elsewhere = name.is_rendition()
            && self
                .stream(&name.published())
                .is_some_and(|source| source.node().is_some());
        Wanted { name, is_elsewhere }
    }

    /// Returns the counters of memory, and what gives way while it is short.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    /// Drops the GOP caches that are over the limit while memory is short.
    pub fn limit_gops(&self) {
        // Not under the map's lock: each stream has one of its own.
        for stream in self.shared.streams.all() {
            stream.limit_gop();
        }
    }

    /// Returns the count of all viewers, which issues their permits.
    pub fn viewers(&self) -> &Viewers {
        &self.shared.viewers
    }

    /// Returns the count of media sent to viewers.
    pub fn sent_bytes(&self) -> &Arc<SentBytes> {
        &self.shared.sent
    }

    /// Returns the viewers that are not sessions of the WebRTC engine.
    pub fn players(&self) -> &Players {
        &self.shared.players
    }

    /// Returns the journal of the last events.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Returns the count of takeovers by publishers that stood by.
    pub fn takeovers(&self) -> &Takeovers {
        &self.shared.takeovers
    }

    /// Lists a player that has a permit and starts playing a stream.
    pub fn list_player(
        &self,
        stream: &StreamName,
        address: SocketAddr,
        permit: ViewerPermit,
        now: Instant,
    ) -> Player {
        let players = &self.shared.players;
        players.enter(stream.clone(), address, permit, now)
    }

    /// Returns the counters of the transcoder processes.
    pub fn transcoder_stats(&self) -> TranscoderStats {
        self.shared.transcoders.stats()
    }

    /// Returns the id of the process that transcodes the stream `of`, if one runs.
    pub fn transcoder_process(&self, of: &StreamName) -> Option<u32> {
        self.shared.transcoders.process(of)
    }

    /// Returns the ids of all transcoder processes that run.
    pub fn transcoder_processes(&self) -> Vec<u32> {
        self.shared.transcoders.processes()
    }

    /// Counts a transcoder process of the stream `of`, with this id, as running until the returned
    /// value is dropped.
    pub fn count_transcoder(&self, of: &StreamName, process: Option<u32>) -> RunningTranscoder {
        self.shared.transcoders.start(of, process)
    }

    /// Counts a keyframe that a transcoder makes because a viewer needs one.
    pub fn count_requested_keyframe(&self) {
        self.shared.transcoders.note_requested_keyframe();
    }

    /// Counts a failure of a transcoder process, or to start one.
    pub fn count_transcoder_failure(&self) {
        self.shared.transcoders.note_failure();
    }

    /// Requests a stream from its provider without waiting for it. Returns `false` if there is no
    /// provider, or it is busy.
    pub(crate) fn request(&self, name: &StreamName, keyframe_after: Option<MediaTime>) -> bool {
        let providers = &self.shared.providers;
        providers.request(self.wanted(name), keyframe_after).is_ok()
    }

    /// Returns the stream of this name, live or waiting for its publisher to reconnect.
    pub fn stream(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.shared
            .streams
            .get(name)
            .map(|entry| Arc::clone(&entry))
    }

    /// Returns all published streams, in no particular order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams = self.shared.streams.all();
        streams.retain(|stream| !stream.name().is_rendition());
        streams
    }
}
