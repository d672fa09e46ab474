//! Simulated publishers: real RTMP bytes of frames that say which ones they are.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use distributary_media::flv;
use distributary_media::test_util::flv_audio;
use distributary_media::{
    AudioCodec, AudioFrame, AudioTrack, FrameInfo, MediaTime, VideoCodec, VideoFrame, VideoTrack,
};
use distributary_rtmp::ClientSession;
use distributary_rtmp::client::StreamUrl;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::content::{Stamp, audio_packet, video_track, video_unit};

/// Duration of an audio frame of Opus in microseconds.
const OPUS_MICROS: u64 = 20_000;

/// Samples of an audio frame of AAC.
const AAC_SAMPLES: u64 = 1024;

/// Samples of AAC per second.
const AAC_RATE: u64 = 48_000;

/// Two audio frames whose times differ by more than this, in milliseconds, have a gap between them.
const AUDIO_GAP: u64 = 30;

/// A stereo tone in AAC at 48 kHz, which is sent again and again.
const AAC: &[u8] = include_bytes!("../../media/tests/fixtures/stereo-48000.flv");

/// Time in milliseconds after which an audio frame is late. The gateway drops those that are 200 ms older
/// than usual when they come.
const LATE: u64 = 150;

/// A publisher that has sent a frame within this time is sending.
const RECENT: Duration = Duration::from_millis(100);

/// Sizes of the video tracks.
const SIZES: [(u32, u32); 3] = [(1280, 720), (640, 352), (320, 176)];

/// The media of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Time between two video frames in milliseconds.
    pub interval: u64,
    /// Frames of a GOP.
    pub gop: u32,
    /// Bytes of a keyframe.
    pub keyframe_len: usize,
    /// Bytes of another frame.
    pub delta_len: usize,
    /// Video tracks; the first one is the largest.
    pub tracks: u8,
    /// The codec of its audio, if it has some: Opus or AAC.
    pub audio: Option<AudioCodec>,
    /// The RTMP timestamp of the first frame.
    pub first_timestamp: u32,
}

/// The times of what a publisher has sent, in milliseconds of its clock.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When its clock began.
    pub(crate) began: Option<Instant>,
    /// Of each video frame.
    pub video: Vec<u64>,
    /// Of each audio frame.
    pub audio: Vec<u64>,
    /// Numbers of the audio frames that were sent late, in order: after a short pause.
    late_audio: Vec<u32>,
    /// When its audio was late or began anew, in order.
    pub(crate) audio_disturbed: Vec<Instant>,
}

impl Record {
    /// Returns when a video frame was sent.
    pub(crate) fn sent_at(&self, number: u32) -> Option<Instant> {
        let time = self.video.get(number as usize)?;
        Some(self.began? + Duration::from_millis(*time))
    }

    /// Returns whether an audio frame was sent so late that the gateway may drop it.
    pub(crate) fn is_late(&self, number: u32) -> bool {
        self.late_audio.binary_search(&number).is_ok()
    }

    /// Returns whether its audio was late or began anew since then.
    pub(crate) fn has_disturbed_audio(&self, since: Instant) -> bool {
        self.audio_disturbed.last().is_some_and(|at| *at >= since)
    }

    /// Returns whether a video frame was sent shortly before `at`.
    pub(crate) fn was_sending(&self, at: Instant) -> bool {
        let Some(began) = self.began else {
            return false;
        };
        let mut times = self.video.iter().rev();
        times.any(|time| {
            let sent = began + Duration::from_millis(*time);
            sent <= at && at - sent < RECENT
        })
    }

    /// Returns whether a video frame was sent since then.
    pub(crate) fn has_sent_since(&self, since: Instant) -> bool {
        let last = self.video.len().checked_sub(1);
        let sent = last.and_then(|last| self.sent_at(last as u32));
        sent.is_some_and(|at| at >= since)
    }

    /// Returns by how many milliseconds a video frame is older than the newest one.
    pub(crate) fn behind(&self, number: u32) -> Option<u64> {
        let time = self.video.get(number as usize)?;
        self.video.last()?.checked_sub(*time)
    }
}

