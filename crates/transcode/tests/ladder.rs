//! Tests rungs that a real ffmpeg makes on demand, without WebRTC viewers.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says by failing what it expected, and is a driver"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_hub::{
    Delivery, Hub, HubConfig, Publisher, Rendition, RenditionOrigin, Sink, StreamEvent,
    Subscription,
};
use distributary_media::{Frame, MediaTime, VideoFrame, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use distributary_transcode::{Ladder, Rung, TranscodeConfig, Transcoder};
use support::video;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Timeout of each step.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// A file whose frames are published in real time, again and again.
#[derive(Clone)]
struct Clip {
    track: VideoTrack,
    frames: Vec<VideoFrame>,
    duration: Duration,
}

impl Clip {
    /// Makes a clip of 320x240 at 30 fps with about 1 Mbit/s, of this many seconds.
    fn new(seconds: u32, options: &str) -> Self {
        let made = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-f", "lavfi"])
            .args(["-i", "testsrc2=s=320x240:r=30,noise=alls=20:allf=t"])
            .args(["-t", &seconds.to_string(), "-c:v", "libx264"])
            .args(["-preset", "veryfast", "-pix_fmt", "yuv420p"])
            .args(["-b:v", "1M", "-maxrate", "1M", "-bufsize", "500k"])
            .args(options.split(' '))
            .args(["-f", "flv", "pipe:1"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let (track, frames) = video(made.stdout);
        Self {
            track,
            frames,
            duration: Duration::from_secs(seconds.into()),
        }
    }
}

/// A hub with a transcoder and a live stream.
struct Studio {
    hub: Hub,
    name: StreamName,
    _transcoder: JoinHandle<()>,
    publisher: JoinHandle<()>,
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

impl Studio {
    async fn new(clip: Clip, config: TranscodeConfig) -> Self {
        let hub = Hub::new(HubConfig::default());
        let transcoder = Transcoder::find(config, hub.clone()).await.unwrap();
        let _transcoder = tokio::spawn(transcoder.run(std::future::pending()));
        let name = StreamName::parse("live/a").unwrap();
        let publisher = hub.publish(&name, Instant::now()).unwrap();
        let publisher = tokio::spawn(publish(publisher, clip));
        let studio = Self {
            hub,
            name,
            _transcoder,
            publisher,
        };
        let is_live = |studio: &Self| !studio.renditions().is_empty();
        studio.until("it is live", is_live).await;
        studio
    }

    fn renditions(&self) -> Vec<Rendition> {
        self.hub.renditions(&self.name, Instant::now())
    }

    fn rung(&self, height: u32) -> Option<Rendition> {
        let id = RenditionId::rung(height);
        self.renditions().into_iter().find(|rung| rung.id == id)
    }

    /// Waits until the condition holds. It is checked after each event of the stream.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut source = self.watch(&self.name);
        let wait = async {
            while !is_so(self) {
                source.queue.recv().await.expect("the stream goes on");
            }
        };
        let waited = tokio::time::timeout(STEP_TIMEOUT, wait).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.renditions());
    }

    /// Requests a rung once it is offered, and waits until it is live.
    async fn request(&self, height: u32) -> Watch {
        let is_listed = |studio: &Self| studio.rung(height).is_some();
        self.until("it is offered", is_listed).await;
        let name = self.name.rendition(&RenditionId::rung(height));
        assert!(self.hub.request_rendition(&name));
        let is_live = |studio: &Self| studio.rung(height).is_some_and(|rung| rung.is_live);
        self.until("it is live", is_live).await;
        self.watch(&name)
    }

    fn watch(&self, name: &StreamName) -> Watch {
        let (sink, queue) = Sink::channel(4096);
        let (subscription, cached) = self.hub.subscribe(name, sink, 0).unwrap();
        Watch {
            _subscription: subscription,
            queue,
            cached: cached.into_iter(),
        }
    }
}

/// Publishes a clip in real time, again and again.
async fn publish(publisher: Publisher, clip: Clip) {
    publisher.set_video_track(clip.track.clone());
    let start = tokio::time::Instant::now();
    let mut offset = Duration::ZERO;
    loop {
        for frame in &clip.frames {
            let mut frame = frame.clone();
            frame.dts = frame.dts + offset;
            frame.pts = frame.pts + offset;
            let due = frame.dts.saturating_since(MediaTime::ZERO);
            tokio::time::sleep_until(start + due).await;
            publisher.push(Frame::Video(frame), Instant::now()).unwrap();
        }
        offset += clip.duration;
    }
}

/// A viewer of a stream or a rendition.
struct Watch {
    _subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    cached: std::vec::IntoIter<Arc<Frame>>,
}

impl Watch {
    async fn frame(&mut self) -> VideoFrame {
        if let Some(frame) = self.cached.next()
            && let Frame::Video(frame) = &*frame
        {
            return frame.clone();
        }
        loop {
            let next = tokio::time::timeout(STEP_TIMEOUT, self.queue.recv());
            match next.await.expect("a frame comes").unwrap().event {
                StreamEvent::Frame(frame) => {
                    if let Frame::Video(frame) = &*frame {
                        return frame.clone();
                    }
                }
                StreamEvent::Offline => panic!("the rendition has ended"),
                _ => {}
            }
        }
    }

    async fn frames(&mut self, count: usize) -> Vec<VideoFrame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.frame().await);
        }
        frames
    }

    /// Returns the frames that have come, without waiting.
    fn come(&mut self) -> Vec<VideoFrame> {
        let mut frames: Vec<Arc<Frame>> = self.cached.by_ref().collect();
        while let Ok(delivery) = self.queue.try_recv() {
            match delivery.event {
                StreamEvent::Frame(frame) => frames.push(frame),
                StreamEvent::Offline => panic!("the rendition has ended"),
                _ => {}
            }
        }
        let video = frames.iter().filter_map(|frame| match &**frame {
            Frame::Video(frame) => Some(frame.clone()),
            Frame::Audio(_) => None,
        });
        video.collect()
    }
}

