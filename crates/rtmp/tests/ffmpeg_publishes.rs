//! ffmpeg publishes, and its frames reach the hub.

mod support;

use distributary_hub::StreamEvent;
use distributary_media::{AudioCodec, Frame, VideoCodec};
use support::{Ffmpeg, Log, TestServer};

#[tokio::test]
async fn every_frame_of_ffmpeg_reaches_the_hub_in_order() {
    let server = TestServer::start();
    let ffmpeg = Ffmpeg::publish(&server.url("live/test"), "3");
    let mut watcher = server.watch("live/test").await;
    let frames = watcher.frames_until_offline().await;
    let (status, said) = ffmpeg.wait().await;
    assert!(status.success(), "ffmpeg: {said}");

    let stats = watcher.subscription.stream().stats();
    let video = stats.video.expect("a video track");
    assert_eq!(
        (video.codec, video.width, video.height),
        (VideoCodec::H264, 320, 240)
    );
    let audio = stats.audio.expect("an audio track");
    assert_eq!((audio.codec, audio.sample_rate), (AudioCodec::Aac, 48_000));
    assert_eq!(stats.video_frames, 90, "3 s at 30 frames per second");
    assert!(
        (140..=143).contains(&stats.audio_frames),
        "{}",
        stats.audio_frames
    );

    let video: Vec<_> = frames
        .iter()
        .filter(|frame| matches!(***frame, Frame::Video(_)))
        .collect();
    assert_eq!(video.len(), 90);
    for (n, frame) in video.iter().enumerate() {
        assert_eq!(frame.is_keyframe(), n % 30 == 0, "frame {n}");
    }
    for pair in video.windows(2) {
        let step = pair[1].dts().as_millis() - pair[0].dts().as_millis();
        assert!((33..=34).contains(&step), "a step of {step} ms");
    }
    server.stop().await;
}

#[tokio::test]
async fn second_publisher_is_refused_and_the_first_continues() {
    let server = TestServer::start();
    let first = Ffmpeg::publish(&server.url("live/test"), "4");
    let mut watcher = server.watch("live/test").await;
    let second = Ffmpeg::publish(&server.url("live/test"), "4");
    let (status, said) = second.wait().await;
    assert!(!status.success());
    assert!(
        said.contains("Somebody else is publishing live/test"),
        "{said}"
    );

    watcher.frames_until_offline().await;
    let (status, said) = first.wait().await;
    assert!(status.success(), "ffmpeg: {said}");
    assert_eq!(watcher.subscription.stream().stats().video_frames, 120);
}

#[tokio::test]
async fn killed_publisher_frees_its_name() {
    let server = TestServer::start();
    let first = Ffmpeg::publish(&server.url("live/test"), "60");
    let mut watcher = server.watch("live/test").await;
    first.kill().await;
    watcher.frames_until_offline().await;

    let second = Ffmpeg::publish(&server.url("live/test"), "1");
    assert!(matches!(watcher.event().await, StreamEvent::Online));
    let frames = watcher.frames_until_offline().await;
    assert!(frames.iter().any(|frame| frame.is_keyframe()));
    assert!(second.wait().await.0.success());
}

#[tokio::test]
async fn key_in_the_url_is_not_part_of_the_name() {
    let log = Log::capture();
    let server = TestServer::start();
    let ffmpeg = Ffmpeg::publish(&server.url("live/eu/test?key=secret"), "1");
    let mut watcher = server.watch("live/eu/test").await;
    watcher.frames_until_offline().await;
    assert!(ffmpeg.wait().await.0.success());
    server.stop().await;
    for line in [
        "connected",
        "publishing",
        "Lavf",
        "size=320x240 fps=30",
        "codec=AAC",
        "publishing ended reason=the encoder stopped",
    ] {
        assert!(log.contains(line), "{line:?} is missing in:\n{log}");
    }
    assert!(log.contains("stream=\"live/eu/test\""), "{log}");
    assert!(!log.contains("secret"), "the key is in the log:\n{log}");
}

#[tokio::test]
async fn invalid_name_is_refused_with_a_description() {
    let server = TestServer::start();
    let ffmpeg = Ffmpeg::publish(&server.url("live/..%2f..%2fetc"), "1");
    let (status, said) = ffmpeg.wait().await;
    assert!(!status.success());
    assert!(said.contains("Not a stream name"), "{said}");
}

#[tokio::test]
async fn all_frames_arrive_from_ffmpeg_faster_than_real_time() {
    let server = TestServer::start();
    let ffmpeg = Ffmpeg::publish_fast(&server.url("live/fast"), "60");
    let mut watcher = server.watch("live/fast").await;
    watcher.frames_until_offline().await;
    assert!(ffmpeg.wait().await.0.success());
    assert_eq!(watcher.subscription.stream().stats().video_frames, 1800);
}