/// A publisher that is connected, or was.
#[derive(Debug)]
pub struct Publisher {
    number: u16,
    media: Media,
    /// Its audio, again and again; none if the frames say themselves which they are.
    aac: Vec<Bytes>,
    audio_track: AudioTrack,
    /// The time and the number of the audio frame from which the times of the next ones are counted.
    audio_anchor: (u64, u64),
    session: ClientSession,
    pipe: Option<DuplexStream>,
    unsent: BytesMut,
    /// It sends no media.
    pub is_paused: bool,
    /// The frames that it has sent.
    pub record: Record,
    /// The reason why its connection has ended.
    pub end: Option<String>,
}

impl Publisher {
    /// Returns a publisher that begins to connect over a pipe.
    ///
    /// # Errors
    /// Returns the reason if `name` is not the name of a stream.
    pub fn new(
        number: u16,
        media: Media,
        app: &str,
        name: &str,
        pipe: DuplexStream,
    ) -> Result<Self, String> {
        let url = StreamUrl::new("192.0.2.1:1935", app, name).map_err(|error| error.to_string())?;
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        let (audio_track, aac) = match media.audio {
            Some(AudioCodec::Aac) => {
                let (track, frames) = flv_audio(AAC);
                (track, frames.into_iter().map(|frame| frame.data).collect())
            }
            _ => (opus_track(), Vec::new()),
        };
        Ok(Self {
            number,
            media,
            aac,
            audio_track,
            audio_anchor: (0, 0),
            session: ClientSession::publish(url, seed),
            pipe: Some(pipe),
            unsent: BytesMut::new(),
            is_paused: false,
            record: Record::default(),
            end: None,
        })
    }

