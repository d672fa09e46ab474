//! Handshakes with webrtc-dtls, an independent implementation, over loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use distributary_webrtc::certificate::{Certificate, Fingerprint, HashAlgorithm};
use distributary_webrtc::dtls::{Dtls, DtlsContext, DtlsEvent, DtlsRole};
use distributary_webrtc::rtp::RtpHeader;
use distributary_webrtc::srtp::{SrtpKeys, SrtpProfile, SrtpSealer};
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout};
use webrtc_dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::crypto::Certificate as PeerCertificate;
use webrtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::KeyingMaterialExporter as _;

/// Longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(15);

const LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Our side: an association with the socket that drives it.
struct OurSide {
    dtls: Dtls,
    socket: UdpSocket,
}

impl OurSide {
    /// Sends, receives and waits until there is an event.
    async fn event(&mut self) -> DtlsEvent {
        self.dtls.start(now());
        let mut buffer = [0; 2048];
        loop {
            while let Some(datagram) = self.dtls.poll_transmit() {
                self.socket.send(&datagram).await.unwrap();
            }
            if let Some(event) = self.dtls.poll_event() {
                return event;
            }
            let deadline = self.dtls.poll_timeout().unwrap_or(now() + TIMEOUT);
            tokio::select! {
                received = self.socket.recv(&mut buffer) => {
                    self.dtls.handle_datagram(now(), &buffer[..received.unwrap()]);
                }
                () = sleep_until(deadline.into()) => self.dtls.handle_timeout(now()),
            }
        }
    }

    /// Completes the handshake.
    async fn connected(&mut self) -> (SrtpProfile, SrtpKeys) {
        let event = timeout(TIMEOUT, self.event()).await.unwrap();
        let DtlsEvent::Keys { profile, keys } = event else {
            panic!("no keys: {event:?}");
        };
        let event = timeout(TIMEOUT, self.event()).await.unwrap();
        assert!(matches!(event, DtlsEvent::Connected), "{event:?}");
        (profile, keys)
    }

    async fn send_all(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.socket.send(&datagram).await.unwrap();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a test that is its own driver")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "a test that is its own driver")]
fn certificate() -> Certificate {
    Certificate::generate(SystemTime::now()).unwrap()
}

/// Two sockets that talk to each other.
async fn socket_pair() -> (UdpSocket, UdpSocket) {
    let ours = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    ours.connect(theirs.local_addr().unwrap()).await.unwrap();
    theirs.connect(ours.local_addr().unwrap()).await.unwrap();
    (ours, theirs)
}

fn peer_config(certificate: &PeerCertificate, profile: SrtpProtectionProfile) -> Config {
    // It uses the cryptography provider of rustls. The workspace has two, so one must be chosen.
    // Another test of this process may have done so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Config {
        certificates: vec![certificate.clone()],
        srtp_protection_profiles: vec![profile],
        extended_master_secret: ExtendedMasterSecretType::Require,
        client_auth: ClientAuthType::RequireAnyClientCert,
        // It compares no fingerprints; the test does.
        insecure_skip_verify: true,
        ..Config::default()
    }
}

/// Profiles that both support, as the peer offers them and as we name them.
const PROFILES: [(SrtpProtectionProfile, SrtpProfile); 2] = [
    (
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProfile::AeadAes128Gcm,
    ),
    (
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        SrtpProfile::AesCm128HmacSha1_80,
    ),
];

/// Runs a handshake in `our_role`, then has the peer open what we have sealed.
async fn shakes_hands(our_role: DtlsRole, offered: SrtpProtectionProfile, expected: SrtpProfile) {
    let ours = certificate();
    let theirs = PeerCertificate::generate_self_signed(vec!["peer".to_owned()]).unwrap();
    let announced = Fingerprint::of(HashAlgorithm::Sha256, &theirs.certificate[0]);
    let (our_socket, their_socket) = socket_pair().await;
    let context = DtlsContext::new(&ours).unwrap();
    let mut our_side = OurSide {
        dtls: Dtls::new(&context, our_role, vec![announced]).unwrap(),
        socket: our_socket,
    };
    let peer = tokio::spawn(DTLSConn::new(
        Arc::new(their_socket),
        peer_config(&theirs, offered),
        our_role == DtlsRole::Server,
        None,
    ));
    let (profile, keys) = our_side.connected().await;
    let peer = timeout(TIMEOUT, peer).await.unwrap().unwrap().unwrap();

    assert_eq!(profile, expected);
    assert_eq!(peer.selected_srtpprotection_profile(), offered);
    let state = peer.connection_state().await;
    let seen = Fingerprint::of(HashAlgorithm::Sha256, &state.peer_certificates[0]);
    assert_eq!(&seen, ours.fingerprint());

    let exported = state
        .export_keying_material(LABEL, &[], profile.keying_material_len())
        .await
        .unwrap();
    let (client_key, rest) = exported.split_at(profile.key_len());
    let (server_key, rest) = rest.split_at(profile.key_len());
    let (client_salt, server_salt) = rest.split_at(profile.salt_len());
    let (our_key, our_salt, their_key, their_salt) = match our_role {
        DtlsRole::Client => (client_key, client_salt, server_key, server_salt),
        DtlsRole::Server => (server_key, server_salt, client_key, client_salt),
    };
    assert_eq!((keys.local.key(), keys.local.salt()), (our_key, our_salt));
    assert_eq!(
        (keys.remote.key(), keys.remote.salt()),
        (their_key, their_salt)
    );
    opens_our_srtp(&SrtpSealer::new(&keys.local), our_key, our_salt, profile);

    // Our goodbye, without OpenSSL by then, ends its side of the association.
    our_side.dtls.settle();
    our_side.dtls.close();
    our_side.send_all().await;
    let mut buffer = [0; 100];
    let read = timeout(TIMEOUT, peer.read(&mut buffer, None));
    assert!(read.await.unwrap().is_err());
}

/// The peer, with the key it has exported by itself, opens a packet that we have sealed.
fn opens_our_srtp(sealer: &SrtpSealer, key: &[u8], salt: &[u8], profile: SrtpProfile) {
    const SSRC: u32 = 0x0102_0304;
    let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4];
    packet.extend(b"a frame");
    let plain = packet.clone();
    packet.resize(plain.len() + sealer.tag_len(), 0);
    sealer.seal(&mut packet, RtpHeader::LEN, SSRC, 1);
    let profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let mut opener = Context::new(key, salt, profile, None, None).unwrap();
    assert_eq!(opener.decrypt_rtp(&packet).unwrap(), plain);
}

