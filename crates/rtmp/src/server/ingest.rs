//! One publisher's media on its way into the hub.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{
    Dismissal, EventLimit, MissingAudio, MissingVideo, Publisher, PublisherInfo, Refusal, Stream,
};
use distributary_media::flv::{FlvDemuxer, FlvError, FlvEvent, FlvEvents, OtherTrack, TagKind};
use distributary_media::h264::Limitation;
use distributary_media::{AudioTrack, Frame, MediaTime, TimedData, VideoTrack};
use tracing::{debug, info, warn};

use crate::proto::amf::Value;
use crate::proto::metadata::Metadata;
use crate::proto::session::MediaMessage;
use crate::server::json::{memory, to_json};

/// Most memory of what a publisher says at once, in bytes. The last metadata is kept for those who
/// join, and all else waits in the queues of those who watch. What takes more is dropped.
const MAX_DATA_MEMORY: usize = 128 << 10;

/// Maximum time between the slices of an access unit, if each is a separate message. It
/// is as far as it has come then: the last one before a pause is shown so late, and one that a
/// stall of the network has cut in two is incomplete.
const ACCESS_UNIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bound for complaints about a publisher's media in the log; all are counted.
const COMPLAINTS: EventLimit = EventLimit::new(8, Duration::from_secs(60));

/// Bound for changes of a track's configuration: each is a new decoder here and at every viewer.
/// Past it the track's frames are dropped until the change may take place.
const TRACK_CHANGES: EventLimit = EventLimit::new(4, Duration::from_secs(1));

/// Bound for going back to the configuration before the one in force, as an encoder does whose
/// sequence header differs from what its keyframes carry. Past it the frames are dropped, too.
const TRACK_RETURNS: EventLimit = EventLimit::new(16, Duration::from_millis(100));

/// Time without a frame that viewers can be shown, after which the log and the API say so.
const MISSING_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound for log lines about missing frames.
const MISSING: EventLimit = EventLimit::new(1, Duration::from_secs(30));

/// Bound for log lines about other tracks and metadata.
const DESCRIPTIONS: EventLimit = EventLimit::new(8, Duration::from_secs(10));

/// A stream that is being published. The stream goes offline when this is dropped.
#[derive(Debug)]
pub(crate) struct Ingest {
    publisher: Publisher,
    demuxer: FlvDemuxer,
    /// Time of the last video message.
    last_message: Instant,
    metadata: Metadata,
    info: PublisherInfo,
    began: Instant,
    latest: Instant,
    frames: u64,
    bytes: u64,
    video: TrackChange<VideoTrack>,
    audio: TrackChange<AudioTrack>,
    descriptions: EventLimit,
    /// Set when a video frame was dropped: those that follow it show garbage up to the next
    /// keyframe.
    awaits_keyframe: bool,
    /// When the last usable video frame came, or video began to come without one.
    last_video: Option<Instant>,
    has_keyframe: bool,
    /// The reason why the last video message was dropped, unless a frame was accepted since.
    video_complaint: Option<Complaint>,
    /// True if the API reports that frames are missing.
    is_missing: bool,
    missing: EventLimit,
    /// When the last usable audio frame came, or audio began to come without one.
    last_audio: Option<Instant>,
    /// The reason why the last audio message was dropped, unless a frame was accepted since.
    audio_complaint: Option<Complaint>,
    is_audio_missing: bool,
    missing_audio: EventLimit,
    /// Tags that could not be used, and the last reason that was logged.
    unusable: u64,
    complaint: Option<Complaint>,
    complaints: EventLimit,
}

/// A track's configurations.
#[derive(Debug)]
struct TrackChange<T> {
    /// The one in force.
    current: Option<T>,
    /// The one before.
    previous: Option<T>,
    /// The next one, as long as it has not taken place.
    pending: Option<T>,
    changes: EventLimit,
    returns: EventLimit,
}

/// A configuration that takes place.
struct Change<T> {
    track: T,
    /// True if it was not in force lately.
    is_new: bool,
}

