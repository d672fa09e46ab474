//! Tests of two associations over a wire that loses, repeats and reorders, and of associations with
//! OpenSSL peers that behave differently from ours.

mod application_data;
mod certificates;
mod client_hello;
mod close;
mod early;
mod forgery;
mod keys;
mod loss;
mod pair;
mod raw_peer;

use std::time::{Duration, Instant, SystemTime};

use super::{Dtls, DtlsContext, DtlsError, DtlsEvent, DtlsRole};
use crate::certificate::{Certificate, Fingerprint};
use crate::srtp::SrtpKeys;

#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
fn origin() -> Instant {
    Instant::now()
}

fn certificate() -> Certificate {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    Certificate::generate(new_year).unwrap()
}

fn association(role: DtlsRole, own: &Certificate, peer: &Fingerprint) -> Dtls {
    let context = DtlsContext::new(own).unwrap();
    Dtls::new(&context, role, vec![peer.clone()]).unwrap()
}

#[track_caller]
fn connected_keys(dtls: &mut Dtls) -> SrtpKeys {
    match dtls.poll_event() {
        Some(DtlsEvent::Keys { profile, keys }) => {
            assert_eq!(keys.local.profile(), profile);
            assert_eq!(keys.remote.profile(), profile);
            let next = dtls.poll_event();
            assert!(matches!(next, Some(DtlsEvent::Connected)), "{next:?}");
            keys
        }
        other => panic!("no keys: {other:?}"),
    }
}

#[track_caller]
fn failure(dtls: &mut Dtls) -> DtlsError {
    match dtls.poll_event() {
        Some(DtlsEvent::Failed(error)) => error,
        other => panic!("not failed: {other:?}"),
    }
}

fn drain(dtls: &mut Dtls) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| dtls.poll_transmit()).collect()
}
