//! Data channels between our side and another implementation, over a lossy network.

mod simulation;

use std::time::Duration;

use distributary_webrtc::peer::PeerEvent;
use simulation::Simulation;

const TIMEOUT: Duration = Duration::from_secs(20);

fn say(simulation: &mut Simulation, text: &str) {
    let id = simulation.channels[0];
    let mut channel = simulation.client.channel(id).expect("the channel is open");
    channel
        .write(false, text.as_bytes())
        .expect("there is room");
}

#[test]
fn channel_beside_media_carries_notices_and_pings() {
    for loss_permille in [0, 100] {
        let mut simulation = Simulation::with_channels(7, 60, &["events"]);
        simulation.network.loss_permille = loss_permille;
        simulation.run_until(TIMEOUT, |simulation| !simulation.channels.is_empty());
        let opened = simulation.events.iter().find_map(|event| match event {
            PeerEvent::ChannelOpened { label, .. } => Some(label.as_str()),
            _ => None,
        });
        assert_eq!(opened, Some("events"));
        for number in 0..50 {
            let now = simulation.now;
            simulation.peer.send_text(now, &format!("notice {number}"));
            simulation.run(Duration::from_millis(20));
        }
        simulation.run_until(TIMEOUT, |simulation| simulation.texts.len() == 50);
        for (number, text) in simulation.texts.iter().enumerate() {
            assert_eq!(text, &format!("notice {number}"), "in order, each once");
        }
        say(&mut simulation, r#"{"type":"ping","id":"a"}"#);
        simulation.run_until(TIMEOUT, |simulation| simulation.texts.len() == 51);
        let pong = &simulation.texts[50];
        assert!(
            pong.starts_with(r#"{"type":"pong","id":"a","time":"#),
            "{pong}"
        );
        assert!(!simulation.received.is_empty(), "media goes on beside it");
    }
}

#[test]
fn several_channels_get_the_same_notices() {
    let mut simulation = Simulation::with_channels(1, 60, &["one", "two"]);
    simulation.run_until(TIMEOUT, |simulation| simulation.channels.len() == 2);
    let now = simulation.now;
    simulation.peer.send_text(now, "for all");
    simulation.run_until(TIMEOUT, |simulation| simulation.texts.len() == 2);
    assert_eq!(simulation.texts, ["for all", "for all"]);
}

#[test]
fn offer_without_a_data_channel_gets_none() {
    let mut simulation = Simulation::new(1, 60);
    simulation.run_until(TIMEOUT, |simulation| simulation.received.len() > 30);
    assert!(!simulation.peer.has_channels());
    let now = simulation.now;
    simulation.peer.send_text(now, "nobody hears it");
    simulation.run(Duration::from_secs(1));
    assert!(simulation.texts.is_empty());
}
