//! Viewers in Chromium that move between the renditions of a stream: no frame is missing or shown
//! twice, and audio goes on.

use std::collections::HashMap;

use distributary_tests::ffmpeg::{CLIP_FRAMES, Clip, FRAME_RATE};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::{Shown, WatchPage};
use distributary_tests::publishers::obs::ObsPublisher;
use distributary_tests::publishers::{recent_ffmpeg, recent_ffmpeg_publishes};
use distributary_tests::wait::eventually;

const STREAM: &str = "live/test";

/// Ticks of the RTP clock in a video frame and in an Opus packet.
const FRAME: u32 = 90_000 / FRAME_RATE;
const OPUS_PACKET: u32 = 960;

/// Shown frames from which the place of a rendition on the clock is found.
const SAMPLE: usize = 2 * FRAME_RATE as usize;

/// Returns a clip in several sizes.
fn clips() -> [Clip; 3] {
    [(1024, 576, 1000), (640, 360, 500), (256, 144, 200)]
        .map(|(width, height, rate)| Clip::of_bitrate(width, height, FRAME_RATE, rate))
}

/// Returns the ids and heights of the renditions that the publisher sends, best first.
fn published(gateway: &Gateway) -> Vec<(String, u64)> {
    let stream = gateway.stream(STREAM).unwrap_or_default();
    let renditions = stream["renditions"].as_array().cloned();
    let renditions = renditions.unwrap_or_default().into_iter();
    let published = renditions.filter(|one| one["origin"] != "transcoded");
    published
        .filter_map(|one| {
            let id = one["id"].as_str()?.to_owned();
            Some((id, one["height"].as_u64()?))
        })
        .collect()
}

/// Waits until the gateway lists these renditions of the publisher.
async fn wait_for_renditions(gateway: &Gateway, expected: &[(&str, u64)]) {
    eventually("the renditions are listed", async || {
        let published = published(gateway);
        let published = published.iter().map(|(id, height)| (id.as_str(), *height));
        published.eq(expected.iter().copied()).then_some(())
    })
    .await;
}

/// A viewer that notes what arrives and what it shows.
struct Viewer {
    page: WatchPage,
}

impl Viewer {
    async fn watch(gateway: &Gateway) -> Self {
        let page = WatchPage::open().await;
        let url = gateway.whep_url(STREAM);
        let answer = page.watch_and_note_frames("viewer", &url).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        Self { page }
    }

    async fn select(&self, rid: &str) {
        let selection = format!("{{ rid: '{rid}' }}");
        assert_eq!(self.page.select("viewer", &selection).await, 200);
    }

    /// Waits until frames of this height have been shown since the last change of the height, and
    /// returns where their numbers are on the RTP clock.
    async fn place(&self, height: u32) -> u32 {
        let what = format!("frames of {height} lines");
        eventually(&what, async || {
            let shown = self.page.shown("viewer").await;
            let last = shown.iter().rev();
            let last: Vec<_> = last.take_while(|frame| frame.2 == height).collect();
            if last.len() < SAMPLE {
                return None;
            }
            let first = *self.page.arrived("viewer", "video").await.first()?;
            place(&last, first)
        })
        .await
    }

    /// Waits until the frames of this height are at `expected` on the RTP clock.
    async fn is_at(&self, height: u32, expected: u32) {
        let what = format!("frames of {height} lines at their place on the clock, {expected}");
        eventually(&what, async || {
            let found = self.place(height).await;
            println!("{height} lines: place {found}, expected {expected}");
            (found == expected).then_some(())
        })
        .await;
    }

    /// Asserts that everything has arrived since the first frame, and was shown in order.
    async fn assert_complete(&self) {
        for (kind, step) in [("video", FRAME), ("audio", OPUS_PACKET)] {
            let mut times = self.page.arrived("viewer", kind).await;
            let first = times[0];
            // A frame that was repaired may arrive late.
            times.sort_by_key(|time| time.wrapping_sub(first));
            for pair in times.windows(2) {
                let passed = pair[1].wrapping_sub(pair[0]);
                // RTMP has whole milliseconds, and a loop of the clip may begin half a frame late.
                let is_next = 2 * passed > step && passed < 2 * step;
                assert!(is_next, "{kind}: {passed} ticks after {}", pair[0]);
            }
            println!("{kind}: {} frames, complete", times.len());
        }
        let report = self.page.browser.report("#viewer").await;
        let report = report.expect("the video is there");
        report.assert_order();
        assert_eq!(report.peers, 1, "it is one session");
    }
}

/// Returns where frames are on the RTP clock: the number of the frame at `first`, for the most of them.
/// A slow machine reads some frames late.
fn place(frames: &[&Shown], first: u32) -> Option<u32> {
    let mut count: HashMap<u32, usize> = HashMap::new();
    for Shown(counter, time, _) in frames {
        let ticks = f64::from((*time)?.wrapping_sub(first)) / f64::from(FRAME);
        let slot = ticks.round() as u32 % CLIP_FRAMES;
        let origin = ((*counter)? + CLIP_FRAMES - slot) % CLIP_FRAMES;
        *count.entry(origin).or_default() += 1;
    }
    count
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(place, _)| place)
}

#[tokio::test]
async fn viewer_moves_between_tracks_of_obs_without_a_missing_frame() {
    let gateway = Gateway::start_configured("[transcode]\nladder = []\n");
    let _publisher = ObsPublisher::start(&clips(), gateway.rtmp, STREAM).await;
    gateway.wait_live(STREAM).await;
    let expected = [("source", 576), ("track1", 360), ("track2", 144)];
    wait_for_renditions(&gateway, &expected).await;
    let viewer = Viewer::watch(&gateway).await;
    let place = viewer.place(576).await;
    for (rid, height) in [("track2", 144), ("track1", 360), ("source", 576)] {
        viewer.select(rid).await;
        viewer.is_at(height, place).await;
    }
    viewer.assert_complete().await;
}