fn config(rungs: &[&str]) -> TranscodeConfig {
    let rungs: Vec<Rung> = rungs.iter().map(|rung| rung.parse().unwrap()).collect();
    TranscodeConfig {
        ladder: Ladder::try_from(rungs).unwrap(),
        idle_timeout: Duration::from_secs(1),
        ..TranscodeConfig::default()
    }
}

fn millis(frames: &[VideoFrame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.pts.as_millis()).collect()
}

/// Checks that the frames of a rendition are those of the source, none missing, twice or out of
/// order.
fn check_complete(made: &[VideoFrame], source: &[VideoFrame]) {
    let made = millis(made);
    let source: BTreeSet<i64> = millis(source).into_iter().collect();
    let (first, last) = (made[0], made[made.len() - 1]);
    // The times of a rendition are rounded to milliseconds.
    let expected: Vec<i64> = source.range(first - 1..=last + 1).copied().collect();
    let is_near = |(made, expected): (&i64, &i64)| (made - expected).abs() <= 1;
    assert!(
        made.len() == expected.len() && made.iter().zip(&expected).all(is_near),
        "{made:?}, not {expected:?}"
    );
}

#[tokio::test]
async fn rung_is_made_on_request_and_ends_without_viewers() {
    let clip = Clip::new(4, "-g 30 -bf 0");
    let studio = Studio::new(clip, config(&["120p 200k"])).await;
    let mut source = studio.watch(&studio.name);
    studio
        .until("it is offered", |studio| studio.rung(120).is_some())
        .await;
    let offered = studio.rung(120).unwrap();
    assert_eq!((offered.width, offered.height), (160, 120));
    assert_eq!((offered.bitrate, offered.is_live), (200_000, false));
    assert_eq!(offered.origin, RenditionOrigin::Transcoded);
    assert_eq!(studio.hub.transcoder_stats().started, 0, "on request only");
    let mut watch = studio.request(120).await;
    let frames = watch.frames(150).await;
    let source = source.come();
    check_complete(&frames, &source);
    assert!(frames.iter().all(|frame| frame.pts == frame.dts));
    // Keyframes are where the source has them.
    let keyframes = |frames: &[VideoFrame], after: i64| {
        let frames = frames.iter().filter(|frame| frame.keyframe);
        let times: Vec<i64> = frames.map(|frame| frame.pts.as_millis()).collect();
        times
            .into_iter()
            .filter(|time| *time > after + 1)
            .collect::<Vec<_>>()
    };
    let first = frames[0].pts.as_millis();
    let made = keyframes(&frames, first);
    let expected = keyframes(&source, first);
    assert!(made.len() >= 4, "{made:?}");
    for (made, expected) in made.iter().zip(&expected) {
        assert!((made - expected).abs() <= 1, "{made} {expected}");
    }
    // The limit holds over any four seconds, but for the buffer of half a second.
    let bytes: usize = frames[30..]
        .iter()
        .flat_map(|frame| &frame.units)
        .map(Bytes::len)
        .sum();
    assert!(bytes * 8 / 4 < 240_000, "{bytes} in 4 s");
    drop(watch);
    studio
        .until("it ends", |studio| {
            studio.hub.transcoder_stats().running == 0
                && studio.rung(120).is_some_and(|rung| !rung.is_live)
        })
        .await;
}

