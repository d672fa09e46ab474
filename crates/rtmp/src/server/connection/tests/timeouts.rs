//! Clients that are slow or silent are disconnected.

use std::time::Duration;

use super::*;
use distributary_names::StreamName;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn client_with_a_slow_handshake_is_disconnected_in_time() {
    // Each byte comes well within the read timeout.
    for already_sent in [0, 1, 2, 1536, 1537, 1538, 3000] {
        let (server, mut client) = duplex(64 << 10);
        let (_stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let task = tokio::spawn(ServerConnection::new(server, PEER, context()).run(stopped));
        client.write_all(&vec![3; already_sent]).await.unwrap();
        while client.write_all(&[3]).await.is_ok() {
            sleep(Duration::from_secs(3)).await;
        }
        task.await.unwrap();
        let took = began.elapsed();
        let bound = Duration::from_secs(10 + 1 + 3);
        assert!(took <= bound, "{already_sent} bytes: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_never_reads_is_disconnected() {
    // Too small a pipe for the answer to the handshake.
    let (server, mut client) = duplex(2000);
    let (_stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let task = tokio::spawn(ServerConnection::new(server, PEER, context()).run(stopped));
    client.write_all(&[3; 1537]).await.unwrap();
    task.await.unwrap();
    let bound = socket::WRITE_TIMEOUT + socket::LINGER;
    assert!(began.elapsed() <= bound, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn silent_publisher_times_out() {
    let context = context_with(RtmpConfig {
        publishers: PublishersConfig {
            publish_timeout: None,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let mut silent = Client::ask(&context, ONE, "publish", "test").await;
    silent.assert_receives(STARTED).await;
    let began = Instant::now();
    silent.read_until("the end").await;
    let times = Duration::from_secs(10)..Duration::from_secs(12);
    assert!(times.contains(&began.elapsed()), "{:?}", began.elapsed());
    let name = StreamName::parse("live/test").unwrap();
    let is_live = |stream: Arc<distributary_hub::Stream>| stream.is_live();
    assert!(!context.hub.stream(&name).is_some_and(is_live));
}

#[tokio::test(start_paused = true)]
async fn publisher_without_a_frame_loses_its_name() {
    let context = context_with(RtmpConfig {
        publishers: PublishersConfig {
            publish_timeout: Some(Duration::from_secs(3)),
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let mut without = Client::ask(&context, ONE, "publish", "test").await;
    without.assert_receives("no frame arrived within 3s").await;
    // One frame is enough to stay, as long as nobody else wants the name.
    let mut with = Client::ask(&context, ONE, "publish", "test").await;
    with.assert_receives(STARTED).await;
    with.send_frame().await;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        with.pong().await;
    }
    let name = StreamName::parse("live/test").unwrap();
    assert!(context.hub.stream(&name).unwrap().is_live());
}
