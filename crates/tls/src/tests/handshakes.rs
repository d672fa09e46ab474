//! TLS handshakes with the certificates of a listener.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};

use super::{END, Files, ec_key, issue};
use crate::certificate::RELOAD_INTERVAL;
use crate::test_util::trusting_client;
use crate::{Certificate, Tickets, TlsIdentity};

/// Does a TLS handshake with a listener. Returns the certificate that the client is shown, or the
/// error of the server.
async fn handshake(
    identity: TlsIdentity,
    name: &'static str,
    client: Option<(&X509, &PKey<Private>)>,
) -> Result<Vec<u8>, std::io::Error> {
    let server = Certificate::new("HTTPS", identity, Tickets::Sent).unwrap();
    let builder = trusting_client();
    let config = match client {
        Some((certificate, key)) => {
            let chain = vec![certificate.to_der().unwrap().into()];
            let key = PrivatePkcs8KeyDer::from(key.private_key_to_pkcs8().unwrap());
            builder.with_client_auth_cert(chain, key.into()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accepted = tokio::spawn(server.acceptor().accept(far));
    let name = ServerName::try_from(name).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, near)
        .await;
    accepted.await.unwrap()?;
    let stream = stream?;
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    Ok(shown[0].to_vec())
}

#[tokio::test]
async fn client_gets_the_certificate_for_the_name_it_asks_for() {
    let [a_key, b_key] = [(); 2].map(|()| ec_key(Nid::X9_62_PRIME256V1));
    let a = issue("a.example", &a_key, None);
    let b = issue("*.b.example", &b_key, None);
    let pem = |key: &PKey<Private>| key.private_key_to_pem_pkcs8().unwrap();
    let first = Files::new(&a.to_pem().unwrap(), &pem(&a_key));
    let second = Files::new(&b.to_pem().unwrap(), &pem(&b_key));
    let mut identity = first.identity();
    identity.certificates.extend(second.identity().certificates);
    for (name, expected) in [
        ("a.example", &a),
        ("x.b.example", &b),
        ("c.example", &a),
        ("127.0.0.1", &a),
    ] {
        let shown = handshake(identity.clone(), name, None).await.unwrap();
        assert_eq!(shown, expected.to_der().unwrap(), "{name}");
    }
}

#[tokio::test]
async fn client_without_a_certificate_of_the_issuer_is_refused() {
    let [ca_key, client_key, key] = [(); 3].map(|()| ec_key(Nid::X9_62_PRIME256V1));
    let ca = issue("ca", &ca_key, None);
    let client = issue("client", &client_key, Some((&ca, &ca_key)));
    let certificate = issue("a.example", &key, None);
    let files = Files::new(
        &certificate.to_pem().unwrap(),
        &key.private_key_to_pem_pkcs8().unwrap(),
    );
    fs::write(files.path("ca.pem"), ca.to_pem().unwrap()).unwrap();
    let identity = TlsIdentity {
        client_ca: Some(files.path("ca.pem")),
        ..files.identity()
    };
    let known = Some((&client, &client_key));
    let shown = handshake(identity.clone(), "a.example", known).await;
    assert_eq!(shown.unwrap(), certificate.to_der().unwrap());
    let own = issue("client", &client_key, None);
    let stranger = Some((&own, &client_key));
    for client in [None, stranger] {
        assert!(
            handshake(identity.clone(), "a.example", client)
                .await
                .is_err()
        );
    }
}

/// Marks a file as changed at `seconds` after 1970.
fn touch(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn changed_certificate_is_reloaded_and_a_broken_one_is_not_used() {
    let pem = || {
        let key = ec_key(Nid::X9_62_PRIME256V1);
        let certificate = issue("a.example", &key, None).to_pem().unwrap();
        (certificate, key.private_key_to_pem_pkcs8().unwrap())
    };
    let (first, key) = pem();
    let files = Files::new(&first, &key);
    let certificate = Certificate::new("HTTPS", files.identity(), Tickets::Sent).unwrap();
    let in_use = || Arc::as_ptr(certificate.acceptor().config());
    let first = in_use();
    assert_eq!(
        certificate.validities()[0].end(),
        i64::try_from(END).unwrap()
    );

    let (second, key) = pem();
    fs::write(files.path("cert.pem"), second).unwrap();
    fs::write(files.path("key.pem"), key).unwrap();
    touch(&files.path("cert.pem"), 1);
    assert_eq!(in_use(), first, "files are not checked for every client");
    tokio::time::advance(RELOAD_INTERVAL).await;
    let second = in_use();
    assert_ne!(second, first);

    fs::write(files.path("cert.pem"), "broken").unwrap();
    touch(&files.path("cert.pem"), 2);
    tokio::time::advance(RELOAD_INTERVAL).await;
    assert_eq!(in_use(), second);
}