/// Watches one rung while another is requested, and checks that no frame of the first is missing.
async fn check_second_rung(clip: Clip) {
    let studio = Studio::new(clip, config(&["120p 200k", "180p 400k"])).await;
    let mut source = studio.watch(&studio.name);
    let mut first = studio.request(120).await;
    let mut frames = first.frames(30).await;
    let mut second = studio.request(180).await;
    let one_is_left = |studio: &Studio| {
        let stats = studio.hub.transcoder_stats();
        stats.started >= 2 && stats.running == 1
    };
    studio.until("the first encoder ends", one_is_left).await;
    let started = studio.hub.transcoder_stats().started;
    let others = second.frames(60).await;
    drop(second);
    let is_smaller = |studio: &Studio| {
        let stats = studio.hub.transcoder_stats();
        stats.started > started && stats.running == 1
    };
    studio.until("only one rung is made", is_smaller).await;
    frames.extend(first.come());
    frames.extend(first.frames(30).await);
    let source = source.come();
    check_complete(&frames, &source);
    check_complete(&others, &source);
    let rows = studio.renditions();
    assert_eq!(rows[0].id, RenditionId::SOURCE);
    let rungs: Vec<_> = rows.iter().filter(|row| row.height < 240).collect();
    assert!(rungs[0].height == 180 && rungs[1].height == 120);
    assert!(!rungs[0].is_live && rungs[1].is_live);
}

#[tokio::test]
async fn viewer_of_a_rung_sees_no_gap_when_others_start_and_end() {
    check_second_rung(Clip::new(4, "-g 30 -bf 0")).await;
}

#[tokio::test]
async fn viewer_of_a_rung_of_a_stream_with_b_frames_sees_no_gap_either() {
    check_second_rung(Clip::new(4, "-g 30 -bf 3")).await;
}

#[tokio::test]
async fn viewer_of_a_rung_sees_no_gap_although_the_source_has_few_keyframes() {
    check_second_rung(Clip::new(10, "-g 300 -bf 0")).await;
}

#[tokio::test]
async fn transcode_of_b_frames_has_no_more_bits_than_the_source() {
    let clip = Clip::new(4, "-g 30 -bf 3 -x264-params b-pyramid=normal");
    let studio = Studio::new(clip, config(&[])).await;
    let id = RenditionId::H264;
    let row = |studio: &Studio| {
        let rows = studio.renditions();
        rows.into_iter().find(|row| row.id == id)
    };
    studio
        .until("it is measured", |studio| {
            row(studio).is_some_and(|row| row.bitrate > 0)
        })
        .await;
    let name = studio.name.rendition(&id);
    studio.hub.ensure_live(&name).await.unwrap();
    let rows = studio.renditions();
    assert!(rows[0].needs_transcoding && !rows[1].needs_transcoding);
    let source = rows[0].bitrate;
    let mut watch = studio.watch(&name);
    let frames = watch.frames(180).await;
    let bytes: usize = frames[30..]
        .iter()
        .flat_map(|frame| &frame.units)
        .map(Bytes::len)
        .sum();
    let made = bytes as u64 * 8 / 5;
    assert!(made < source * 115 / 100, "{made}, source {source}");
}

