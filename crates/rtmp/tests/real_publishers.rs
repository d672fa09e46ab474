//! Publishers with RTMP stacks of their own beside ffmpeg's: GStreamer's, and librtmp, which rtmpsink
//! and many encoders are built on. They are tested where GStreamer is installed:
//!
//! ```sh
//! apt-get install gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad,ugly}
//! cargo test -p distributary-rtmp --test real_publishers -- --ignored
//! ```
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::process::Stdio;

use distributary_media::Frame;
use distributary_rtmp::{RtmpConfig, TlsConfig, TlsIdentity};
use support::{PATIENCE, TestServer};
use tokio::process::Command;
use tokio::time::timeout;

/// Publishes two seconds of pictures and sound through a GStreamer element.
async fn assert_publishes(server: &TestServer, name: &str, sink: &str) {
    let pipeline = format!(
        "videotestsrc is-live=true num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=30 ! h264parse ! flvmux streamable=true name=m \
         audiotestsrc is-live=true num-buffers=90 ! voaacenc ! aacparse ! m. m. ! {sink}"
    );
    let publisher = Command::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let watch = async {
        let mut watcher = server.watch(name).await;
        watcher.frames_until_offline().await
    };
    let (output, frames) = timeout(PATIENCE, async { tokio::join!(publisher, watch) })
        .await
        .expect("the publisher ends in time");
    let output = output.unwrap_or_else(|error| panic!("gst-launch-1.0: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let is_video = |frame: &&std::sync::Arc<Frame>| matches!(***frame, Frame::Video(_));
    let pictures = frames.iter().filter(is_video).count();
    assert_eq!(pictures, 60, "{said}");
    assert!(frames.len() > 140, "{} frames", frames.len());
}

#[tokio::test]
#[ignore = "needs GStreamer"]
async fn gstreamer_publishes() {
    let server = TestServer::start();
    let sink = format!("rtmp2sink location={}", server.url("live/gst"));
    assert_publishes(&server, "live/gst", &sink).await;
}

#[tokio::test]
#[ignore = "needs GStreamer"]
async fn gstreamer_publishes_over_tls() {
    let server = TestServer::with(RtmpConfig {
        tls: Some(TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            identity: TlsIdentity::SelfSigned,
        }),
        ..RtmpConfig::default()
    });
    let address = server.tls_address.unwrap();
    let sink = format!("rtmp2sink location=rtmps://{address}/live/gst tls-validation-flags=0");
    assert_publishes(&server, "live/gst", &sink).await;
}

#[tokio::test]
#[ignore = "needs GStreamer"]
async fn librtmp_publishes() {
    let server = TestServer::start();
    let sink = format!("rtmpsink location={}", server.url("live/librtmp"));
    assert_publishes(&server, "live/librtmp", &sink).await;
}

#[tokio::test]
#[ignore = "needs GStreamer"]
async fn librtmp_publishes_over_rtmpe() {
    let server = TestServer::start();
    let url = server.url("live/librtmp").replace("rtmp://", "rtmpe://");
    assert_publishes(&server, "live/librtmp", &format!("rtmpsink location={url}")).await;
}
