//! A publisher pauses for some seconds on an open connection, and continues. Chromium sends
//! keyframe requests during the pause.

use std::time::Duration;

use distributary_media::flv::{FlvReader, FlvTag, TagKind};
use distributary_rtmp::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::wait::eventually;
use tokio::time::{Instant, sleep_until};

/// Frames before the pause, which comes in the middle of a GOP.
const BEFORE: u32 = 7 * FRAME_RATE;

/// Frames from one keyframe to the next.
const GOP: u32 = 4 * FRAME_RATE;

/// Frames after the pause.
const AFTER: u32 = 4 * FRAME_RATE;

/// Publishes the beginning of a clip as `live/<name>`, with a pause in it, and stays until it is
/// dropped.
async fn publish(gateway: &Gateway, clip: &Clip, name: &str, pause: Duration) {
    let file = std::fs::read(clip.path()).expect("the clip can be read");
    let tags: Vec<FlvTag> = FlvReader::new(file.into())
        .expect("it is an FLV file")
        .collect::<Result<_, _>>()
        .expect("its tags are whole");
    let mut publisher = client::publish(gateway.rtmp, "live", name)
        .await
        .expect("the name is free");
    let start = Instant::now();
    let (mut frames, mut paused) = (0, Duration::ZERO);
    for tag in tags {
        if tag.kind == TagKind::Video && tag.body[1] == 1 {
            if frames == BEFORE {
                paused = pause;
            }
            if frames == BEFORE + AFTER {
                break;
            }
            frames += 1;
        }
        let time = Duration::from_millis(tag.timestamp_millis.into()) + paused;
        sleep_until(start + time).await;
        let millis = time.as_millis() as u32;
        let sent = match tag.kind {
            TagKind::Video => publisher.send_video(millis, tag.body).await,
            TagKind::Audio => publisher.send_audio(millis, tag.body).await,
            TagKind::Script => Ok(()),
        };
        sent.expect("the gateway takes it");
    }
    // Viewers are looked at while the stream is live.
    std::future::pending::<()>().await;
}

/// Notes the longest time for which a viewer was shown the same frame.
async fn measure_freeze(page: &WatchPage, name: &str) {
    let script = format!(
        "(() => {{
            const video = document.getElementById('{name}');
            let last = null;
            video.longest = 0;
            const next = (now) => {{
              if (last !== null) video.longest = Math.max(video.longest, now - last);
              last = now;
              video.requestVideoFrameCallback(next);
            }};
            video.requestVideoFrameCallback(next);
            return true;
        }})()"
    );
    let _: bool = page.browser.evaluate(&script).await;
}

#[tokio::test]
async fn viewer_sees_no_old_frame_after_a_pause_of_the_publisher() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(GOP);
    let page = WatchPage::open().await;
    for seconds in [3, 5] {
        let name = format!("pause{seconds}");
        let stream = format!("live/{name}");
        let look = async {
            gateway.wait_live(&stream).await;
            page.watch(&name, &gateway.whep_url(&stream)).await;
            measure_freeze(&page, &name).await;
            let selector = format!("#{name}");
            let shown = page
                .browser
                .wait_for(&selector, "frames after the pause", |report| {
                    report.last_counter() >= Some(BEFORE + AFTER - 10)
                });
            let report = shown.await;
            let freeze: f64 = page
                .browser
                .evaluate(&format!("document.getElementById('{name}').longest"))
                .await;
            let viewer = eventually("the viewer is listed", async || {
                let list = gateway.ask(&format!("/api/viewers?stream={stream}"));
                list["viewers"].as_array()?.first().cloned()
            })
            .await;
            (report, freeze, viewer)
        };
        let pause = Duration::from_secs(seconds);
        let (report, freeze, viewer) = tokio::select! {
            () = publish(&gateway, &clip, &name, pause) => unreachable!("it stays"),
            seen = look => seen,
        };
        println!(
            "pause {seconds} s: frozen {freeze:.0} ms, {} keyframe requests, {} replays",
            viewer["keyframe_requests"], viewer["replays"]
        );
        let counters: Option<Vec<u32>> = report.counters.iter().copied().collect();
        let counters = counters.expect("each frame that is shown is whole");
        // A frame that is shown for long may be reported twice.
        assert!(
            counters.is_sorted(),
            "an older frame was shown again: {counters:?}"
        );
        let before = counters.iter().filter(|counter| **counter < BEFORE).count();
        assert!(before > 0 && before < counters.len());
        let video = report.video.as_ref().expect("statistics of received video");
        assert!(
            video.frames_decoded <= u64::from(BEFORE + AFTER),
            "frames were decoded twice: {video:?}"
        );
        assert_eq!(viewer["replays"], 0, "{viewer}");
        assert_eq!(report.connection_state, "connected");
    }
}
