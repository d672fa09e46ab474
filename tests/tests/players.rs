//! Other players than Chromium watch a stream of ffmpeg.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::firefox::Firefox;
use distributary_tests::gateway::{Gateway, own_address};
use distributary_tests::players::{
    ENOUGH_AUDIO, ENOUGH_VIDEO, Watched, aiortc_watches, gstreamer_watches, libdatachannel_watches,
};
use distributary_tests::publishers::recent_ffmpeg_publishes;
use distributary_tests::wait::eventually;

/// Configurations in which these players are the DTLS clients, as by default, and the servers.
const SETUPS: [&str; 2] = [
    "[viewers]\nsetup = \"passive\"\n",
    "[viewers]\nsetup = \"active\"\n",
];

fn assert_plays(watched: &Watched, clip: &Clip) {
    assert_eq!(watched.width, clip.width, "{watched:?}");
    assert_receives(watched);
}

/// Does the same for a player that does not decode.
fn assert_receives(watched: &Watched) {
    assert_eq!(watched.state, "connected", "{watched:?}");
    assert!(watched.video >= ENOUGH_VIDEO, "{watched:?}");
    assert!(watched.audio >= ENOUGH_AUDIO, "{watched:?}");
}

fn assert_hears(watched: &Watched, kind: &str) {
    let wanted = format!("{{\"type\":\"{kind}\",");
    let mut texts = watched.texts.iter();
    assert!(texts.any(|text| text.starts_with(&wanted)), "{watched:?}");
}

#[tokio::test]
async fn aiortc_plays_and_gets_metadata_in_both_dtls_roles() {
    for setup in SETUPS {
        let gateway = Gateway::start_configured(setup);
        let clip = Clip::with_gop(2 * FRAME_RATE);
        let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        let watched = aiortc_watches(&gateway.whep_url("live/test"));
        assert_plays(&watched, &clip);
        assert_hears(&watched, "metadata");
        assert_hears(&watched, "pong");
    }
}

/// libnice sends no UDP from the address of an interface to loopback, so this also tests ICE over
/// TCP, after libnice has tried UDP for two seconds.
#[tokio::test]
async fn gstreamer_plays_and_gets_metadata_in_both_dtls_roles() {
    for setup in SETUPS {
        let gateway = Gateway::start_configured(setup);
        let clip = Clip::with_gop(2 * FRAME_RATE);
        let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        let watched = gstreamer_watches(&gateway.whep_url("live/test"), "H264");
        assert_plays(&watched, &clip);
        assert_hears(&watched, "metadata");
        assert_hears(&watched, "pong");
    }
}

#[tokio::test]
async fn gstreamer_plays_h265() {
    let gateway = Gateway::start();
    let clip = Clip::small();
    let options = "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0 -g 60 \
                   -c:a copy -rtmp_enhanced_codecs hvc1";
    let _publisher = recent_ffmpeg_publishes(&clip, options, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watched = gstreamer_watches(&gateway.whep_url("live/test"), "H265");
    assert_plays(&watched, &clip);
    // Every frame is one of the clip, and in order. A viewer that falls behind on a busy machine goes
    // on at a keyframe, of which there is one every 60 frames.
    let follows =
        |pair: &[u32]| pair[1] == pair[0] + 1 || pair[1] > pair[0] && pair[1].is_multiple_of(60);
    assert!(watched.numbers.windows(2).all(follows), "{watched:?}");
}

#[tokio::test]
async fn libdatachannel_gets_media_and_metadata_in_both_dtls_roles() {
    for setup in SETUPS {
        let gateway = Gateway::start_configured(setup);
        let clip = Clip::with_gop(2 * FRAME_RATE);
        let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        let watched = libdatachannel_watches(&gateway.whep_url("live/test"));
        assert_receives(&watched);
        assert_hears(&watched, "metadata");
        assert_hears(&watched, "pong");
    }
}

/// Firefox decodes H264 with a plugin that it downloads, which tests do not allow: its offer then
/// has no H264, and it gets audio only.
#[tokio::test]
async fn firefox_without_h264_gets_audio_and_metadata() {
    // Firefox has no candidate on loopback, and so no pair there.
    let gateway = Gateway::start_with_media_on(own_address());
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let mut firefox = Firefox::start();
    let url = gateway.whep_url("live/test");
    let answer = firefox.watch(&url, &["audio", "video"]);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body.contains("m=video 0 "), "{}", answer.body);
    firefox.say(r#"{"type":"ping","id":"firefox"}"#).await;
    let heard = eventually("enough audio", async || {
        let heard = firefox.heard();
        (heard.packets >= ENOUGH_AUDIO).then_some(heard)
    })
    .await;
    assert_eq!(heard.state, "connected", "{heard:?}");
    assert!(heard.energy > 0.0, "{heard:?}");
    assert_eq!(heard.lost, 0, "{heard:?}");
    let mut texts = heard.texts.iter();
    assert!(texts.any(|text| text.contains("pong")), "{heard:?}");
    let mut texts = heard.texts.iter();
    assert!(texts.any(|text| text.contains("metadata")), "{heard:?}");
}
