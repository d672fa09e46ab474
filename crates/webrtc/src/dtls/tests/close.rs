//! The end of an association, and of the state kept for its handshake.

use std::time::Duration;

use super::pair::{Pair, Towards};
use super::raw_peer::connected_to_raw_client;
use super::{association, certificate, drain, failure, origin};
use crate::dtls::record_layer::Alert;
use crate::dtls::{DtlsError, DtlsEvent, DtlsRole};

#[test]
fn close_notify_is_sent_and_answered() {
    for closing in [Towards::Client, Towards::Server] {
        let (mut pair, ..) = Pair::connected();
        let (closer, other) = match closing {
            Towards::Client => (&mut pair.client, &mut pair.server),
            Towards::Server => (&mut pair.server, &mut pair.client),
        };
        closer.close();
        let notify = drain(closer);
        assert_eq!(notify.len(), 1);
        other.handle_datagram(pair.now, &notify[0]);
        assert!(matches!(other.poll_event(), Some(DtlsEvent::Closed)));
        assert!(!other.is_connected());
        let answer = drain(other);
        assert_eq!(answer.len(), 1);
        // A closed side ignores further datagrams.
        closer.handle_datagram(pair.now, &answer[0]);
        assert!(closer.poll_event().is_none());
        assert!(closer.poll_transmit().is_none());
    }
}

#[test]
fn closing_an_unfinished_handshake_is_silent() {
    let peer = certificate();
    let mut dtls = association(DtlsRole::Server, &certificate(), peer.fingerprint());
    dtls.start(origin());
    dtls.close();
    assert!(dtls.poll_transmit().is_none());
    assert_eq!(dtls.poll_timeout(), None);
}

#[test]
fn server_settles_some_time_after_the_handshake() {
    let mut pair = Pair::new();
    pair.client.start(pair.now);
    while pair.deliver(|_, _| true) {}
    assert_eq!(pair.client.poll_timeout(), None, "it has got everything");
    let mut settles_at = pair.now;
    while let Some(deadline) = pair.server.poll_timeout() {
        settles_at = deadline;
        pair.server.handle_timeout(deadline);
    }
    assert!(settles_at >= pair.now + Duration::from_secs(5));
    assert!(pair.server.is_connected());
}

/// The record layer of one side has to interoperate with OpenSSL on the other.
#[test]
fn settled_association_receives_and_sends_close_notify() {
    for (cipher, closer) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Towards::Client),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Towards::Server),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Towards::Client),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", Towards::Server),
        ("ECDHE-ECDSA-AES128-SHA", Towards::Client),
        ("ECDHE-ECDSA-AES128-SHA", Towards::Server),
    ] {
        let (mut client, mut server) = connected_to_raw_client(|builder| {
            builder.set_cipher_list(cipher).unwrap();
        });
        server.settle();
        assert!(server.is_connected());
        assert_eq!(server.poll_timeout(), None);
        match closer {
            Towards::Client => {
                client.close();
                let notify = client.stream.get_mut().pop_outbound().unwrap();
                server.handle_datagram(origin(), &notify);
                assert!(matches!(server.poll_event(), Some(DtlsEvent::Closed)));
            }
            Towards::Server => server.close(),
        }
        assert!(!server.is_connected());
        assert!(client.hears_goodbye(&server.poll_transmit().unwrap()));
    }
}

#[test]
fn fatal_alert_ends_the_association_and_a_warning_does_not() {
    for is_settled in [false, true] {
        let (client, mut server) = connected_to_raw_client(|_| {});
        if is_settled {
            server.settle();
        }
        let mut layer = client.record_layer();
        // user_canceled (RFC 5246 section 7.2.2).
        let warning = layer.seal_alert(Alert {
            level: 1,
            description: 90,
        });
        server.handle_datagram(origin(), &warning.unwrap());
        assert!(server.is_connected() && server.poll_event().is_none());
        // internal_error
        let fatal = layer.seal_alert(Alert {
            level: 2,
            description: 80,
        });
        server.handle_datagram(origin(), &fatal.unwrap());
        assert!(!server.is_connected());
        let error = failure(&mut server);
        assert!(
            !is_settled || matches!(error, DtlsError::Alert { description: 80 }),
            "{error}"
        );
        assert!(
            server.poll_transmit().is_none(),
            "a fatal alert has no answer"
        );
    }
}
