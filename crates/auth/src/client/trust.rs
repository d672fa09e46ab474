//! Verification of the certificates of HTTPS servers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Servers that are trusted although no authority of the system vouches for them.
#[derive(Debug)]
enum Trust {
    /// Those with a certificate of a file, or with one that is signed by a certificate of it.
    File {
        known: Vec<CertificateDer<'static>>,
        signed: Arc<WebPkiServerVerifier>,
    },
    /// All: the connection is encrypted, and nobody knows with whom.
    Any,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

/// Returns the configuration of a client that trusts the certificates of a PEM file: servers that show
/// one of them, and servers whose certificate is signed by one.
///
/// # Errors
/// When the file cannot be read, or has no certificate.
pub(super) fn of_file(file: &Path) -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let bytes = std::fs::read(file)?;
    let known: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let known = known.map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(known.iter().cloned());
    let signed = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let signed = signed
        .build()
        .map_err(|_| io::Error::other("there is no certificate in PEM in this file"))?;
    Ok(config(Trust::File { known, signed }, provider))
}

/// Returns the configuration of a client that trusts every server.
pub(super) fn any() -> ClientConfig {
    config(Trust::Any, Arc::new(aws_lc_rs::default_provider()))
}

fn config(trust: Trust, provider: Arc<CryptoProvider>) -> ClientConfig {
    let verifier = Verifier {
        trust,
        provider: Arc::clone(&provider),
    };
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::File { known, signed } if !known.contains(end_entity) => {
                signed.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
            Trust::File { .. } | Trust::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Returns in words why a certificate is refused.
pub(super) fn refusal(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => {
            "no authority that this machine trusts has signed its certificate".into()
        }
        E::Expired | E::ExpiredContext { .. } => "its certificate has expired".into(),
        E::NotValidYet | E::NotValidYetContext { .. } => "its certificate is not valid yet".into(),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "its certificate is for another name".into()
        }
        E::Revoked => "its certificate is revoked".into(),
        // Among them a self-signed certificate that calls itself an authority, as openssl makes it.
        other => {
            let detail = other.to_string();
            if detail.contains("CaUsedAsEndEntity") {
                "its certificate is self-signed, as that of an authority".into()
            } else {
                format!("its certificate cannot be used: {detail}")
            }
        }
    }
}
