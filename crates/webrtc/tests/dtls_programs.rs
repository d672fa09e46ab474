//! Handshakes with DTLS client programs: the system's OpenSSL, and GnuTLS.
//!
//! Each prints its exported keys, which must equal ours.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test on real sockets and the real clock, which fails where they do"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use distributary_webrtc::certificate::{Certificate, Fingerprint, HashAlgorithm};
use distributary_webrtc::dtls::{Dtls, DtlsContext, DtlsEvent, DtlsRole};
use distributary_webrtc::srtp::{SrtpKeys, SrtpProfile};
use openssl::x509::X509;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client that runs.
struct Client {
    child: Child,
    lines: Receiver<String>,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `text` and returns the rest of the line.
    fn wait_for(&self, what: &str) -> String {
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it has not printed {what:?}"));
            if let Some((_, behind)) = line.split_once(what) {
                return behind.trim().to_owned();
            }
        }
    }

    fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our side, as a server with its own socket.
struct Server {
    socket: UdpSocket,
    dtls: Dtls,
}

impl Server {
    fn new(expected: Fingerprint) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let step = Duration::from_millis(20);
        socket.set_read_timeout(Some(step)).unwrap();
        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let context = DtlsContext::new(&certificate).unwrap();
        let dtls = Dtls::new(&context, DtlsRole::Server, vec![expected]).unwrap();
        let dtls = dtls.with_application_data();
        Self { socket, dtls }
    }

    fn port(&self) -> String {
        self.socket.local_addr().unwrap().port().to_string()
    }

    /// Drives the association until `done` returns a value.
    fn run<T>(&mut self, mut done: impl FnMut(&mut Dtls) -> Option<T>) -> T {
        let end = Instant::now() + TIMEOUT;
        let mut buffer = [0; 4096];
        loop {
            if let Some(found) = done(&mut self.dtls) {
                self.send_all();
                return found;
            }
            assert!(Instant::now() < end, "nothing within {TIMEOUT:?}");
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                // The first sender is the client: nothing else uses the port.
                self.socket.connect(from).unwrap();
                self.dtls.handle_datagram(Instant::now(), &buffer[..length]);
            }
            self.dtls.handle_timeout(Instant::now());
            self.send_all();
        }
    }

    fn send_all(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            let _ = self.socket.send(&datagram);
        }
    }

    fn connected(&mut self) -> (SrtpProfile, SrtpKeys) {
        let keys = match self.run(Dtls::poll_event) {
            DtlsEvent::Keys { profile, keys } => (profile, keys),
            other => panic!("no keys: {other:?}"),
        };
        let event = self.run(Dtls::poll_event);
        assert!(matches!(event, DtlsEvent::Connected), "{event:?}");
        keys
    }

    fn received(&mut self) -> Vec<u8> {
        self.run(Dtls::poll_received)
    }

    fn closed(&mut self) {
        let event = self.run(Dtls::poll_event);
        assert!(matches!(event, DtlsEvent::Closed), "{event:?}");
    }
}

/// Returns a certificate for the client, in files, and the fingerprint of it.
fn client_certificate(folder: &Path) -> Fingerprint {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=viewer"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let pem = std::fs::read(folder.join("certificate.pem")).unwrap();
    let der = X509::from_pem(&pem).unwrap().to_der().unwrap();
    Fingerprint::of(HashAlgorithm::Sha512, &der)
}

/// Returns the exported keying material as RFC 5764 section 4.2 orders it, from our keys: we are
/// the server.
fn exported(keys: &SrtpKeys) -> String {
    let parts = [
        keys.remote.key(),
        keys.local.key(),
        keys.remote.salt(),
        keys.local.salt(),
    ];
    let bytes = parts.concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn system_openssl_exports_the_same_keys_and_is_refused_a_renegotiation() {
    let profiles = [
        ("SRTP_AEAD_AES_128_GCM", SrtpProfile::AeadAes128Gcm),
        ("SRTP_AEAD_AES_256_GCM", SrtpProfile::AeadAes256Gcm),
        ("SRTP_AES128_CM_SHA1_80", SrtpProfile::AesCm128HmacSha1_80),
        ("SRTP_AES128_CM_SHA1_32", SrtpProfile::AesCm128HmacSha1_32),
    ];
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = client_certificate(folder.path());
    for (name, expected) in profiles {
        let mut server = Server::new(fingerprint.clone());
        let length = expected.keying_material_len().to_string();
        let mut client = Client::start(
            Command::new("openssl")
                .args(["s_client", "-dtls1_2", "-use_srtp", name])
                .args(["-connect", &format!("127.0.0.1:{}", server.port())])
                .args(["-cert", "certificate.pem", "-key", "key.pem"])
                .args(["-keymatexport", "EXTRACTOR-dtls_srtp"])
                .args(["-keymatexportlen", &length])
                .current_dir(folder.path()),
        );
        let (profile, keys) = server.connected();
        assert_eq!(profile, expected);
        let theirs = client.wait_for("Keying material:").to_lowercase();
        assert_eq!(theirs, exported(&keys), "{name}");

        client.say("one packet\n");
        assert_eq!(server.received(), b"one packet\n");
        // By now our side has dropped OpenSSL, as it does for most of a session.
        server.dtls.send(b"and one back\n");
        server.send_all();
        client.wait_for("and one back");

        if expected == SrtpProfile::AeadAes128Gcm {
            // "R" renegotiates. The association goes on as it was.
            client.say("R\n");
            let end = Instant::now() + Duration::from_millis(500);
            server.run(|dtls| {
                assert!(dtls.is_connected() && dtls.poll_event().is_none());
                (Instant::now() > end).then_some(())
            });
        } else {
            client.say("Q\n");
            server.closed();
        }
    }
}

#[test]
fn gnutls_exports_the_same_keys_and_receives_close_notify() {
    let profiles = [
        (
            "SRTP_AES128_CM_HMAC_SHA1_80",
            SrtpProfile::AesCm128HmacSha1_80,
        ),
        (
            "SRTP_AES128_CM_HMAC_SHA1_32",
            SrtpProfile::AesCm128HmacSha1_32,
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = client_certificate(folder.path());
    for (name, expected) in profiles {
        let mut server = Server::new(fingerprint.clone());
        let length = expected.keying_material_len().to_string();
        let mut client = Client::start(
            Command::new("gnutls-cli")
                .args(["--udp", "--insecure", "--port", &server.port()])
                .args(["--x509certfile", "certificate.pem"])
                .args(["--x509keyfile", "key.pem"])
                .args(["--srtp-profiles", name])
                .args(["--keymatexport", "EXTRACTOR-dtls_srtp"])
                .args(["--keymatexportsize", &length])
                .arg("127.0.0.1")
                .current_dir(folder.path()),
        );
        let (profile, keys) = server.connected();
        assert_eq!(profile, expected);
        let theirs = client.wait_for("Key material:").to_lowercase();
        assert_eq!(theirs, exported(&keys), "{name}");
        client.say("one packet\n");
        assert_eq!(server.received(), b"one packet\n");
        server.dtls.close();
        server.send_all();
        client.wait_for("Peer has closed the GnuTLS connection");
    }
}
