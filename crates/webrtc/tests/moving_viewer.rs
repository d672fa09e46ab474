//! A viewer changes networks, from Wi-Fi to mobile and back, in a simulation.

mod simulation;

use std::net::SocketAddr;
use std::time::Duration;

use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::{CloseReason, PeerEvent};
use simulation::Simulation;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a nominating check from another address of the client, where it answers ours.
fn nominate(
    simulation: &mut Simulation,
    local: &Credentials,
    remote: &Credentials,
    from: SocketAddr,
) {
    let check = simulation::nominating_check(local, remote);
    for mut answer in claim(simulation, &check, from) {
        simulation.hear(from, &mut answer);
    }
}

/// Handles a datagram with this source. Returns the answers that a client there would send.
fn claim(simulation: &mut Simulation, datagram: &[u8], from: SocketAddr) -> Vec<Vec<u8>> {
    simulation.hear(from, &mut datagram.to_vec());
    let password = simulation.remote_ice.password().to_owned();
    let sent = simulation.sent_to(from);
    sent.iter()
        .filter_map(|datagram| simulation::answer_to_check(datagram, &password))
        .collect()
}

/// Returns whether the client has received every frame until half a second ago, in order.
fn assert_nothing_is_missing(simulation: &Simulation, since: usize) {
    let times: Vec<u64> = simulation
        .received
        .iter()
        .filter(|data| data.params.spec().clock_rate.get() == 90_000)
        .map(|data| data.time.numer())
        .collect();
    let times = &times[since..];
    assert!(times.len() > 30, "{} frames", times.len());
    for pair in times.windows(2) {
        let step = pair[1] - pair[0];
        assert!((2_900..3_100).contains(&step), "a gap of {step} ticks");
    }
}

#[test]
fn media_follows_the_newly_nominated_pair_without_a_gap() {
    let mut simulation = Simulation::new(3, 60);
    simulation.run_until(TIMEOUT, |simulation| simulation.received.len() > 60);
    let (ice, remote) = (simulation.ice.clone(), simulation.remote_ice.clone());
    let mobile: SocketAddr = "198.51.100.8:6000".parse().unwrap();
    simulation.second_address = Some(mobile);
    let wifi = simulation.peer.remote().unwrap();
    for _ in 0..3 {
        nominate(&mut simulation, &ice, &remote, mobile);
        assert_eq!(simulation.peer.remote(), Some(mobile));
        simulation.media_to.clear();
        simulation.run(Duration::from_millis(200));
        assert!(simulation.media_to[&mobile] > 0);
        nominate(&mut simulation, &ice, &remote, wifi);
        assert_eq!(simulation.peer.remote(), Some(wifi));
        simulation.run(Duration::from_millis(200));
    }
    simulation.run(Duration::from_secs(2));
    assert_nothing_is_missing(&simulation, 0);
}

#[test]
fn ice_restart_on_another_network_continues_the_session() {
    let mut simulation = Simulation::new(5, 60);
    simulation.run_until(TIMEOUT, |simulation| simulation.received.len() > 60);
    let events = simulation.events.len();
    let ours = Credentials::generate().unwrap();
    let next = Credentials::new("next", simulation.remote_ice.password()).unwrap();
    simulation.peer.restart_ice(ours.clone(), next.clone());
    // Until the restart is complete the old network carries the media, and its checks are answered.
    simulation.run(Duration::from_secs(5));
    let mobile: SocketAddr = "198.51.100.8:6000".parse().unwrap();
    simulation.second_address = Some(mobile);
    simulation.media_to.clear();
    nominate(&mut simulation, &ours, &next, mobile);
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

/// Returns the bytes sent to and received from an address over some time while checks with it as
/// the source arrive.
fn sent_to_forged(simulation: &mut Simulation, victim: SocketAddr, seconds: u64) -> (u64, u64) {
    let (ice, remote) = (simulation.ice.clone(), simulation.remote_ice.clone());
    let check = simulation::nominating_check(&ice, &remote);
    let mut received = 0;
    for _ in 0..seconds {
        simulation.hear(victim, &mut check.clone());
        received += check.len() as u64;
        simulation.run(Duration::from_secs(1));
    }
    let sent = simulation.bytes_to.get(&victim).copied().unwrap_or(0);
    (received, sent)
}

#[test]
fn viewer_cannot_direct_its_media_to_a_foreign_address() {
    let mut simulation = Simulation::new(9, 60);
    simulation.run_until(TIMEOUT, |simulation| simulation.received.len() > 60);
    let victim: SocketAddr = "203.0.113.9:9".parse().unwrap();
    let (received, sent) = sent_to_forged(&mut simulation, victim, 30);
    assert!(
        received > 0 && sent <= 3 * received,
        "{sent} for {received}"
    );
    assert!(!simulation.media_to.contains_key(&victim));
    // The viewer itself still receives everything.
    assert_nothing_is_missing(&simulation, 0);
}

#[test]
fn handshake_respects_the_anti_amplification_limit() {
    let mut simulation = Simulation::new(11, 60);
    simulation.network.loss_permille = 1000;
    let client_address: SocketAddr = "192.0.2.2:50000".parse().unwrap();
    // The client's datagrams arrive, and none gets back to it: its address is forged.
    simulation.is_one_way = true;
    simulation.run(Duration::from_secs(14));
    let (received, sent) = (simulation.bytes_heard, simulation.bytes_to[&client_address]);
    assert!(received > 0 && sent > 0);
    assert!(sent <= 3 * received, "{sent} for {received}");
}

#[test]
fn handshake_proves_the_address_of_a_viewer_that_answers_no_checks() {
    let mut simulation = Simulation::new(13, 60);
    simulation.answers_checks = false;
    simulation.run_until(TIMEOUT, |simulation| simulation.received.len() > 120);
    assert_nothing_is_missing(&simulation, 0);
}

#[test]
fn viewer_that_moves_during_its_handshake_and_answers_no_checks_is_closed() {
    let mut simulation = Simulation::new(17, 60);
    simulation.answers_checks = false;
    let mobile: SocketAddr = "198.51.100.8:6000".parse().unwrap();
    simulation.second_address = Some(mobile);
    let check = simulation::nominating_check(&simulation.ice, &simulation.remote_ice);
    let wifi: SocketAddr = "192.0.2.2:50000".parse().unwrap();
    // The first flight of the handshake goes to the first address.
    simulation.run_until(TIMEOUT, |simulation| {
        simulation
            .bytes_to
            .get(&wifi)
            .is_some_and(|sent| *sent > 500)
    });
    // Then the network fails, and a flight goes to the other address, which has sent enough.
    simulation.network.loss_permille = 1000;
    for step in 0..2000 {
        if step == 800 {
            simulation.network.loss_permille = 0;
        }
        if simulation.peer.is_connected() {
            break;
        }
        for _ in 0..20 {
            simulation.hear(mobile, &mut check.clone());
        }
        simulation.run(Duration::from_millis(5));
    }
    assert!(simulation.peer.is_connected(), "{:?}", simulation.events);
    simulation.run(Duration::from_secs(10));
    let closed = PeerEvent::Closed(CloseReason::Unproven);
    assert_eq!(simulation.events.last(), Some(&closed));
    assert!(simulation.media_to.is_empty());
}
