//! The media of one publisher on its way into the hub.
//!
//! * [`Ingest`]: demuxes the messages and pushes the frames.
//! * `track_change`: limits how often a track changes its configuration.
//! * `missing`: notices that a track has no usable frames.
//! * `complaints`: the reasons why media is dropped.
//! * `description`: the metadata and the tracks that are not used.
//! * `further`: the further video tracks of a multitrack publisher; `held`: their access units that
//!   wait for the next slice.

mod complaints;
mod description;
mod further;
mod held;
mod missing;
#[cfg(test)]
mod tests;
mod track_change;

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{Dismissal, Hub, MissingAudio, MissingVideo, Publisher, Refusal, Stream};
use distributary_media::flv::{FlvDemuxer, FlvError, FlvEvent, FlvEvents, TagKind};
use distributary_media::h264::Limitation;
use distributary_media::{AudioTrack, Frame, MediaTime, TimedData, VideoTrack};
use tracing::{debug, info, warn};

use crate::proto::amf::Value;
use crate::proto::media::MediaMessage;
use crate::proto::metadata::Metadata;
use crate::server::json::{memory, to_json};
use complaints::{Complaint, Complaints};
use description::Description;
use further::FurtherTracks;
use held::HeldFurther;
use missing::{MissingChange, MissingFrames};
use track_change::{Change, TrackChange};

/// Maximum memory of one data message, in bytes; a larger one is dropped. The last metadata is kept
/// for new viewers, and other data waits in the queues of the viewers.
const MAX_DATA_MEMORY: usize = 128 << 10;

/// Maximum time between the slices of an access unit, if each is a separate message. After it the
/// access unit is used as far as it has arrived: the last one before a pause is shown this much
/// later, and one that a network stall has cut in two is incomplete.
const ACCESS_UNIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream that is being published. The stream goes offline when this is dropped.
#[derive(Debug)]
pub(crate) struct Ingest {
    /// Before the publisher, so that the tracks end first.
    further: FurtherTracks,
    held_further: HeldFurther,
    publisher: Publisher,
    demuxer: FlvDemuxer,
    /// Time at which the access unit that the demuxer holds began or grew.
    held_at: Instant,
    description: Description,
    began: Instant,
    latest: Instant,
    frames: u64,
    bytes: u64,
    video: TrackChange<VideoTrack>,
    audio: TrackChange<AudioTrack>,
    /// Set when a video frame was dropped: decoders show garbage until the next keyframe.
    awaits_keyframe: bool,
    has_keyframe: bool,
    missing_video: MissingFrames,
    missing_audio: MissingFrames,
    complaints: Complaints,
}

impl Ingest {
    /// Returns the ingest of a publisher of `hub` at `address`, if it has one, that starts at `now`.
    pub(crate) fn new(
        hub: Hub,
        publisher: Publisher,
        address: Option<SocketAddr>,
        now: Instant,
    ) -> Self {
        let description = Description::new(address);
        publisher.set_info(description.info().clone());
        publisher.note_begin(address.map(|address| address.ip()), now);
        Self {
            further: FurtherTracks::new(hub),
            held_further: HeldFurther::default(),
            publisher,
            demuxer: FlvDemuxer::live(),
            held_at: now,
            description,
            began: now,
            latest: now,
            frames: 0,
            bytes: 0,
            video: TrackChange::default(),
            audio: TrackChange::default(),
            awaits_keyframe: false,
            has_keyframe: false,
            missing_video: MissingFrames::default(),
            missing_audio: MissingFrames::default(),
            complaints: Complaints::default(),
        }
    }

    /// Handles a message of the publisher that arrived at `now`.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses it.
    pub(crate) fn handle(&mut self, message: MediaMessage, now: Instant) -> Result<(), Refusal> {
        self.latest = now;
        self.handle_deadline(now)?;
        match message {
            MediaMessage::Video { timestamp, body } => {
                self.bytes += body.len() as u64;
                let held_tags = self.demuxer.held_tags();
                let mut further = Vec::new();
                let events = self
                    .demuxer
                    .handle_video_tracks(timestamp, body, &mut further);
                if self.demuxer.held_tags() != held_tags {
                    self.held_at = now;
                }
                self.feed(TagKind::Video, events, now)?;
                self.held_further
                    .update(self.demuxer.holding_further(), now);
                self.further
                    .handle(further, &self.publisher, &mut self.complaints, now)?;
                self.check_missing_video(now);
            }
            MediaMessage::Audio { timestamp, body } => {
                self.bytes += body.len() as u64;
                let events = self.demuxer.handle_audio(timestamp, body);
                self.feed(TagKind::Audio, events, now)?;
                self.check_missing_audio(now);
            }
            MediaMessage::Data {
                timestamp,
                name,
                values,
            } => self.push_data(timestamp, name, &values, now),
            MediaMessage::DataIgnored { error } => debug!(%error, "data message ignored"),
        }
        Ok(())
    }