#[tokio::test]
async fn webrtc_dtls_as_client_completes_the_handshake_and_opens_our_srtp() {
    for (offered, expected) in PROFILES {
        shakes_hands(DtlsRole::Server, offered, expected).await;
    }
}

#[tokio::test]
async fn webrtc_dtls_as_server_completes_the_handshake_and_opens_our_srtp() {
    for (offered, expected) in PROFILES {
        shakes_hands(DtlsRole::Client, offered, expected).await;
    }
}

#[tokio::test]
async fn closing_by_webrtc_dtls_is_noticed_at_once() {
    for is_settled in [false, true] {
        closing_is_noticed(is_settled).await;
    }
}

async fn closing_is_noticed(is_settled: bool) {
    let theirs = PeerCertificate::generate_self_signed(vec!["peer".to_owned()]).unwrap();
    let announced = Fingerprint::of(HashAlgorithm::Sha256, &theirs.certificate[0]);
    let (our_socket, their_socket) = socket_pair().await;
    let context = DtlsContext::new(&certificate()).unwrap();
    let mut our_side = OurSide {
        dtls: Dtls::new(&context, DtlsRole::Server, vec![announced]).unwrap(),
        socket: our_socket,
    };
    let config = peer_config(&theirs, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm);
    let peer = tokio::spawn(DTLSConn::new(Arc::new(their_socket), config, true, None));
    our_side.connected().await;

    let peer = timeout(TIMEOUT, peer).await.unwrap().unwrap().unwrap();
    if is_settled {
        our_side.dtls.settle();
    }
    peer.close().await.unwrap();
    let event = timeout(TIMEOUT, our_side.event()).await.unwrap();
    assert!(matches!(event, DtlsEvent::Closed), "{event:?}");
}

#[tokio::test]
async fn webrtc_dtls_with_another_certificate_than_announced_is_refused() {
    let theirs = PeerCertificate::generate_self_signed(vec!["peer".to_owned()]).unwrap();
    let announced = certificate().fingerprint().clone();
    let (our_socket, their_socket) = socket_pair().await;
    let context = DtlsContext::new(&certificate()).unwrap();
    let mut our_side = OurSide {
        dtls: Dtls::new(&context, DtlsRole::Server, vec![announced]).unwrap(),
        socket: our_socket,
    };
    let config = peer_config(&theirs, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm);
    let peer = tokio::spawn(DTLSConn::new(Arc::new(their_socket), config, true, None));
    let event = timeout(TIMEOUT, our_side.event()).await.unwrap();
    assert!(matches!(event, DtlsEvent::Failed(_)), "{event:?}");
    our_side.send_all().await;
    assert!(timeout(TIMEOUT, peer).await.unwrap().unwrap().is_err());
}