/// Writes a script that runs ffmpeg unless it is to make several rungs.
#[cfg(target_os = "linux")]
fn single_output_encoder() -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("single-output-{}", std::process::id()));
    let script = "#!/bin/sh\ncase \"$*\" in *pipe:3*) exit 7;; esac\nexec ffmpeg \"$@\"\n";
    std::fs::write(&file, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, executable).unwrap();
    file
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn rung_goes_on_when_the_encoder_for_another_fails() {
    let script = single_output_encoder();
    let config = TranscodeConfig {
        command: script.display().to_string(),
        ..config(&["120p 200k", "180p 400k"])
    };
    let studio = Studio::new(Clip::new(4, "-g 30 -bf 0"), config).await;
    let mut source = studio.watch(&studio.name);
    let mut watch = studio.request(120).await;
    let refused = studio
        .hub
        .ensure_live(&studio.name.rendition(&RenditionId::rung(180)))
        .await;
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("exit status: 7"), "{reason}");
    let frames = watch.frames(90).await;
    check_complete(&frames, &source.come());
    let stats = studio.hub.transcoder_stats();
    assert_eq!((stats.started, stats.failed), (2, 1));
    std::fs::remove_file(script).unwrap();
}

#[tokio::test]
async fn rendition_that_is_not_in_the_ladder_is_refused() {
    let studio = Studio::new(Clip::new(2, "-g 30"), config(&["120p 200k"])).await;
    for id in [RenditionId::rung(240), RenditionId::track(1)] {
        let refused = studio.hub.ensure_live(&studio.name.rendition(&id)).await;
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains("no such rendition"), "{reason}");
    }
    assert_eq!(studio.hub.transcoder_stats().started, 0);
}

#[tokio::test]
async fn request_for_a_live_rung_brings_a_keyframe_where_the_source_has_none() {
    check_requested_keyframes("-g 300 -bf 0").await;
}

#[tokio::test]
async fn requested_keyframe_is_late_enough_although_the_source_has_b_frames() {
    for b_frames in [2, 3] {
        check_requested_keyframes(&format!("-g 300 -bf {b_frames}")).await;
    }
}

/// Requests keyframes later than all that the source has published, and checks that they come. The
/// source has a keyframe every ten seconds, and an encoder one at least every two.
async fn check_requested_keyframes(options: &str) {
    let studio = Studio::new(Clip::new(10, options), config(&["120p 200k"])).await;
    let mut source = studio.watch(&studio.name);
    let mut watch = studio.request(120).await;
    let name = studio.name.rendition(&RenditionId::rung(120));
    let (mut keyframes, mut on_request) = (Vec::new(), 0);
    let mut of_source = BTreeSet::new();
    let (mut newest, mut wanted) = (MediaTime::ZERO, MediaTime::ZERO);
    while on_request < 3 {
        let frame = watch.frame().await;
        if !frame.keyframe {
            continue;
        }
        let at = frame.pts.as_millis();
        for own in source.come() {
            newest = newest.max(own.pts);
            if own.keyframe {
                of_source.insert(own.pts.as_millis());
            }
        }
        let is_of_source = of_source.range(at - 1..=at + 1).next().is_some();
        let is_late = keyframes.last().is_none_or(|last| at - last > 1900);
        let is_enough = at >= wanted.as_millis();
        if !keyframes.is_empty() && !is_of_source && !is_late {
            assert!(is_enough, "{at}, not {wanted:?}: {keyframes:?}");
            on_request += 1;
        }
        keyframes.push(at);
        // Where the encoder is slow, a request is answered late.
        assert!(keyframes.len() < 60, "{keyframes:?}, {of_source:?}");
        if is_enough {
            wanted = newest;
            assert!(studio.hub.request_keyframe(&name, wanted));
        }
    }
    let intervals = keyframes.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = intervals.min().unwrap();
    assert!(shortest >= 300, "{shortest} ms: they are limited");
}
