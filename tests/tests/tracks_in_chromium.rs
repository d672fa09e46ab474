//! Streams with one track, and tracks that come and go, in Chromium.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::publishers::{librtmp_publishes, recent_ffmpeg_publishes};
use distributary_tests::report::VideoReport;

/// Audio samples per second.
const RATE: u64 = 48_000;

fn frames(report: &VideoReport) -> usize {
    report.counters.len()
}

fn samples(report: &VideoReport) -> u64 {
    let audio = report.audio.as_ref();
    audio.map_or(0, |audio| audio.packets_received * RATE / 50)
}

#[tokio::test]
async fn one_track_alone_plays() {
    let gateway = Gateway::start();
    let clip = Clip::small();
    let page = WatchPage::open().await;
    for (name, options) in [("audio", "-vn -c:a copy"), ("frame", "-an -c:v copy")] {
        let stream = format!("live/{name}");
        let _publisher = recent_ffmpeg_publishes(&clip, options, &gateway.rtmp_url(&stream));
        gateway.wait_watchable(&stream).await;
        let answer = page.watch(name, &gateway.whep_url(&stream)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let (has_frame, has_audio) = (name == "frame", name == "audio");
        let plays = |report: &VideoReport| {
            (!has_frame || frames(report) >= FRAME_RATE as usize)
                && (!has_audio || report.audio_energy() > 0.0 && samples(report) > RATE)
        };
        let report = page
            .browser
            .wait_for(&format!("#{name}"), name, plays)
            .await;
        assert_eq!(report.connection_state, "connected");
        if has_frame {
            report.assert_plays(&clip);
            assert_eq!(samples(&report), 0, "{report:?}");
        } else {
            assert_eq!(frames(&report), 0, "{report:?}");
        }
    }
}

/// Audio only for two seconds, both for four, then video only.
#[tokio::test]
async fn late_and_ending_tracks_keep_the_session() {
    let gateway = Gateway::start();
    let whole = Clip::small();
    let clip = whole.cut(2000..=60_000, 0..=6000);
    let _publisher = librtmp_publishes(&clip, &gateway.rtmp_url("live/test"), &[]);
    gateway.wait_watchable("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let viewer = &page.browser;
    let some_audio = |report: &VideoReport| samples(report) > RATE / 2;
    viewer.wait_for("#viewer", "audio", some_audio).await;
    let both = |report: &VideoReport| frames(report) > 0 && report.audio_energy() > 0.0;
    let both = viewer.wait_for("#viewer", "frames and audio", both).await;
    // Longer than the audio lasts.
    let enough = frames(&both) + 6 * FRAME_RATE as usize;
    let goes_on = |report: &VideoReport| frames(report) > enough;
    let last = viewer.wait_for("#viewer", "frames alone", goes_on).await;
    last.assert_plays(&whole);
    assert!(samples(&last) < 7 * RATE, "{last:?}");
    assert_eq!(last.peers, 1, "one session");
}
