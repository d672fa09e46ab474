//! Streams pulled from another server, here a second instance of ours.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::time::Duration;

use distributary_hub::{DemandError, StreamEvent};
use distributary_names::StreamName;
use distributary_rtmp::client;
use distributary_rtmp::{
    MediaMessage, PublishersConfig, PullRule, PullsConfig, RtmpConfig, TlsConfig, TlsIdentity,
};
use support::{Ffmpeg, Log, TestServer, until};
use tokio::net::TcpListener;

/// Returns a server that pulls `live/*` from `origin`, with the shortest idle timeout.
fn edge_of(origin: &str) -> TestServer {
    let from = format!("rtmp://{origin}/live");
    let rule = PullRule::new("live/*".parse().unwrap(), &from, Duration::ZERO).unwrap();
    TestServer::with(RtmpConfig {
        pull: vec![rule],
        ..RtmpConfig::default()
    })
}

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

#[tokio::test]
async fn stream_is_pulled_while_it_has_viewers() {
    let log = Log::capture();
    let origin = TestServer::start();
    let _publisher = Ffmpeg::publish(&origin.url("live/test?key=secret"), "60");
    origin.until_live("live/test").await;
    let at_origin = origin.hub.stream(&name("live/test")).unwrap();
    let edge = edge_of(&origin.address.to_string());
    assert!(edge.hub.stream(&name("live/test")).is_none());

    // Two at once, and one pull.
    let test = name("live/test");
    let (first, second) = tokio::join!(edge.hub.ensure_live(&test), edge.hub.ensure_live(&test));
    assert_eq!((first, second), (Ok(()), Ok(())));
    let mut watcher = edge.watch("live/test").await;
    assert_eq!(*at_origin.subscribers().borrow(), 1);
    let stats = watcher.subscription.stream().stats();
    assert_eq!(stats.video.unwrap().width, 320);
    assert!(stats.audio.is_some());
    let info = stats.info.unwrap();
    assert!(info.encoder.as_deref().unwrap().starts_with("Lavf"));
    for _ in 0..30 {
        assert!(matches!(
            watcher.event().await,
            StreamEvent::Frame(_) | StreamEvent::Data(_)
        ));
    }
    drop(watcher);
    edge.until_offline("live/test").await;
    until(at_origin.subscribers(), |count| *count == 0).await;
    assert!(log.contains("pulling"), "{log}");
    assert!(log.contains("no viewers"), "{log}");
}

#[tokio::test]
async fn stream_without_an_application_is_pulled() {
    let origin = TestServer::start();
    let _publisher = Ffmpeg::publish(&origin.url("cam"), "60");
    origin.until_live("cam").await;
    let from = origin.url("cam");
    let rule = PullRule::new("cam".parse().unwrap(), &from, Duration::ZERO).unwrap();
    let edge = TestServer::with(RtmpConfig {
        pull: vec![rule],
        ..RtmpConfig::default()
    });
    edge.hub.ensure_live(&name("cam")).await.unwrap();
    let mut watcher = edge.watch("cam").await;
    assert!(matches!(watcher.event().await, StreamEvent::Frame(_)));
}

#[tokio::test]
async fn player_gets_a_pulled_stream_from_a_keyframe() {
    let origin = TestServer::start();
    let _publisher = Ffmpeg::publish(&origin.url("live/test"), "60");
    origin.until_live("live/test").await;
    let edge = edge_of(&origin.address.to_string());
    let url = edge.url("live/test").parse().unwrap();
    let mut player = client::play(&url).await.unwrap();
    let mut video = Vec::new();
    let mut said = Vec::new();
    while video.len() < 40 {
        match player.next().await.unwrap() {
            MediaMessage::Video { body, .. } => video.push(body),
            MediaMessage::Data { name, .. } => said.push(name),
            _ => {}
        }
    }
    assert_eq!(said, ["onMetaData"]);
    assert_eq!(video[0][..2], [0x17, 0], "the sequence header");
    assert_eq!(video[1][..2], [0x17, 1], "a keyframe");
    player.close().await.unwrap();
    edge.until_offline("live/test").await;
}

#[tokio::test]
async fn pull_resumes_when_the_stream_returns_at_the_origin() {
    let origin = TestServer::start();
    let first = Ffmpeg::publish(&origin.url("live/test"), "60");
    origin.until_live("live/test").await;
    let edge = edge_of(&origin.address.to_string());
    edge.hub.ensure_live(&name("live/test")).await.unwrap();
    let mut watcher = edge.watch("live/test").await;
    first.kill().await;
    watcher.frames_until_offline().await;

    let _second = Ffmpeg::publish(&origin.url("live/test"), "60");
    while !matches!(watcher.event().await, StreamEvent::Online) {}
    let mut keyframe = false;
    while !keyframe {
        if let StreamEvent::Frame(frame) = watcher.event().await {
            keyframe = frame.is_keyframe();
        }
    }
}

