//! Several video tracks of one publisher, as OBS sends them (Enhanced RTMP, version 2).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says by failing what it expected, and is a driver"
)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_hub::{Hub, HubConfig, Rendition, RenditionOrigin, Sink};
use distributary_media::Frame;
use distributary_media::flv::{FlvReader, FlvTag, TagKind};
use distributary_names::StreamName;
use distributary_rtmp::{OnDuplicate, PublishersConfig, RtmpConfig, client};
use support::TestServer;

/// Returns the video tags of two seconds of H264 in this size, with a keyframe every half second.
fn encoded(width: u32, height: u32) -> Vec<FlvTag> {
    let source = format!("testsrc2=s={width}x{height}:r=30:d=2");
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", &source])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "15",
            "-bf",
            "0",
        ])
        .args(["-pix_fmt", "yuv420p", "-f", "flv", "pipe:1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let tags = FlvReader::new(Bytes::from(made.stdout)).unwrap();
    tags.map(Result::unwrap)
        .filter(|tag| tag.kind == TagKind::Video && tag.body.get(1) != Some(&2))
        .collect()
}

/// Returns a legacy H264 tag in the form in which OBS sends it for a track other than 0.
fn as_track(number: u8, legacy: &[u8]) -> Bytes {
    const IS_EX: u8 = 0x80;
    const MULTITRACK: u8 = 6;
    const ONE_TRACK: u8 = 0x00;
    let frame_type = legacy[0] & 0xF0;
    let (packet_type, body) = match legacy[1] {
        // The sequence header has no composition time here.
        0 => (0, &legacy[5..]),
        _ => (1, &legacy[2..]),
    };
    let head = [IS_EX | frame_type | MULTITRACK, ONE_TRACK | packet_type];
    [&head[..], b"avc1", &[number], body].concat().into()
}

/// Waits until the renditions of the stream are as they should be, and returns them.
async fn renditions(
    server: &TestServer,
    are_right: impl Fn(&[Rendition]) -> bool,
) -> Vec<Rendition> {
    let name = StreamName::parse("live/a").unwrap();
    let (sink, mut events) = Sink::channel(4096);
    let _subscription = server.hub.subscribe(&name, sink, 0);
    let wait = async {
        loop {
            let found = server.hub.renditions(&name, Instant::now());
            if are_right(&found) {
                return found;
            }
            events.recv().await.expect("the stream is there");
        }
    };
    let found = tokio::time::timeout(support::STEP_TIMEOUT, wait).await;
    found.expect("the renditions come")
}

#[tokio::test]
async fn tracks_of_one_publisher_are_renditions_of_its_stream_on_one_clock() {
    let log = support::Log::capture();
    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "a").await.unwrap();
    let sizes = [(640, 360), (320, 180), (180, 320)];
    let tracks = sizes.map(|(width, height)| encoded(width, height));
    let mut watchers = Vec::new();
    for n in 0..tracks[0].len() {
        for (number, tags) in tracks.iter().enumerate() {
            let tag = &tags[n];
            let body = match number {
                0 => tag.body.clone(),
                number => as_track(number as u8, &tag.body),
            };
            let sent = publisher.send_video(tag.timestamp_millis, body).await;
            sent.unwrap();
        }
        if n == 3 {
            let rows = renditions(&server, |rows| rows.len() == 2).await;
            assert_eq!(rows[0].origin, RenditionOrigin::Source);
            assert_eq!(rows[1].origin, RenditionOrigin::Track);
            assert_eq!(rows[1].id.as_str(), "track1");
            assert_eq!((rows[1].width, rows[1].height), (320, 180));
            assert!(rows.iter().all(|row| row.is_live));
            for row in rows {
                watchers.push(server.watch_name(&row.stream));
            }
        }
    }
    log.until("another aspect ratio", 1).await;
    drop(publisher);
    let mut times = Vec::new();
    for watcher in &mut watchers {
        let frames = watcher.frames_until_offline().await;
        let video = frames.iter().filter_map(|frame| match &**frame {
            Frame::Video(video) => Some(video.pts.as_millis()),
            Frame::Audio(_) => None,
        });
        times.push(video.collect::<Vec<_>>());
    }
    assert!(times[0].len() >= 55, "{times:?}");
    // The last frame of a further track is not flushed, and the watchers came at different moments.
    let (source, track) = (&times[0], &times[1]);
    let common: Vec<_> = source.iter().filter(|time| track.contains(time)).collect();
    assert!(common.len() >= 55, "{times:?}");
    assert!(track.iter().all(|time| source.contains(time)), "{times:?}");
    assert!(renditions(&server, <[_]>::is_empty).await.is_empty());
}

#[tokio::test]
async fn tracks_are_renditions_only_while_their_publisher_is_active() {
    let hub = Hub::new(HubConfig {
        standby_after: Duration::from_secs(60),
        ..HubConfig::default()
    });
    let config = RtmpConfig {
        publishers: PublishersConfig {
            on_duplicate: OnDuplicate::Standby,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    };
    let server = TestServer::on(hub, config);
    let mut first = client::publish(server.address, "live", "a").await.unwrap();
    let mut second = client::publish(server.address, "live", "a").await.unwrap();
    let [main, further] = [encoded(640, 360), encoded(320, 180)];
    let name = StreamName::parse("live/a").unwrap();
    let stream = server.hub.stream(&name).unwrap();
    // The turns of the first, of the second, and of the first again.
    let turns = main.chunks(20).zip(further.chunks(20)).zip([2, 1, 2]);
    for ((main, further), expected) in turns {
        for (main, further) in main.iter().zip(further) {
            let at = main.timestamp_millis;
            let sent = first.send_video(at, main.body.clone()).await;
            sent.unwrap();
            first
                .send_video(at, as_track(1, &further.body))
                .await
                .unwrap();
            second.send_video(at, main.body.clone()).await.unwrap();
        }
        renditions(&server, |rows| rows.len() == expected).await;
        let request = async {
            let now = || tokio::time::Instant::now().into_std();
            // Its first frame may still be on the way.
            while stream.request_takeover(None, now()).is_err() {
                tokio::task::yield_now().await;
            }
        };
        let requested = tokio::time::timeout(Duration::from_secs(30), request).await;
        requested.expect("the standby sends");
    }
}