impl<T> Default for TrackChange<T> {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            pending: None,
            changes: TRACK_CHANGES,
            returns: TRACK_RETURNS,
        }
    }
}

impl<T: Clone + PartialEq> TrackChange<T> {
    /// Notes what the publisher declares. It takes place with the next frame, because what is
    /// declared twice before that counts once. Returns whether it may take place at once: there is
    /// none yet.
    fn declare(&mut self, track: T) -> bool {
        self.pending = Some(track).filter(|track| self.current.as_ref() != Some(track));
        self.current.is_none()
    }

    /// Returns the configuration if there is another one and it may take place at `now`.
    fn take(&mut self, now: Instant) -> Option<Change<T>> {
        self.pending.as_ref()?;
        let is_new = self.pending != self.previous;
        let limit = if is_new {
            &mut self.changes
        } else {
            &mut self.returns
        };
        limit.admit(now)?;
        let track = self.pending.take()?;
        self.previous = self.current.replace(track.clone());
        Some(Change { track, is_new })
    }
}

/// The reason why media is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Complaint {
    Unusable(FlvError),
    ChangesTooOften(TagKind),
}

impl Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(error) => error.fmt(f),
            Self::ChangesTooOften(kind) => write!(
                f,
                "the {kind} track changes its configuration more than once a second"
            ),
        }
    }
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
            demuxer: FlvDemuxer::live(),
            last_message: now,
            metadata: Metadata::default(),
            info,
            began: now,
            latest: now,
            frames: 0,
            bytes: 0,
            video: TrackChange::default(),
            audio: TrackChange::default(),
            descriptions: DESCRIPTIONS,
            awaits_keyframe: false,
            last_video: None,
            has_keyframe: false,
            video_complaint: None,
            is_missing: false,
            missing: MISSING,
            last_audio: None,
            audio_complaint: None,
            is_audio_missing: false,
            missing_audio: MISSING,
            unusable: 0,
            complaint: None,
            complaints: COMPLAINTS,
        }
    }

    /// Takes in a message of the publisher that came at `now`.
    ///
    /// # Errors
    /// When the stream's policy refuses it.
    pub(crate) fn handle(&mut self, message: MediaMessage, now: Instant) -> Result<(), Refusal> {
        self.latest = now;
        match message {
            MediaMessage::Video { timestamp, body } => {
                self.bytes += body.len() as u64;
                self.last_message = now;
                let events = self.demuxer.handle_video(timestamp, body);
                self.feed(TagKind::Video, events, now)?;
                self.note_missing_video(now);
            }
            MediaMessage::Audio { timestamp, body } => {
                self.bytes += body.len() as u64;
                let events = self.demuxer.handle_audio(timestamp, body);
                self.feed(TagKind::Audio, events, now)?;
                self.note_missing_audio(now);
            }
            MediaMessage::Data {
                timestamp,
                name,
                values,
            } => self.say(timestamp, name, &values, now),
            MediaMessage::DataIgnored { error } => debug!(%error, "data message ignored"),
        }
        Ok(())
    }

    /// Returns when [`handle_deadline`](Self::handle_deadline) is due, if nothing comes before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let is_holding = self.demuxer.is_holding();
        is_holding.then(|| self.last_message + ACCESS_UNIT_TIMEOUT)
    }

    /// Gives out an access unit that has waited for more of it for too long.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub(crate) fn handle_deadline(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.deadline().is_some_and(|due| due <= now) {
            self.flush(now)?;
        }
        Ok(())
    }

    fn flush(&mut self, now: Instant) -> Result<(), Refusal> {
        let events = self.demuxer.flush();
        self.feed(TagKind::Video, events, now)
    }

    /// Returns the stream that is fed.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.publisher.stream()
    }

    /// Returns whether a frame has arrived.
    pub(crate) fn has_frames(&self) -> bool {
        self.frames > 0
    }

    /// Returns how many frames have come.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns whether both a video and an audio track have been declared.
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
                self.describe(metadata, now);
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

    fn describe(&mut self, metadata: Metadata, now: Instant) {
        if let Some(held_back) = self.descriptions.admit(now) {
            info!(
                encoder = metadata.encoder,
                video_kbps = metadata.video_kbps,
                audio_kbps = metadata.audio_kbps,
                held_back,
                "metadata"
            );
        }
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

    /// Gives out what is held, and says that the stream has ended, and why.
    pub(crate) fn end(mut self, reason: &dyn Display) {
        // A refusal has no consequence any more.
        let _ = self.flush(self.latest);
        info!(
            %reason,
            seconds = self.latest.duration_since(self.began).as_secs(),
            frames = self.frames,
            bytes = self.bytes,
            unusable_tags = self.unusable,
            "publishing ended"
        );
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
                FlvEvent::OtherTrack(track) => self.note_other_track(track, now),
                FlvEvent::SlicesJoined => info!(
                    "slices of one frame arrive in several messages: they are joined, which delays video by one frame"
                ),
                FlvEvent::Frame(frame) => self.push(frame, now)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame, now: Instant) -> Result<(), Refusal> {
        let (waits, kind) = match frame {
            Frame::Video(_) => (!self.change_video(now), TagKind::Video),
            Frame::Audio(_) => (!self.change_audio(now), TagKind::Audio),
        };
        if waits {
            self.awaits_keyframe |= kind == TagKind::Video;
            self.complain(kind, Complaint::ChangesTooOften(kind), now);
            return Ok(());
        }
        if kind == TagKind::Video {
            self.awaits_keyframe &= !frame.is_keyframe();
            if self.awaits_keyframe {
                self.unusable += 1;
                return Ok(());
            }
        }
        self.frames += 1;
        if kind == TagKind::Video {
            self.video_complaint = None;
            self.has_keyframe |= frame.is_keyframe();
            if self.has_keyframe {
                self.last_video = Some(now);
            }
        } else {
            self.audio_complaint = None;
            self.last_audio = Some(now);
        }
        self.publisher.push(frame, now)
    }

    /// Lets the video track change if it is to and may. Returns whether its configuration is in
    /// force.
    fn change_video(&mut self, now: Instant) -> bool {
        let Some(Change { mut track, is_new }) = self.video.take(now) else {
            return self.video.pending.is_none();
        };
        // Of VP9 the metadata says the size before the first keyframe does.
        if track.width == 0 {
            track.width = self.metadata.width.unwrap_or_default() as u32;
            track.height = self.metadata.height.unwrap_or_default() as u32;
        }
        if is_new {
            info!(
                codec = %track.codec,
                size = %format_args!("{}x{}", track.width, track.height),
                fps = self.metadata.frame_rate,
                "video track"
            );
            if let Some(limitation) = Limitation::of_track(&track) {
                warn!("not every viewer can show this stream: {limitation}");
            }
        }
        self.publisher.set_video_track(track);
        true
    }

    /// Does the same for the audio track.
    fn change_audio(&mut self, now: Instant) -> bool {
        let Some(Change { track, is_new }) = self.audio.take(now) else {
            return self.audio.pending.is_none();
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

    fn note_other_track(&mut self, track: OtherTrack, now: Instant) {
        if let Some(held_back) = self.descriptions.admit(now) {
            info!(
                kind = %track.kind,
                id = track.id,
                codec = track.codec,
                held_back,
                "another track, which is not used"
            );
        }
        self.info.other_tracks.push(track);
        self.publisher.set_info(self.info.clone());
    }

    /// Says in the log and in the API when video arrives and viewers have seen nothing of it for a
    /// while.
    fn note_missing_video(&mut self, now: Instant) {
        let since = *self.last_video.get_or_insert(now);
        let missing_for = now.saturating_duration_since(since);
        if missing_for < MISSING_TIMEOUT {
            if std::mem::take(&mut self.is_missing) {
                self.publisher.set_missing_video(None);
            }
            return;
        }
        let is_logged = self.missing.admit(now).is_some();
        if !is_logged && self.is_missing {
            return;
        }
        let missing = MissingVideo {
            has_keyframe: self.has_keyframe,
            reason: self.video_complaint.as_ref().map(ToString::to_string),
        };
        if is_logged {
            warn!(seconds = missing_for.as_secs(), "{missing}");
        }
        self.publisher.set_missing_video(Some(missing));
        self.is_missing = true;
    }

    /// Does the same for audio. What is dropped has a reason; a publisher may send headers alone.
    fn note_missing_audio(&mut self, now: Instant) {
        let since = *self.last_audio.get_or_insert(now);
        let missing_for = now.saturating_duration_since(since);
        let complaint = self.audio_complaint.as_ref();
        let Some(complaint) = complaint.filter(|_| missing_for >= MISSING_TIMEOUT) else {
            if std::mem::take(&mut self.is_audio_missing) {
                self.publisher.set_missing_audio(None);
            }
            return;
        };
        let is_logged = self.missing_audio.admit(now).is_some();
        if !is_logged && self.is_audio_missing {
            return;
        }
        let missing = MissingAudio {
            reason: complaint.to_string(),
        };
        if is_logged {
            warn!(seconds = missing_for.as_secs(), "{missing}");
        }
        self.publisher.set_missing_audio(Some(missing));
        self.is_audio_missing = true;
    }

    /// Counts a tag that cannot be used; the log has each reason once as long as it lasts.
    fn complain(&mut self, kind: TagKind, complaint: Complaint, now: Instant) {
        self.unusable += 1;
        match kind {
            TagKind::Video => self.video_complaint = Some(complaint.clone()),
            TagKind::Audio => self.audio_complaint = Some(complaint.clone()),
            TagKind::Script => {}
        }
        if self.complaint.as_ref() == Some(&complaint) {
            return;
        }
        if let Some(held_back) = self.complaints.admit(now) {
            warn!(error = %complaint, held_back, "media dropped");
            self.complaint = Some(complaint);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::Mutex;

    use bytes::Bytes;
    use distributary_hub::{Hub, HubConfig};
    use distributary_names::StreamName;

    #[test]
    fn a_track_changes_its_configuration_a_few_times_a_second_and_ends_with_the_last() {
        let hub = Hub::new(HubConfig::default());
        let start = Instant::now();
        let name = StreamName::parse("live/test").unwrap();
        let mut ingest = Ingest::new(hub.publish(&name, start).unwrap(), None, start);
        let mut tracks = Vec::new();
        for n in 0..1000_u16 {
            let now = start + Duration::from_millis(u64::from(n));
            let [high, low] = n.to_be_bytes();
            for body in [&[0xaf, 0, 0x11, 0x90, high, low][..], &[0xaf, 1, 0x21]] {
                let message = MediaMessage::Audio {
                    timestamp: MediaTime::from_millis(n.into()),
                    body: Bytes::copy_from_slice(body),
                };
                ingest.handle(message, now).unwrap();
            }
            tracks.extend(ingest.stream().stats().audio);
        }
        tracks.dedup_by(|a, b| Arc::ptr_eq(a, b));
        assert!((2..=6).contains(&tracks.len()), "{}", tracks.len());
        assert!(ingest.unusable > 900, "their frames are dropped");
        let later = start + Duration::from_secs(10);
        let message = MediaMessage::Audio {
            timestamp: MediaTime::from_millis(1000),
            body: Bytes::from_static(&[0xaf, 1, 0x21]),
        };
        ingest.handle(message, later).unwrap();
        let last = ingest.stream().stats().audio.unwrap();
        assert_eq!(last.config, [0x11, 0x90, 3, 231][..]);
    }
    /// H264 Constrained Baseline, 640x360.
    const VIDEO_HEADER: &[u8] = &[
        0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 25, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0,
        0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f, 0x16, 0x2e, 0x48, 1,
        0, 5, 0x68, 0xcb, 0x83, 0xcb, 0x20,
    ];
    const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 3, 0x65, 0x88, 0x80];
    const FRAME: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 3, 0x41, 0x9a, 0x80];
    /// The length says more than there is.
    const BROKEN: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 9, 0x41, 0x9a, 0x80];
    const MP3: &[u8] = &[0x2f, 0xff];

    /// A publisher that sends every 100 ms.
    struct Sender {
        ingest: Ingest,
        start: Instant,
        millis: u64,
    }

    impl Sender {
        fn new() -> Self {
            let (hub, start) = (Hub::new(HubConfig::default()), Instant::now());
            let name = StreamName::parse("live/test").unwrap();
            let ingest = Ingest::new(hub.publish(&name, start).unwrap(), None, start);
            let (start, millis) = (start, 0);
            let mut sender = Self {
                ingest,
                start,
                millis,
            };
            sender.send(VIDEO_HEADER);
            sender
        }

        fn send(&mut self, body: &'static [u8]) {
            let now = self.start + Duration::from_millis(self.millis);
            let timestamp = MediaTime::from_millis(self.millis as i64);
            let audio = MediaMessage::Audio {
                timestamp,
                body: Bytes::from_static(MP3),
            };
            let video = MediaMessage::Video {
                timestamp,
                body: Bytes::from_static(body),
            };
            for message in [video, audio] {
                self.ingest.handle(message, now).unwrap();
            }
        }

        /// Sends the same for a while. Returns what is missing of the video then.
        fn send_for(&mut self, millis: u64, body: &'static [u8]) -> Option<String> {
            let end = self.millis + millis;
            while self.millis < end {
                self.millis += 100;
                self.send(body);
            }
            let missing = self.ingest.stream().stats().missing_video;
            missing.map(|missing| missing.to_string())
        }
    }

    #[test]
    fn missing_video_is_reported_with_its_reason_until_a_frame_arrives() {
        let mut sender = Sender::new();
        assert_eq!(sender.send_for(4_900, FRAME), None);
        let missing = sender.send_for(200, FRAME).unwrap();
        assert!(missing.contains("without a keyframe"), "{missing}");
        assert!(!missing.contains("MP3"), "not what audio lacks: {missing}");
        assert_eq!(sender.send_for(100, KEYFRAME), None);
        assert_eq!(sender.send_for(10_000, FRAME), None);
        assert_eq!(sender.send_for(4_900, BROKEN), None);
        let missing = sender.send_for(200, BROKEN).unwrap();
        assert!(missing.contains("nothing new"), "{missing}");
        assert!(missing.contains("NAL unit"), "its reason: {missing}");
        assert_eq!(sender.send_for(100, FRAME), None);
    }

    #[test]
    fn missing_audio_is_reported_with_its_reason_until_a_frame_arrives() {
        // ADTS whose header tells of more bytes than there are, and such that fits.
        const TOO_LONG: &[u8] = &[0xaf, 1, 0xff, 0xf1, 0x4c, 0x80, 0x04, 0x1f, 0xfc, 1, 2, 3];
        const WHOLE: &[u8] = &[0xaf, 1, 0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3];
        let start = Instant::now();
        let mut ingest = ingest(start);
        let mut send = |millis: u64, body: &'static [u8]| {
            let message = MediaMessage::Audio {
                timestamp: MediaTime::from_millis(millis as i64),
                body: Bytes::from_static(body),
            };
            let now = start + Duration::from_millis(millis);
            ingest.handle(message, now).unwrap();
            let missing = ingest.stream().stats().missing_audio;
            missing.map(|missing| missing.to_string())
        };
        for time in (0..5_000).step_by(20) {
            assert_eq!(send(time, TOO_LONG), None);
        }
        let missing = send(5_000, TOO_LONG).unwrap();
        assert!(missing.contains("an ADTS frame of 32 bytes"), "{missing}");
        assert_eq!(send(5_020, WHOLE), None);
        assert_eq!(send(5_040, TOO_LONG), None);
    }

    /// The log, as text.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn missing_video_is_logged_twice_a_minute_at_most() {
        let log = Log::default();
        let lines = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || lines.clone())
            .finish();
        let mut sender = Sender::new();
        tracing::subscriber::with_default(subscriber, || sender.send_for(64_000, FRAME));
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("video arrives without a keyframe"))
            .collect();
        // At 5 s and 35 s.
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("seconds=5"), "{log}");
    }

    /// Returns an ingest of its own stream, and messages for it.
    fn ingest(start: Instant) -> Ingest {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        Ingest::new(hub.publish(&name, start).unwrap(), None, start)
    }

    impl Ingest {
        fn send_video(&mut self, millis: u64, body: &[u8], start: Instant) {
            let message = MediaMessage::Video {
                timestamp: MediaTime::from_millis(millis as i64),
                body: Bytes::copy_from_slice(body),
            };
            let now = start + Duration::from_millis(millis);
            self.handle(message, now).unwrap();
        }
    }

    /// Returns a sequence parameter set that claims this level.
    fn sps(level: u8) -> [u8; 25] {
        [
            0x67, 0x42, 0xC0, level, 0xD9, 0x00, 0xA0, 0x2F, 0xF9, 0x70, 0x11, 0x00, 0x00, 0x03,
            0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3C, 0x0F, 0x16, 0x2E, 0x48,
        ]
    }

    const PPS: [u8; 5] = [0x68, 0xCB, 0x83, 0xCB, 0x20];

    fn header(level: u8) -> Vec<u8> {
        let sps = sps(level);
        let record = [1, sps[1], sps[2], sps[3], 0xFF, 0xE1, 0, sps.len() as u8];
        let pps = [&[1, 0, PPS.len() as u8][..], &PPS].concat();
        [&[0x17, 0, 0, 0, 0][..], &record, &sps, &pps].concat()
    }

    fn video_tag(units: &[&[u8]]) -> Vec<u8> {
        let is_key = units.iter().any(|unit| unit[0] & 0x1F == 5);
        let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
        for unit in units {
            body.extend((unit.len() as u32).to_be_bytes());
            body.extend(*unit);
        }
        body
    }

    const IDR: &[u8] = &[0x65, 0x88, 0x80, 0x10];
    const NEXT: &[u8] = &[0x41, 0x9A, 0x02, 0x04];

    #[test]
    fn an_encoder_whose_sequence_header_differs_from_its_keyframes_loses_none() {
        let start = Instant::now();
        let mut ingest = ingest(start);
        for gop in 0..60 {
            let time = gop * 500;
            ingest.send_video(time, &header(30), start);
            ingest.send_video(time, &video_tag(&[&sps(31), &PPS, IDR]), start);
            ingest.send_video(time + 250, &video_tag(&[NEXT]), start);
        }
        assert_eq!((ingest.frames, ingest.unusable), (120, 0));
        let track = ingest.stream().stats().video.unwrap();
        assert_eq!(track.profile_level_id, [0x42, 0xC0, 31]);
    }

    #[test]
    fn going_back_to_the_last_configuration_drops_no_keyframe_of_an_encoder() {
        let start = Instant::now();
        let mut ingest = ingest(start);
        ingest.send_video(0, &header(30), start);
        for gop in 0..60 {
            let level = 30 + (gop % 2) as u8;
            let keyframe = video_tag(&[&sps(level), &PPS, IDR]);
            ingest.send_video(gop * 250, &keyframe, start);
        }
        assert_eq!((ingest.frames, ingest.unusable), (60, 0));
    }

    #[test]
    fn video_continues_at_a_keyframe_after_a_drop() {
        let start = Instant::now();
        let mut ingest = ingest(start);
        ingest.send_video(0, &header(9), start);
        // Another one each 10 ms: all but a few are dropped.
        for level in 10..40 {
            let time = u64::from(level) * 10;
            ingest.send_video(time, &video_tag(&[&sps(level), &PPS, IDR]), start);
        }
        let shown = ingest.frames;
        assert!((1..10).contains(&shown), "{shown}");
        // The change may take place by now, and these refer to a keyframe that was dropped.
        for time in 5000..5010 {
            ingest.send_video(time, &video_tag(&[NEXT]), start);
        }
        assert_eq!(ingest.frames, shown);
        ingest.send_video(5010, &video_tag(&[IDR]), start);
        ingest.send_video(5020, &video_tag(&[NEXT]), start);
        assert_eq!(ingest.frames, shown + 2);
    }
}
