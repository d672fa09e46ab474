//! A viewer changes networks: from Wi-Fi to mobile and back, over a simulated network.

mod simulation;

use std::net::SocketAddr;
use std::time::Duration;

use distributary_webrtc::ice::Credentials;
use distributary_webrtc::stun::{Class, IceRole, Message, MessageWriter, Method, TransactionId};
use simulation::Simulation;

const PATIENCE: Duration = Duration::from_secs(20);

/// A nominating check of the client from another of its addresses.
fn nominate(simulation: &mut Simulation, ice: &Credentials, remote_ufrag: &str, from: SocketAddr) {
    let mut check = Vec::new();
    let transaction = TransactionId([from.port() as u8; 12]);
    MessageWriter::new(&mut check, Class::Request, Method::BINDING, transaction)
        .username(&format!("{}:{remote_ufrag}", ice.ufrag()))
        .priority(1)
        .ice_role(IceRole::Controlling(1))
        .use_candidate()
        .message_integrity(ice.password().as_bytes())
        .finish();
    let now = simulation.now;
    let local = Some("192.0.2.1".parse().expect("an address"));
    simulation
        .peer
        .handle_datagram(now, from, local, &mut check);
    let mut answered = false;
    while let Some(transmit) = simulation.peer.poll_transmit() {
        answered |= transmit.destination == from
            && Message::parse(&transmit.bytes).is_ok_and(|message| {
                message.class == Class::Success
                    && message.transaction == transaction
                    && message.verify_integrity(ice.password().as_bytes())
            });
    }
    assert!(answered);
}

/// Whether the client has got every picture there was until half a second ago, in order.
fn assert_nothing_is_missing(simulation: &Simulation, since: usize) {
    let times: Vec<u64> = simulation
        .received
        .iter()
        .filter(|data| data.params.spec().clock_rate.get() == 90_000)
        .map(|data| data.time.numer())
        .collect();
    let times = &times[since..];
    assert!(times.len() > 30, "{} pictures", times.len());
    for pair in times.windows(2) {
        let step = pair[1] - pair[0];
        assert!((2_900..3_100).contains(&step), "a gap of {step} ticks");
    }
}

#[test]
fn media_follows_the_newly_nominated_pair_without_a_gap() {
    let mut simulation = Simulation::new(3, 60);
    simulation.run_until(PATIENCE, |simulation| simulation.received.len() > 60);
    let (ice, remote_ufrag) = (simulation.ice.clone(), simulation.remote_ufrag.clone());
    let mobile: SocketAddr = "198.51.100.8:6000".parse().unwrap();
    simulation.second_address = Some(mobile);
    let wifi = simulation.peer.remote().unwrap();
    for _ in 0..3 {
        nominate(&mut simulation, &ice, &remote_ufrag, mobile);
        assert_eq!(simulation.peer.remote(), Some(mobile));
        simulation.media_to.clear();
        simulation.run(Duration::from_millis(200));
        assert!(simulation.media_to[&mobile] > 0);
        nominate(&mut simulation, &ice, &remote_ufrag, wifi);
        assert_eq!(simulation.peer.remote(), Some(wifi));
        simulation.run(Duration::from_millis(200));
    }
    simulation.run(Duration::from_secs(2));
    assert_nothing_is_missing(&simulation, 0);
}

#[test]
fn an_ice_restart_on_another_network_goes_on_with_the_same_session() {
    let mut simulation = Simulation::new(5, 60);
    simulation.run_until(PATIENCE, |simulation| simulation.received.len() > 60);
    let events = simulation.events.len();
    let ours = Credentials::generate().unwrap();
    simulation.peer.restart_ice(ours.clone(), "next");
    // Until the restart is complete the old network carries the media, and its checks are answered.
    simulation.run(Duration::from_secs(5));
    let mobile: SocketAddr = "198.51.100.8:6000".parse().unwrap();
    simulation.second_address = Some(mobile);
    simulation.media_to.clear();
    nominate(&mut simulation, &ours, "next", mobile);
    simulation.run(Duration::from_secs(3));
    assert_eq!(simulation.media_to.len(), 1, "{:?}", simulation.media_to);
    assert!(simulation.media_to.contains_key(&mobile));
    assert_nothing_is_missing(&simulation, 0);
    assert!(!simulation.peer.is_closed());
    assert_eq!(
        simulation.events.len(),
        events + 1,
        "it has moved, and nothing else"
    );
}
