//! Limits of publishers and players, and names that change hands.

use std::time::Duration;

use super::*;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn newcomer_gets_a_name_that_had_no_frames_for_long() {
    let context = context();
    let mut holder = Client::ask(&context, ONE, "publish", "test").await;
    holder.assert_receives(STARTED).await;
    sleep(Duration::from_secs(5)).await;
    holder.send_frame().await;
    for _ in 0..8 {
        sleep(Duration::from_secs(1)).await;
        holder.pong().await;
    }
    let mut early = Client::ask(&context, OTHER, "publish", "test").await;
    early.assert_receives("Somebody else is publishing").await;
    for _ in 0..3 {
        sleep(Duration::from_secs(1)).await;
        holder.pong().await;
    }
    let mut newcomer = Client::ask(&context, OTHER, "publish", "test").await;
    newcomer.assert_receives(STARTED).await;
    holder
        .assert_receives("Another publisher has taken the stream over")
        .await;
    // Its frames count from now on.
    let mut next = Client::ask(&context, ONE, "publish", "test").await;
    next.assert_receives("Somebody else is publishing").await;
}

#[tokio::test(start_paused = true)]
async fn publisher_without_a_frame_for_longest_is_dismissed_at_the_limit() {
    let context = context_with(RtmpConfig {
        publishers: PublishersConfig {
            max: 3,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let mut holders = Vec::new();
    for name in ["longest", "long", "alive"] {
        let mut holder = Client::ask(&context, ONE, "publish", name).await;
        holder.assert_receives(STARTED).await;
        holder.send_frame().await;
        sleep(Duration::from_secs(1)).await;
        holders.push(holder);
    }
    let mut early = Client::ask(&context, OTHER, "publish", "early").await;
    early
        .assert_receives("limit of 3 publishers is reached")
        .await;
    for _ in 0..15 {
        sleep(Duration::from_secs(1)).await;
        holders[2].send_frame().await;
        holders[0].pong().await;
        holders[1].pong().await;
    }
    let mut newcomer = Client::ask(&context, OTHER, "publish", "newcomer").await;
    newcomer.assert_receives(STARTED).await;
    newcomer.send_frame().await;
    holders[0]
        .assert_receives("the limit of publishers is reached")
        .await;
    // It may come back, and the next one gives way.
    let mut back = Client::ask(&context, ONE, "publish", "longest").await;
    back.assert_receives(STARTED).await;
    back.send_frame().await;
    holders[1]
        .assert_receives("the limit of publishers is reached")
        .await;
    let mut late = Client::ask(&context, OTHER, "publish", "late").await;
    late.assert_receives("limit of 3 publishers is reached")
        .await;
    assert_eq!(context.publishers.taken(), 3);
}

#[tokio::test(start_paused = true)]
async fn limit_per_address_does_not_apply_to_loopback() {
    let hub = Hub::new(HubConfig {
        viewers: distributary_hub::ViewerLimits {
            max_per_address: 1,
            ..Default::default()
        },
        ..HubConfig::default()
    });
    let config = RtmpConfig {
        publishers: PublishersConfig {
            max_per_ip: 1,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    };
    let context = Arc::new(ServerContext::new(config, hub, None));
    let mut others = Vec::new();
    for (ip, name) in [(ONE, "a"), (THIS_MACHINE, "b"), (THIS_MACHINE, "c")] {
        let mut publisher = Client::ask(&context, ip, "publish", name).await;
        publisher.assert_receives(STARTED).await;
        others.push(publisher);
    }
    let mut second = Client::ask(&context, ONE, "publish", "d").await;
    second
        .assert_receives("limit of 1 publishers from one address")
        .await;
    for ip in [ONE, THIS_MACHINE, THIS_MACHINE] {
        let mut player = Client::ask(&context, ip, "play", "a").await;
        player.assert_receives("NetStream.Play.Start").await;
        others.push(player);
    }
    let mut second = Client::ask(&context, ONE, "play", "b").await;
    second
        .assert_receives("limit of 1 viewers from one address")
        .await;
}
