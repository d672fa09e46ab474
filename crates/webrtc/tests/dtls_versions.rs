//! A client that prefers DTLS 1.3, over a lossy network.

mod simulation;

use std::time::Duration;

use distributary_webrtc::peer::PeerEvent;
use simulation::Simulation;
use str0m::Rtc;
use str0m::crypto::dtls::DtlsVersion;

#[test]
fn dtls_1_3_client_hello_is_answered_with_1_2() {
    for loss_permille in [0, 150] {
        let client = Rtc::builder().set_dtls_version(DtlsVersion::Auto);
        let mut simulation = Simulation::with_client(11, 60, &["events"], client);
        simulation.network.loss_permille = loss_permille;
        simulation.run_until(Duration::from_secs(15), |simulation| {
            // The client's SCTP doubles its retransmission timeout each time, up to minutes.
            let has_channel = !simulation.channels.is_empty() || loss_permille > 0;
            simulation.received.len() > 30 && has_channel
        });
        let connected = |event: &PeerEvent| matches!(event, PeerEvent::Connected { .. });
        assert!(simulation.events.iter().any(connected));
    }
}
