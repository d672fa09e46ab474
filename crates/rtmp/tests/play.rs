//! RTMP players play the streams of RTMP publishers.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use distributary_auth::jwt::{JwtConfig, LEEWAY};
use distributary_auth::{AuthConfig, Authorizer, Method};
use distributary_rtmp::{RtmpConfig, TlsConfig, TlsIdentity};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use support::{Ffmpeg, TestServer, rtmpdump};

#[tokio::test]
async fn ffmpeg_plays_what_ffmpeg_publishes() {
    let server = TestServer::start();
    let url = server.url("live/test");
    let publisher = Ffmpeg::publish(&url, "5");
    server.until_live("live/test").await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.flv");
    let player = Ffmpeg::start(&["-i", &url, "-c", "copy", copy.to_str().unwrap()]);
    let (status, said) = publisher.wait().await;
    assert!(status.success(), "{said}");
    let (status, said) = player.wait().await;
    assert!(status.success(), "{said}");

    let (frames, log) = decode(&copy).await;
    assert!(log.contains("320x240") && log.contains("aac"), "{log}");
    assert!((60..=150).contains(&frames), "{frames}: {log}");
}

#[tokio::test]
async fn librtmp_plays_over_rtmpe_until_the_stream_ends() {
    let server = TestServer::start();
    let url = server.url("live/test");
    librtmp_plays(&server, &url.replace("rtmp://", "rtmpe://")).await;
}

/// librtmp's TLS is that of GnuTLS.
#[tokio::test]
async fn librtmp_plays_over_rtmps_until_the_stream_ends() {
    let server = TestServer::with(RtmpConfig {
        tls: Some(TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            identity: TlsIdentity::default(),
        }),
        ..RtmpConfig::default()
    });
    let address = server.tls_address.unwrap();
    librtmp_plays(&server, &format!("rtmps://{address}/live/test")).await;
}

/// A name with the format of a recording, as Flash players have it.
#[tokio::test]
async fn librtmp_plays_a_name_with_a_format() {
    let server = TestServer::start();
    librtmp_plays(&server, &server.url("live/mp4:test")).await;
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "tokens expire by the wall clock")]
async fn player_is_disconnected_when_its_token_expires() {
    let jwt = JwtConfig {
        secret: "secret".to_owned(),
        ..JwtConfig::default()
    };
    let auth = AuthConfig {
        play: Method::Jwt,
        jwt,
        ..AuthConfig::default()
    };
    let server = TestServer::with(RtmpConfig {
        auth: Authorizer::new(auth).unwrap(),
        ..RtmpConfig::default()
    });
    let url = server.url("live/test");
    let _publisher = Ffmpeg::publish(&url, "600");
    server.until_live("live/test").await;
    // It has expired, and is accepted for some more seconds.
    let expires = SystemTime::now() - (LEEWAY - Duration::from_secs(10));
    let expires = expires.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "exp": expires, "stream": "live/*", "action": "play" });
    let key = EncodingKey::from_secret(b"secret");
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.flv");
    let with_token = format!("{url}?token={token}");
    let player = Ffmpeg::start(&["-i", &with_token, "-c", "copy", copy.to_str().unwrap()]);
    let (status, said) = player.wait().await;
    assert!(status.success(), "{said}");
    server.until_live("live/test").await;
    let (frames, log) = decode(&copy).await;
    assert!(frames > 0, "{log}");
}

async fn librtmp_plays(server: &TestServer, url: &str) {
    // Long enough for a player that starts late, as on a busy machine.
    let publisher = Ffmpeg::publish(&server.url("live/test"), "10");
    server.until_live("live/test").await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.flv");
    rtmpdump(&["-q", "-v", "-r", url, "-o", copy.to_str().unwrap()]).await;
    assert!(publisher.wait().await.0.success());
    let (frames, log) = decode(&copy).await;
    assert!((60..=300).contains(&frames), "{frames}: {log}");
}

/// Decodes a recording with only complete frames. Returns their number, and the log of ffmpeg.
async fn decode(recording: &Path) -> (u32, String) {
    let recording = recording.to_str().unwrap();
    let decoder = Ffmpeg::start(&["-v", "info", "-xerror", "-i", recording, "-f", "null", "-"]);
    let (status, said) = decoder.wait().await;
    assert!(status.success(), "{said}");
    let frames = said.rsplit("frame=").next().unwrap().trim_start();
    let frames = frames.split_whitespace().next().unwrap().parse().unwrap();
    (frames, said)
}

#[tokio::test]
async fn stream_that_is_not_live_is_refused_with_a_description() {
    let server = TestServer::start();
    let player = Ffmpeg::start(&["-i", &server.url("live/nothing"), "-f", "null", "-"]);
    let (status, said) = player.wait().await;
    assert!(!status.success());
    assert!(
        said.contains("live/nothing is not live: nobody publishes it"),
        "{said}"
    );
}
