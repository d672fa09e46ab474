//! RTMP players take the streams that RTMP publishers send.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use support::{Ffmpeg, TestServer};

#[tokio::test]
async fn ffmpeg_plays_what_ffmpeg_publishes() {
    let server = TestServer::start();
    let url = server.url("live/test");
    let publisher = Ffmpeg::publish(&url, "5");
    server.until("live/test", true).await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.flv");
    let player = Ffmpeg::start(&["-i", &url, "-c", "copy", copy.to_str().unwrap()]);
    let (status, said) = publisher.wait().await;
    assert!(status.success(), "{said}");
    let (status, said) = player.wait().await;
    assert!(status.success(), "{said}");

    // Every picture can be decoded, from the first one on.
    let log = Ffmpeg::start(&[
        "-v",
        "info",
        "-xerror",
        "-i",
        copy.to_str().unwrap(),
        "-f",
        "null",
        "-",
    ]);
    let (status, said) = log.wait().await;
    assert!(status.success(), "{said}");
    assert!(said.contains("320x240") && said.contains("aac"), "{said}");
    let frames = said.rsplit("frame=").next().unwrap().trim_start();
    let frames: u32 = frames.split_whitespace().next().unwrap().parse().unwrap();
    assert!((60..=150).contains(&frames), "{frames} frames: {said}");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_refused_in_words() {
    let server = TestServer::start();
    let player = Ffmpeg::start(&["-i", &server.url("live/nothing"), "-f", "null", "-"]);
    let (status, said) = player.wait().await;
    assert!(!status.success());
    assert!(
        said.contains("live/nothing is not live: nobody publishes it"),
        "{said}"
    );
}
