//! One publisher's media on its way into the hub.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use distributary_hub::{Dismissal, Publisher, PublisherInfo, Refusal, Stream};
use distributary_media::flv::{FlvDemuxer, FlvError, FlvEvent, FlvEvents};
use distributary_media::h264::Limitation;
use distributary_media::{MediaTime, TimedData};
use tracing::{debug, info, warn};

use crate::amf::Value;
use crate::json::{memory, to_json};
use crate::metadata::Metadata;
use crate::session::MediaMessage;

/// Most memory of what a publisher says at once, in bytes. The last metadata is kept for those who join, and all
/// else waits in the queues of those who watch. What takes more is dropped.
const MAX_DATA_MEMORY: usize = 128 << 10;

/// Most complaints about a publisher's media in the log; all are counted.
const MAX_COMPLAINTS: u32 = 8;

/// A stream that is being published. The stream goes offline when this is dropped.
#[derive(Debug)]
pub(crate) struct Ingest {
    publisher: Publisher,
    demuxer: FlvDemuxer,
    metadata: Metadata,
    info: PublisherInfo,
    began: Instant,
    latest: Instant,
    frames: u64,
    bytes: u64,
    /// Tags that could not be used, the last reason that was logged, and how many were.
    unusable: u64,
    complaint: Option<FlvError>,
    complaints: u32,
}

impl Ingest {
    /// Takes in what comes from `address`, as far as that is known.
    pub(crate) fn new(publisher: Publisher, address: Option<SocketAddr>, now: Instant) -> Self {
        let info = PublisherInfo {
            address,
            ..PublisherInfo::default()
        };
        publisher.set_info(info.clone());
        Self {
            publisher,
            demuxer: FlvDemuxer::new(),
            metadata: Metadata::default(),
            info,
            began: now,
            latest: now,
            frames: 0,
            bytes: 0,
            unusable: 0,
            complaint: None,
            complaints: 0,
        }
    }

    /// Takes in a message of the publisher that came at `now`.
    ///
    /// # Errors
    /// When a stream like this is not to be published.
    pub(crate) fn handle(&mut self, message: MediaMessage, now: Instant) -> Result<(), Refusal> {
        self.latest = now;
        match message {
            MediaMessage::Video { timestamp, body } => {
                self.bytes += body.len() as u64;
                let events = self.demuxer.handle_video(timestamp, body);
                self.feed(events, now)?;
            }
            MediaMessage::Audio { timestamp, body } => {
                self.bytes += body.len() as u64;
                let events = self.demuxer.handle_audio(timestamp, body);
                self.feed(events, now)?;
            }
            MediaMessage::Data {
                timestamp,
                name,
                values,
            } => self.say(timestamp, name, &values, now),
            MediaMessage::DataIgnored { error } => debug!(%error, "data message left out"),
        }
        Ok(())
    }

    /// The stream that is fed.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.publisher.stream()
    }

    /// Whether a frame has come.
    pub(crate) fn has_frames(&self) -> bool {
        self.frames > 0
    }

    /// Whether both pictures and sound have been declared.
    pub(crate) fn has_both_tracks(&self) -> bool {
        let stats = self.stream().stats();
        stats.video.is_some() && stats.audio.is_some()
    }

    /// Hands on what the publisher says about its stream.
    fn say(&mut self, time: MediaTime, name: String, values: &[Value], now: Instant) {
        if name == TimedData::METADATA {
            let metadata = values.first().map(Metadata::read).unwrap_or_default();
            // Some encoders repeat it several times a second.
            if metadata != self.metadata {
                self.describe(metadata);
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

    fn describe(&mut self, metadata: Metadata) {
        info!(
            encoder = metadata.encoder,
            video_kbps = metadata.video_kbps,
            audio_kbps = metadata.audio_kbps,
            "metadata"
        );
        self.info = PublisherInfo {
            address: self.info.address,
            encoder: metadata.encoder.clone(),
            frame_rate: metadata.frame_rate,
            video_kbps: metadata.video_kbps,
            audio_kbps: metadata.audio_kbps,
            other_tracks: std::mem::take(&mut self.info.other_tracks),
        };
        self.publisher.set_info(self.info.clone());
        self.metadata = metadata;
    }

    /// Completes when the publisher may not go on.
    pub(crate) fn dismissed(&self) -> impl Future<Output = Dismissal> + Send + use<> {
        self.publisher.dismissed()
    }

    /// Says that the stream has ended, and why.
    pub(crate) fn end(self, reason: &dyn Display) {
        info!(
            %reason,
            seconds = self.latest.duration_since(self.began).as_secs(),
            frames = self.frames,
            bytes = self.bytes,
            unusable_tags = self.unusable,
            "publishing ended"
        );
    }

    fn feed(&mut self, events: Result<FlvEvents, FlvError>, now: Instant) -> Result<(), Refusal> {
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                self.complain(error);
                return Ok(());
            }
        };
        for event in events {
            match event {
                FlvEvent::VideoTrack(mut track) => {
                    // Of VP9 the metadata says the size before the first keyframe does.
                    if track.width == 0 {
                        track.width = self.metadata.width.unwrap_or_default() as u32;
                        track.height = self.metadata.height.unwrap_or_default() as u32;
                    }
                    info!(
                        codec = %track.codec,
                        size = %format_args!("{}x{}", track.width, track.height),
                        fps = self.metadata.frame_rate,
                        "video track"
                    );
                    if let Some(limitation) = Limitation::of_track(&track) {
                        warn!("not every viewer can show this stream: {limitation}");
                    }
                    self.publisher.set_video_track(track);
                }
                FlvEvent::AudioTrack(track) => {
                    info!(
                        codec = %track.codec,
                        sample_rate = track.sample_rate,
                        channels = track.channels,
                        "audio track"
                    );
                    self.publisher.set_audio_track(track);
                }
                FlvEvent::OtherTrack(track) => {
                    info!(
                        kind = %track.kind,
                        id = track.id,
                        codec = track.codec,
                        "another track, which is not used"
                    );
                    self.info.other_tracks.push(track);
                    self.publisher.set_info(self.info.clone());
                }
                FlvEvent::Frame(frame) => {
                    self.frames += 1;
                    self.publisher.push(frame, now)?;
                }
            }
        }
        Ok(())
    }

    /// Counts a tag that cannot be used; the log has each reason once as long as it lasts.
    fn complain(&mut self, error: FlvError) {
        self.unusable += 1;
        if self.complaint.as_ref() != Some(&error) && self.complaints < MAX_COMPLAINTS {
            self.complaints += 1;
            warn!(%error, "media left out");
            self.complaint = Some(error);
        }
    }
}
