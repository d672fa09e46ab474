//! Joins in both DTLS roles: round trips until media comes, and the cost of a lost datagram.

mod simulation;

use std::time::Duration;

use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::peer::PeerEvent;
use simulation::Simulation;

/// The delay in each direction.
const DELAY: Duration = Duration::from_millis(50);

/// One round trip.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Both ends act at steps of 5 ms, so each turn takes up to one more.
const STEPS: Duration = Duration::from_millis(40);

/// A join in which the DTLS datagram of this number is lost, if any.
fn join(role: DtlsRole, lost: Option<usize>) -> Simulation {
    let mut simulation = Simulation::in_role(role, 7, &[]);
    simulation.network.delay = DELAY;
    simulation.network.lost_handshake = lost;
    simulation
}

/// Returns the time until the first media comes at the client.
fn first_media(simulation: &mut Simulation) -> Duration {
    let start = simulation.now;
    simulation.run_until(Duration::from_secs(10), |simulation| {
        !simulation.received.is_empty()
    });
    simulation.received_at[0].duration_since(start)
}

fn is_connected(simulation: &Simulation) -> bool {
    simulation.client_connected && simulation.peer.is_handshake_complete()
}

#[test]
fn active_role_saves_a_round_trip_until_the_first_media() {
    for (role, round_trips) in [(DtlsRole::Client, 2), (DtlsRole::Server, 3)] {
        let mut simulation = join(role, None);
        let took = first_media(&mut simulation);
        assert!(took >= ROUND_TRIP * round_trips, "{role:?}: {took:?}");
        assert!(
            took <= ROUND_TRIP * round_trips + STEPS,
            "{role:?}: {took:?}"
        );
        simulation.run(Duration::from_secs(3));
        assert!(is_connected(&simulation));
        let frames = simulation.frames();
        assert!(frames.iter().all(|(_, whole, _)| *whole));
        assert!(
            frames.len() as u64 + 8 > simulation.published(),
            "none is lost"
        );
    }
}

#[test]
fn client_hello_leaves_with_the_response_to_the_first_check() {
    let mut simulation = join(DtlsRole::Client, None);
    let address = "192.0.2.2:50000".parse().unwrap();
    simulation.run_until(Duration::from_secs(1), |simulation| {
        !simulation.sent_to(address).is_empty()
    });
    let kinds: Vec<u8> = simulation
        .sent_to(address)
        .iter()
        .map(|bytes| bytes[0])
        .collect();
    assert_eq!(kinds, [1, 22], "a STUN response, a handshake record");
    // Not more than three times what came from there, which nobody has proved to be at.
    assert!(simulation.bytes_to[&address] <= 3 * simulation.bytes_heard);
}

/// Our flights are retransmitted half a round trip after the answer to them is due, the first one,
/// before the round trip is known, after 200 ms; the client's, and our last one as a server, by the
/// client's own timer, which begins at a second.
#[test]
fn lost_datagram_of_the_handshake_costs_one_retransmission() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut whole = join(role, None);
        let undisturbed = first_media(&mut whole);
        whole.run(Duration::from_secs(1));
        let datagrams = whole.network.handshake.clone();
        assert!(datagrams.len() >= 4, "{datagrams:?}");
        let last = datagrams.len() - 1;
        for (lost, is_ours) in datagrams.into_iter().enumerate() {
            let mut simulation = join(role, Some(lost));
            let took = first_media(&mut simulation);
            let cost = match (role, is_ours) {
                (DtlsRole::Client, true) if lost == 0 => Duration::from_millis(200),
                (DtlsRole::Server, true) if lost == last => Duration::from_millis(1200),
                (_, true) => ROUND_TRIP * 3 / 2,
                (_, false) => Duration::from_millis(1200),
            };
            assert!(
                took <= undisturbed + cost + STEPS,
                "{role:?}, datagram {lost}: {took:?} instead of {undisturbed:?}"
            );
            simulation.run(Duration::from_secs(3));
            assert!(is_connected(&simulation), "{role:?}, datagram {lost}");
        }
    }
}

#[test]
fn media_continues_while_the_clients_finished_is_lost_and_the_session_ends_without_it() {
    let mut simulation = join(DtlsRole::Client, None);
    simulation.run_until(Duration::from_secs(2), |simulation| {
        let is_connected = |event: &PeerEvent| matches!(event, PeerEvent::Connected { .. });
        simulation.events.iter().any(is_connected)
    });
    // All that the client sends over DTLS is lost from here on.
    simulation.network.loses_handshake_to_us = true;
    simulation.run(Duration::from_secs(2));
    assert!(simulation.received.len() > 100, "media comes");
    assert!(!simulation.peer.is_handshake_complete());
    simulation.run(Duration::from_secs(4));
    let Some(PeerEvent::Closed(reason)) = simulation.events.last() else {
        panic!("not closed: {:?}", simulation.events);
    };
    let reason = reason.to_string();
    assert!(
        reason.contains("did not finish the DTLS handshake"),
        "{reason}"
    );
}

#[test]
fn data_channel_opens_in_the_active_role() {
    let mut simulation = Simulation::in_role(DtlsRole::Client, 7, &["events"]);
    simulation.network.delay = DELAY;
    simulation.run_until(Duration::from_secs(5), |simulation| {
        !simulation.channels.is_empty()
    });
    simulation.peer.send_text(simulation.now, "hello");
    simulation.run_until(Duration::from_secs(1), |simulation| {
        simulation.texts == ["hello"]
    });
}

#[test]
fn active_handshake_completes_over_a_lossy_network() {
    for seed in 1..21 {
        let mut simulation = Simulation::in_role(DtlsRole::Client, seed, &[]);
        simulation.network.loss_permille = 100;
        simulation.network.jitter = Duration::from_millis(20);
        simulation.run_until(Duration::from_secs(10), is_connected);
        simulation.run_until(Duration::from_secs(4), |simulation| {
            simulation.received.len() > 30
        });
    }
}