#[tokio::test]
async fn viewer_moves_to_renditions_of_ffmpeg_and_back_without_a_missing_frame() {
    let ladder = "[transcode]\nladder = [\"360p 500k\", \"180p 200k\"]\n";
    let gateway = Gateway::start_configured(ladder);
    gateway.logged_until("streams are transcoded for viewers");
    let _publisher = ObsPublisher::start(&clips()[..1], gateway.rtmp, STREAM).await;
    gateway.wait_live(STREAM).await;
    let viewer = Viewer::watch(&gateway).await;
    let place = viewer.place(576).await;
    for (rid, height) in [("180p", 180), ("source", 576), ("360p", 360), ("180p", 180)] {
        viewer.select(rid).await;
        viewer.is_at(height, place).await;
    }
    viewer.assert_complete().await;
}

#[tokio::test]
async fn viewer_keeps_its_choice_when_a_multitrack_publisher_reconnects() {
    let gateway = Gateway::start_configured("[transcode]\nladder = []\n");
    let mut publisher = ObsPublisher::start(&clips(), gateway.rtmp, STREAM).await;
    gateway.wait_live(STREAM).await;
    let viewer = Viewer::watch(&gateway).await;
    viewer.place(576).await;
    viewer.select("track2").await;
    viewer.place(144).await;
    for is_broken in [true, false] {
        if is_broken {
            drop(publisher);
        } else {
            publisher.stop().await;
        }
        eventually("the stream is offline", async || {
            published(&gateway).is_empty().then_some(())
        })
        .await;
        let seen = viewer.page.shown("viewer").await.len();
        publisher = ObsPublisher::start(&clips(), gateway.rtmp, STREAM).await;
        eventually("the viewer gets its rendition again", async || {
            let shown = viewer.page.shown("viewer").await;
            let new = shown.get(seen..).unwrap_or_default();
            let last = new.iter().rev().take_while(|frame| frame.2 == 144);
            (last.count() >= SAMPLE).then_some(())
        })
        .await;
    }
    let report = viewer.page.browser.report("#viewer").await;
    assert_eq!(report.expect("the video is there").peers, 1);
}

#[tokio::test]
async fn video_maps_of_ffmpeg_are_renditions_that_viewers_can_choose() {
    let sizes = ["640:360", "320:180", "160:90"];
    for count in [2, 3] {
        let gateway = Gateway::start_configured("[transcode]\nladder = []\n");
        let outputs: String = (0..count).map(|n| format!("[s{n}]")).collect();
        let scales: Vec<_> = (0..count)
            .map(|n| format!("[s{n}]scale={}:flags=neighbor[v{n}]", sizes[n]))
            .collect();
        let maps: String = (0..count).map(|n| format!("-map [v{n}] ")).collect();
        let options = format!(
            "-filter_complex [0:v]split={count}{outputs};{} {maps} -map 0:a -c:a copy \
             -c:v libx264 -preset ultrafast -profile:v baseline -g {FRAME_RATE} -b:v:0 1M \
             -b:v:1 400k -b:v:2 150k",
            scales.join(";")
        );
        let clip = Clip::with_gop(FRAME_RATE);
        let _publisher = recent_ffmpeg_publishes(&clip, &options, &gateway.rtmp_url(STREAM));
        gateway.wait_live(STREAM).await;
        let all = [("source", 360), ("track1", 180), ("track2", 90)];
        wait_for_renditions(&gateway, &all[..count]).await;
        let viewer = Viewer::watch(&gateway).await;
        viewer.place(360).await;
        for (rid, height) in all[..count].iter().rev() {
            viewer.select(rid).await;
            viewer.place(*height as u32).await;
        }
        let report = viewer.page.browser.report("#viewer").await;
        report.expect("the video is there").assert_order();
    }
}

#[tokio::test]
async fn streams_that_ffmpeg_publishes_separately_are_joined_without_a_missing_frame() {
    let rule = "[[rendition]]\nstream = \"live/*\"\nfrom = [\"{stream}_360\", \"{stream}_144\"]\n";
    let gateway = Gateway::start_configured(&format!("[transcode]\nladder = []\n{rule}"));
    let clips = clips();
    let inputs: Vec<_> = clips
        .iter()
        .map(|clip| format!("-re -stream_loop -1 -i {}", clip.path().display()))
        .collect();
    let url = |suffix: &str| gateway.rtmp_url(&format!("{STREAM}{suffix}"));
    // One process, but a connection for each of them.
    let options = format!(
        "{} -map 0 -c copy -f flv {} -map 1:v -c copy -f flv {} -map 2:v -c copy",
        inputs.join(" "),
        url(""),
        url("_360")
    );
    let _publisher = recent_ffmpeg(&options, &url("_144"));
    gateway.wait_live(STREAM).await;
    let expected = [("source", 576), ("joined1", 360), ("joined2", 144)];
    wait_for_renditions(&gateway, &expected).await;
    let viewer = Viewer::watch(&gateway).await;
    let place = viewer.place(576).await;
    for (rid, height) in [("joined2", 144), ("joined1", 360), ("source", 576)] {
        viewer.select(rid).await;
        viewer.is_at(height, place).await;
    }
    viewer.assert_complete().await;
}
