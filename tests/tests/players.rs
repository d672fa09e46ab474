//! Players of other makes than Chromium watch what ffmpeg publishes.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::players::{Watched, aiortc_watches, gstreamer_watches};
use distributary_tests::publishers::recent_ffmpeg_publishes;

/// How long each player watches.
const SECONDS: u32 = 10;

/// Blocks of Opus in a second.
const BLOCKS: u64 = 50;

/// What has to be seen and heard after the time that a player took to come up.
fn assert_plays(watched: &Watched, clip: &Clip, seconds: u64) {
    assert_eq!(watched.state, "connected", "{watched:?}");
    assert_eq!(watched.width, clip.width, "{watched:?}");
    assert!(
        watched.video >= seconds * u64::from(FRAME_RATE),
        "{watched:?}"
    );
    assert!(watched.audio >= seconds * BLOCKS, "{watched:?}");
}

fn assert_hears(watched: &Watched, kind: &str) {
    let wanted = format!("{{\"type\":\"{kind}\",");
    let mut texts = watched.texts.iter();
    assert!(texts.any(|text| text.starts_with(&wanted)), "{watched:?}");
}

#[tokio::test]
async fn aiortc_plays_and_hears_the_metadata() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watched = aiortc_watches(&gateway.whep_url("live/test"), SECONDS);
    assert_plays(&watched, &clip, 8);
    assert_hears(&watched, "metadata");
    assert_hears(&watched, "pong");
}

/// libnice sends no UDP from the address of an interface to one of loopback, so that this is ICE over
/// TCP as well, after libnice has tried UDP for two seconds.
#[tokio::test]
async fn gstreamer_plays_and_hears_the_metadata() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watched = gstreamer_watches(&gateway.whep_url("live/test"), "H264", SECONDS);
    assert_plays(&watched, &clip, 5);
    assert_hears(&watched, "metadata");
    assert_hears(&watched, "pong");
}

#[tokio::test]
async fn gstreamer_plays_h265() {
    let gateway = Gateway::start();
    let clip = Clip::small();
    let options = "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0 -g 60 \
                   -c:a copy -rtmp_enhanced_codecs hvc1";
    let _publisher = recent_ffmpeg_publishes(&clip, options, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watched = gstreamer_watches(&gateway.whep_url("live/test"), "H265", SECONDS);
    assert_plays(&watched, &clip, 5);
    // Every picture is one of the clip, and each comes after the one before.
    assert!(
        watched
            .numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0] + 1),
        "{watched:?}"
    );
}