    /// Returns whether its connection is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Returns whether the gateway has accepted it.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.is_open() && self.record.began.is_some()
    }

    /// Returns when the gateway has accepted it.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.record.began
    }

    /// Ends the stream in the way of RTMP.
    pub fn close(&mut self) {
        self.session.close();
        self.exchange_output();
        self.cut("closed by itself");
    }

    /// Cuts the connection.
    pub fn cut(&mut self, reason: &str) {
        self.pipe = None;
        self.end.get_or_insert_with(|| reason.to_owned());
    }

    /// Reads, sends what is due at `now`, and writes. Call it at least at [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.read(now);
        if !self.is_open() {
            return;
        }
        if self.session.is_active() && self.record.began.is_none() {
            self.record.began = Some(now);
            self.send_headers();
        }
        self.send_due(now);
        self.exchange_output();
    }

    /// Returns when the next frame is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let began = self
            .record
            .began
            .filter(|_| self.is_open() && !self.is_paused)?;
        let video = self.next_video();
        let audio = self.media.audio.map(|_| self.next_audio());
        let next = audio.map_or(video, |audio| video.min(audio));
        Some(began + Duration::from_millis(next))
    }

    fn next_video(&self) -> u64 {
        let last = self.record.video.last();
        last.map_or(0, |last| last + self.media.interval)
    }

    fn next_audio(&self) -> u64 {
        let (time, number) = self.audio_anchor;
        let frames = self.record.audio.len() as u64 - number;
        let micros = match self.media.audio {
            Some(AudioCodec::Aac) => frames * AAC_SAMPLES * 1_000_000 / AAC_RATE,
            _ => frames * OPUS_MICROS,
        };
        time + micros / 1000
    }

    fn timestamp(&self, millis: u64) -> u32 {
        self.media.first_timestamp.wrapping_add(millis as u32)
    }

    fn send_headers(&mut self) {
        let timestamp = self.timestamp(0);
        for track in 0..self.media.tracks {
            let described = track_of(track);
            let body = match track {
                0 => flv::muxer::video_header(&described),
                _ => further_track(track, 0, true, &described.config),
            };
            self.session.send_video(timestamp, body);
        }
        if let Some(header) =
            flv::muxer::audio_header(&self.audio_track).filter(|_| self.media.audio.is_some())
        {
            self.session.send_audio(timestamp, header);
        }
    }

    fn send_due(&mut self, now: Instant) {
        let Some(began) = self.record.began else {
            return;
        };
        let elapsed = now.duration_since(began).as_millis() as u64;
        if self.is_paused {
            return;
        }
        // After a pause the frames go on at the present time.
        let skip = |next: u64| {
            if elapsed > next + 500 { elapsed } else { next }
        };
        let mut video = skip(self.next_video());
        while video <= elapsed {
            self.send_video(video);
            video += self.media.interval;
        }
        if self.media.audio.is_none() {
            return;
        }
        let audio = skip(self.next_audio());
        if audio != self.next_audio() {
            self.audio_anchor = (audio, self.record.audio.len() as u64);
        }
        while self.next_audio() <= elapsed {
            let audio = self.next_audio();
            let last = self.record.audio.last();
            let is_late = elapsed - audio > LATE;
            if is_late {
                self.record.late_audio.push(self.record.audio.len() as u32);
            }
            if is_late || last.is_none_or(|last| audio - last > AUDIO_GAP) {
                self.record.audio_disturbed.push(now);
            }
            self.send_audio(audio);
        }
    }

    fn send_video(&mut self, millis: u64) {
        let number = self.record.video.len() as u32;
        self.record.video.push(millis);
        let keyframe = number.is_multiple_of(self.media.gop);
        let len = if keyframe {
            self.media.keyframe_len
        } else {
            self.media.delta_len + number as usize % 5 * 97
        };
        for track in 0..self.media.tracks {
            let stamp = Stamp {
                publisher: self.number,
                track,
                number,
            };
            let unit = video_unit(stamp, keyframe, len >> track);
            let body = match track {
                0 => flv::muxer::video_frame(&VideoFrame {
                    codec: VideoCodec::H264,
                    pts: MediaTime::ZERO,
                    dts: MediaTime::ZERO,
                    keyframe,
                    info: FrameInfo::default(),
                    units: vec![unit],
                }),
                _ => {
                    let mut body = vec![0, 0, 0];
                    body.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                    body.extend_from_slice(&unit);
                    further_track(track, 1, keyframe, &body)
                }
            };
            self.session.send_video(self.timestamp(millis), body);
        }
    }

    fn send_audio(&mut self, millis: u64) {
        let number = self.record.audio.len() as u32;
        self.record.audio.push(millis);
        let aac = self.aac.get(number as usize % self.aac.len().max(1));
        let frame = AudioFrame {
            codec: self.audio_track.codec,
            pts: MediaTime::ZERO,
            data: aac.map_or_else(|| audio_packet(self.number, number), Bytes::clone),
        };
        let body = flv::muxer::audio_frame(&frame, &self.audio_track);
        self.session.send_audio(self.timestamp(millis), body);
    }

    fn read(&mut self, now: Instant) {
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(pipe).poll_read(&mut context, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => self.cut(&error.to_string()),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.cut("closed by the gateway");
                }
                Poll::Ready(Ok(())) => {
                    if let Err(error) = self.session.handle_bytes(buffer.filled(), now) {
                        self.cut(&error.to_string());
                    }
                }
            }
        }
    }

    fn exchange_output(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.unsent.extend_from_slice(&bytes);
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Some(pipe) = &mut self.pipe
            && !self.unsent.is_empty()
        {
            match Pin::new(pipe).poll_write(&mut context, &self.unsent) {
                Poll::Pending => return,
                Poll::Ready(Ok(len)) => self.unsent.advance(len),
                Poll::Ready(Err(error)) => self.cut(&error.to_string()),
            }
        }
    }
}

/// Returns the description of a video track.
fn track_of(track: u8) -> VideoTrack {
    let (width, height) = SIZES[usize::from(track) % SIZES.len()];
    video_track(width, height)
}

fn opus_track() -> AudioTrack {
    AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: Bytes::from_static(b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"),
    }
}

/// Returns the body of a tag with a packet of a further video track (Enhanced RTMP, version 2).
fn further_track(track: u8, packet_type: u8, keyframe: bool, content: &[u8]) -> Bytes {
    let frame_type = if keyframe { 0x10 } else { 0x20 };
    let mut body = vec![0x80 | frame_type | 6, packet_type];
    body.extend_from_slice(b"avc1");
    body.push(track);
    body.extend_from_slice(content);
    body.into()
}
