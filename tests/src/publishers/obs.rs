//! Several encodings of one canvas, in the form in which OBS Studio 32 sends them (multitrack
//! video; `plugins/obs-outputs/flv-mux.c` and `shared/bpm/bpm.c` of its source).
//!
//! Track 0 comes in legacy tags. Each further track has tags of Enhanced RTMP with one track each,
//! without a composition time where that is 0. Each keyframe ends with a SEI message of OBS, after
//! the slices.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::flv::{FlvReader, FlvTag, TagKind};
use distributary_rtmp::client::{self, ClientError, ClientPublisher};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::ffmpeg::{CLIP_FRAMES, Clip, FRAME_RATE};

/// Length of a clip in milliseconds.
const CLIP_MILLIS: u32 = 1000 * CLIP_FRAMES / FRAME_RATE;

/// Packet types of H264 (Adobe FLV specification, annex E.4.3.1).
const HEADER: u8 = 0;
const FRAME: u8 = 1;
const END: u8 = 2;

/// Packet types of Enhanced RTMP.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;

/// A publisher of clips with the same frames in several sizes, in a loop and in real time. When this
/// is dropped its connection breaks.
#[derive(Debug)]
pub struct ObsPublisher {
    task: JoinHandle<Result<(), ClientError>>,
    stop: Option<oneshot::Sender<()>>,
}

impl ObsPublisher {
    /// Begins to publish these clips as the tracks of the stream `name` (`app/stream`), with the audio
    /// of the first.
    ///
    /// # Panics
    /// When the server refuses the stream.
    pub async fn start(clips: &[Clip], server: SocketAddr, name: &str) -> Self {
        let program = Program::of(clips);
        let (app, stream) = name.rsplit_once('/').expect("a name has two parts");
        let publisher = client::publish(server, app, stream).await;
        let publisher = publisher.expect("the server takes the stream");
        let (stop, stopped) = oneshot::channel();
        Self {
            task: tokio::spawn(program.send(publisher, stopped)),
            stop: Some(stop),
        }
    }

    /// Ends the stream as a user does: each track ends, and then the stream.
    ///
    /// # Panics
    /// When the connection broke before that.
    pub async fn stop(mut self) {
        let stop = self.stop.take().expect("it is stopped once");
        stop.send(()).expect("it still publishes");
        let sent = (&mut self.task).await.expect("the task does not panic");
        sent.expect("the stream was sent to its end");
    }
}

impl Drop for ObsPublisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tags of one round of all tracks.
struct Program {
    headers: Vec<FlvTag>,
    frames: Vec<FlvTag>,
    ends: Vec<FlvTag>,
}

impl Program {
    fn of(clips: &[Clip]) -> Self {
        let mut program = Self {
            headers: Vec::new(),
            frames: Vec::new(),
            ends: Vec::new(),
        };
        for (number, clip) in (0..).zip(clips) {
            let file = fs::read(clip.path()).expect("the clip can be read");
            let tags = FlvReader::new(file.into()).expect("the clip is an FLV file");
            let tags = tags.map(|tag| tag.expect("the clip is whole"));
            for tag in tags {
                program.add(number, tag);
            }
        }
        // Stable: at the same time, the tracks are in their order.
        program.frames.sort_by_key(|tag| tag.timestamp_millis);
        program
    }

    /// Adds a tag of the clip of this track.
    fn add(&mut self, track: u8, mut tag: FlvTag) {
        let packet_type = tag.body.get(1).copied();
        let list = match (tag.kind, packet_type) {
            (TagKind::Video, Some(HEADER)) => &mut self.headers,
            (TagKind::Video, Some(FRAME)) => &mut self.frames,
            (TagKind::Video, Some(END)) => &mut self.ends,
            (TagKind::Audio, Some(HEADER)) if track == 0 => &mut self.headers,
            (TagKind::Audio, _) if track == 0 => &mut self.frames,
            _ => return,
        };
        if tag.kind == TagKind::Video {
            tag.body = video(track, &tag.body);
        }
        list.push(tag);
    }

    async fn send(
        self,
        mut publisher: ClientPublisher,
        mut stopped: oneshot::Receiver<()>,
    ) -> Result<(), ClientError> {
        for tag in &self.headers {
            send(&mut publisher, 0, tag).await?;
        }
        let begin = Instant::now();
        for round in 0.. {
            for tag in &self.frames {
                let time = round * CLIP_MILLIS + tag.timestamp_millis;
                let due = begin + Duration::from_millis(time.into());
                tokio::select! {
                    () = sleep_until(due) => send(&mut publisher, time, tag).await?,
                    _ = &mut stopped => {
                        for tag in &self.ends {
                            send(&mut publisher, time, tag).await?;
                        }
                        return publisher.close().await;
                    }
                }
            }
        }
        Ok(())
    }
}

async fn send(publisher: &mut ClientPublisher, time: u32, tag: &FlvTag) -> Result<(), ClientError> {
    let body = tag.body.clone();
    match tag.kind {
        TagKind::Audio => publisher.send_audio(time, body).await,
        _ => publisher.send_video(time, body).await,
    }
}

/// Returns a legacy H264 tag in the form of OBS for this track.
fn video(track: u8, legacy: &Bytes) -> Bytes {
    const IS_EX: u8 = 0x80;
    const MULTITRACK: u8 = 6;
    const ONE_TRACK: u8 = 0x00;
    const IS_KEYFRAME: u8 = 0x10;
    let frame_type = legacy[0] & 0xF0;
    let (packet_type, composition_time, data) = (legacy[1], &legacy[2..5], &legacy[5..]);
    let mut body = BytesMut::new();
    if track == 0 {
        body.put_slice(&legacy[..5]);
    } else {
        let has_offset = composition_time != [0, 0, 0];
        let packet_type = match packet_type {
            HEADER => SEQUENCE_START,
            END => SEQUENCE_END,
            _ if has_offset => CODED_FRAMES,
            _ => CODED_FRAMES_X,
        };
        body.put_slice(&[IS_EX | frame_type | MULTITRACK, ONE_TRACK | packet_type]);
        body.put_slice(b"avc1");
        body.put_u8(track);
        if packet_type == CODED_FRAMES {
            body.put_slice(composition_time);
        }
    }
    body.put_slice(data);
    if packet_type == FRAME && frame_type == IS_KEYFRAME {
        let message = broadcast_metrics();
        body.put_u32(message.len() as u32);
        body.put_slice(&message);
    }
    body.freeze()
}

/// Returns a NAL unit with one SEI message, `user_data_unregistered`, of the length of that in which
/// OBS sends the times of a frame (H.264, annex D.1.7).
fn broadcast_metrics() -> Vec<u8> {
    const SEI: u8 = 6;
    const USER_DATA_UNREGISTERED: u8 = 5;
    const STOP_BIT: u8 = 0x80;
    let payload = [0x2A; 16 + 4 * 26];
    let mut unit = vec![SEI, USER_DATA_UNREGISTERED, payload.len() as u8];
    unit.extend(payload);
    unit.push(STOP_BIT);
    unit
}