#[tokio::test]
async fn stream_that_the_origin_lacks_is_refused_with_the_origins_reason() {
    let origin = TestServer::start();
    let edge = edge_of(&origin.address.to_string());
    for _ in 0..2 {
        let refusal = edge
            .hub
            .ensure_live(&name("live/nothing"))
            .await
            .unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("live/nothing is not live"), "{refusal}");
    }
    let other = edge.hub.ensure_live(&name("other/nothing")).await;
    assert_eq!(other, Err(DemandError::NoProvider));
}

#[tokio::test]
async fn pull_from_an_unreachable_origin_is_logged_and_leaves_no_stream() {
    let log = Log::capture();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let edge = edge_of(&address.to_string());
    let refusal = edge.hub.ensure_live(&name("live/test")).await.unwrap_err();
    assert!(refusal.to_string().contains("refused"), "{refusal}");
    assert!(edge.hub.stream(&name("live/test")).is_none());
    assert!(log.contains("the stream cannot be pulled"), "{log}");
    assert!(
        log.contains(&format!("rtmp://{address}/live/test")),
        "{log}"
    );
}

/// Returns an origin that accepts connections and never sends anything.
async fn silent_origin() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let keep = async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    };
    (address, tokio::spawn(keep))
}

fn edge_with(origin: &str, pulls: PullsConfig) -> TestServer {
    let from = format!("rtmp://{origin}/live");
    let rule = PullRule::new("live/*".parse().unwrap(), &from, Duration::ZERO).unwrap();
    TestServer::with(RtmpConfig {
        pull: vec![rule],
        pulls,
        publishers: PublishersConfig {
            max: 1,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    })
}

#[tokio::test]
async fn attempts_are_limited_per_address_and_take_no_publishers_permit() {
    let (origin, _running) = silent_origin().await;
    let edge = edge_with(
        &origin,
        PullsConfig {
            max_per_ip: 2,
            ..PullsConfig::default()
        },
    );
    let ip = |n: u8| Some(std::net::IpAddr::from([192, 0, 2, n]));
    let names = ["live/a", "live/b", "live/c"].map(name);
    let [first, second, third] = names
        .each_ref()
        .map(|name| edge.hub.ensure_live_for(name, ip(1)));
    // In this order, so that the third comes when the first two are in progress.
    let refused = tokio::select! {
        biased;
        _ = first => panic!("the origin is silent"),
        _ = second => panic!("the origin is silent"),
        refused = third => refused.unwrap_err().to_string(),
    };
    assert!(refused.contains("that this address waits for"), "{refused}");
    // A publisher still gets its permit.
    client::publish(edge.address, "live", "own").await.unwrap();
}

#[tokio::test]
async fn attempt_ends_when_nobody_waits_anymore() {
    let log = Log::capture();
    let (origin, _running) = silent_origin().await;
    let edge = edge_with(
        &origin,
        PullsConfig {
            max: 1,
            ..PullsConfig::default()
        },
    );
    let a = name("live/a");
    tokio::select! {
        _ = edge.hub.ensure_live(&a) => panic!("the origin is silent"),
        () = log.until("pulling", 1) => {}
    }
    log.until("nobody waits for it anymore", 1).await;
    // The same after an RTMP player has left.
    let url = edge.url("live/b");
    let player = Ffmpeg::start(&["-i", &url, "-f", "null", "-"]);
    log.until("pulling", 3).await;
    player.kill().await;
    log.until("nobody waits", 2).await;
}

#[tokio::test]
async fn stream_is_pulled_over_tls_only_from_a_server_of_the_named_authority() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write("origin.pem", generated.cert.pem());
    let key = write("origin.key", generated.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = write("other.pem", other.cert.pem());
    let origin = TestServer::with(RtmpConfig {
        tls: Some(TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            identity: TlsIdentity::files(certificate.clone(), key),
        }),
        ..RtmpConfig::default()
    });
    let _publisher = Ffmpeg::publish(&origin.url("live/test"), "60");
    origin.until_live("live/test").await;
    let port = origin.tls_address.unwrap().port();
    let edge = |ca: &std::path::Path| {
        let from = format!("rtmps://localhost:{port}/live");
        let rule = PullRule::new("live/*".parse().unwrap(), &from, Duration::ZERO).unwrap();
        TestServer::with(RtmpConfig {
            pull: vec![PullRule {
                ca: ca.to_owned(),
                ..rule
            }],
            ..RtmpConfig::default()
        })
    };
    let trusting = edge(&certificate);
    trusting.hub.ensure_live(&name("live/test")).await.unwrap();
    let mut watcher = trusting.watch("live/test").await;
    for _ in 0..30 {
        assert!(matches!(
            watcher.event().await,
            StreamEvent::Frame(_) | StreamEvent::Data(_)
        ));
    }
    for ca in [other.as_path(), std::path::Path::new("")] {
        let refused = edge(ca).hub.ensure_live(&name("live/test")).await;
        let Err(DemandError::Failed(reason)) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("invalid peer certificate"), "{reason}");
        assert!(reason.contains("ca under [[pull]]"), "{reason}");
    }
}