    /// Returns the time at which [`handle_deadline`](Self::handle_deadline) has to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let main = self.main_deadline();
        let further = self.held_further.earliest();
        let further = further.map(|held_at| held_at + ACCESS_UNIT_TIMEOUT);
        main.into_iter().chain(further).min()
    }

    fn main_deadline(&self) -> Option<Instant> {
        let is_holding = self.demuxer.is_holding();
        is_holding.then(|| self.held_at + ACCESS_UNIT_TIMEOUT)
    }

    /// Pushes the access units that have waited too long for their next slices.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses it.
    pub(crate) fn handle_deadline(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.main_deadline().is_some_and(|due| due <= now) {
            self.flush()?;
        }
        match now.checked_sub(ACCESS_UNIT_TIMEOUT) {
            Some(time) => self.flush_further(time),
            None => Ok(()),
        }
    }

    /// Pushes the access unit that is held. It counts as arrived when it did: by the time from there
    /// to the next one the hub tells a pause from a jump of the publisher's clock.
    fn flush(&mut self) -> Result<(), Refusal> {
        let events = self.demuxer.flush();
        self.feed(TagKind::Video, events, self.held_at)
    }

    /// Pushes the access units of further tracks that last grew at `time` or before.
    fn flush_further(&mut self, time: Instant) -> Result<(), Refusal> {
        for (number, held_at) in self.held_further.until(time) {
            let further = self.demuxer.flush_further(number).into_iter().collect();
            self.further
                .handle(further, &self.publisher, &mut self.complaints, held_at)?;
        }
        self.held_further
            .update(self.demuxer.holding_further(), self.latest);
        Ok(())
    }

    /// Returns the published stream.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.publisher.stream()
    }

    /// Returns whether viewers get its frames: it does not stand by.
    pub(crate) fn is_active(&self) -> bool {
        self.publisher.is_active()
    }

    /// Returns whether a frame was accepted.
    pub(crate) fn has_frames(&self) -> bool {
        self.frames > 0
    }

    /// Returns the number of accepted frames.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns whether both a video and an audio track have been declared.
    pub(crate) fn has_both_tracks(&self) -> bool {
        let stats = self.stream().stats();
        stats.video.is_some() && stats.audio.is_some()
    }

    /// Pushes timed data, and reads it if it is metadata.
    fn push_data(&mut self, time: MediaTime, name: String, values: &[Value], now: Instant) {
        if name == TimedData::METADATA {
            let metadata = values.first().map(Metadata::read).unwrap_or_default();
            if self.description.set_metadata(metadata, now) {
                self.publisher.set_info(self.description.info().clone());
            }
        }
        let memory = values.iter().map(memory).sum::<usize>();
        if memory > MAX_DATA_MEMORY {
            debug!(name, memory, "data message dropped: too large");
            return;
        }
        let values = values.iter().map(to_json).collect();
        self.publisher
            .push_data(TimedData { time, name, values }, now);
    }

    /// Completes when the publisher is dismissed.
    pub(crate) fn dismissed(&self) -> impl Future<Output = Dismissal> + Send + use<> {
        self.publisher.dismissed()
    }

    /// Notes that the publisher itself ends the stream.
    pub(crate) fn finish(&mut self) {
        self.publisher.finish();
    }

    /// Pushes the access unit of each track that is held, and logs the end of the stream and its
    /// reason.
    pub(crate) fn end(mut self, reason: &dyn Display) {
        // The stream ends, so a refusal has no effect.
        let _ = self.flush();
        let _ = self.flush_further(self.latest);
        info!(
            %reason,
            seconds = self.latest.duration_since(self.began).as_secs(),
            frames = self.frames,
            bytes = self.bytes,
            unusable_tags = NonZeroU64::new(self.complaints.dropped()),
            "publishing ended"
        );
        self.publisher.note_end(reason, crate::clock::now());
    }

    fn feed(
        &mut self,
        kind: TagKind,
        events: Result<FlvEvents, FlvError>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                self.complain(kind, Complaint::Unusable(error), now);
                return Ok(());
            }
        };
        for event in events {
            match event {
                FlvEvent::VideoTrack(track) => {
                    if self.video.declare(track) {
                        self.change_video(now);
                    }
                }
                FlvEvent::AudioTrack(track) => {
                    if self.audio.declare(track) {
                        self.change_audio(now);
                    }
                }
                FlvEvent::OtherTrack(track) => {
                    self.description.add_other_track(track, now);
                    self.publisher.set_info(self.description.info().clone());
                }
                FlvEvent::SlicesJoined => info!(
                    "slices of one frame arrive in several messages: they are joined, which delays video by one frame"
                ),
                FlvEvent::Frame(frame) => self.push(frame, now)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame, now: Instant) -> Result<(), Refusal> {
        let (is_configured, kind) = match frame {
            Frame::Video(_) => (self.change_video(now), TagKind::Video),
            Frame::Audio(_) => (self.change_audio(now), TagKind::Audio),
        };
        if !is_configured {
            self.awaits_keyframe |= kind == TagKind::Video;
            self.complain(kind, Complaint::ChangesTooOften(kind), now);
            return Ok(());
        }
        if kind == TagKind::Video {
            self.awaits_keyframe &= !frame.is_keyframe();
            if self.awaits_keyframe {
                self.complaints.count();
                return Ok(());
            }
            self.has_keyframe |= frame.is_keyframe();
            self.missing_video.note_frame(self.has_keyframe, now);
        } else {
            self.missing_audio.note_frame(true, now);
        }
        self.frames += 1;
        self.publisher.push(frame, now)
    }

    /// Puts a declared configuration of the video track into force, if the limits admit it. Returns
    /// whether no configuration is pending.
    fn change_video(&mut self, now: Instant) -> bool {
        let Some(Change { mut track, is_new }) = self.video.take(now) else {
            return !self.video.is_pending();
        };
        let metadata = self.description.metadata();
        // The size of VP9 is unknown before the first keyframe, except from the metadata.
        if track.width == 0 {
            track.width = metadata.width.unwrap_or_default() as u32;
            track.height = metadata.height.unwrap_or_default() as u32;
        }
        if is_new {
            info!(
                codec = %track.codec,
                size = %format_args!("{}x{}", track.width, track.height),
                fps = metadata.frame_rate,
                "video track"
            );
            if let Some(limitation) = Limitation::of_track(&track) {
                warn!("not every viewer can show this stream: {limitation}");
            }
        }
        self.publisher.set_video_track(track);
        true
    }

    /// Does for the audio track as [`change_video`](Self::change_video) for the video track.
    fn change_audio(&mut self, now: Instant) -> bool {
        let Some(Change { track, is_new }) = self.audio.take(now) else {
            return !self.audio.is_pending();
        };
        if is_new {
            info!(
                codec = %track.codec,
                sample_rate = track.sample_rate,
                channels = track.channels,
                "audio track"
            );
        }
        self.publisher.set_audio_track(track);
        true
    }

    /// Reports in the log and the API that video arrives without usable frames, and that it
    /// recovers.
    fn check_missing_video(&mut self, now: Instant) {
        match self.missing_video.check(true, now) {
            MissingChange::Unchanged => {}
            MissingChange::Recovered => self.publisher.set_missing_video(None),
            MissingChange::Missing { log } => {
                let missing = MissingVideo {
                    has_keyframe: self.has_keyframe,
                    reason: self.missing_video.complaint().map(ToString::to_string),
                };
                if let Some(seconds) = log {
                    warn!(seconds, "{missing}");
                }
                self.publisher.set_missing_video(Some(missing));
            }
        }
    }

    /// Does the same for audio. Without dropped media nothing is missing: a publisher may send only
    /// headers.
    fn check_missing_audio(&mut self, now: Instant) {
        let is_dropped = self.missing_audio.complaint().is_some();
        match self.missing_audio.check(is_dropped, now) {
            MissingChange::Unchanged => {}
            MissingChange::Recovered => self.publisher.set_missing_audio(None),
            MissingChange::Missing { log } => {
                let reason = self.missing_audio.complaint().map(ToString::to_string);
                let missing = MissingAudio {
                    reason: reason.unwrap_or_default(),
                };
                if let Some(seconds) = log {
                    warn!(seconds, "{missing}");
                }
                self.publisher.set_missing_audio(Some(missing));
            }
        }
    }

    /// Counts a tag or frame that cannot be used, and logs why.
    fn complain(&mut self, kind: TagKind, complaint: Complaint, now: Instant) {
        match kind {
            TagKind::Video => self.missing_video.note_dropped(complaint.clone()),
            TagKind::Audio => self.missing_audio.note_dropped(complaint.clone()),
            TagKind::Script => {}
        }
        self.complaints.note(complaint, now);
    }
}
