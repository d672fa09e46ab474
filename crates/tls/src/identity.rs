//! The certificates of a listener, and TLS with them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openssl::x509::X509;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::Tickets;
use crate::error::TlsError;
use crate::files::{CertificateFiles, Identity, certificates};
use crate::names::{ByName, Named, names};
use crate::validity::Validity;

/// The certificates of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// PEM files, reloaded when they change. A client gets the first certificate for the name it
    /// asks for, or else the first of all. If there is none, a self-signed certificate is generated
    /// at startup, which no client trusts by default.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file with the issuers of client certificates; if set, clients need one.
    pub client_ca: Option<PathBuf>,
    /// The host names and addresses in a generated certificate, besides those of loopback.
    pub names: Vec<String>,
}

/// A generated certificate is valid from this long before its generation, for clients with a slow
/// clock.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Validity of a generated certificate. Every start generates a new one.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Certificates that have been read.
pub(crate) struct Loaded {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) validities: Vec<Validity>,
    /// Chains that some clients refuse.
    gaps: Vec<String>,
    /// True if the certificate was generated.
    is_generated: bool,
}

impl TlsIdentity {
    /// Returns the identity of a certificate and its key in PEM files.
    pub fn files(certificate: PathBuf, key: PathBuf) -> Self {
        let files = CertificateFiles {
            certificate,
            key,
            ..CertificateFiles::default()
        };
        Self {
            certificates: vec![files],
            ..Self::default()
        }
    }

    /// Returns the validity of each certificate from a file.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn validities(&self) -> Result<Vec<Validity>, TlsError> {
        Ok(self.load(Tickets::None)?.validities)
    }

    /// Checks whether the certificates can be used. Returns warnings, such as of their end.
    ///
    /// # Errors
    /// Returns every reason why they cannot.
    pub fn check(&self, now: SystemTime) -> Result<Vec<String>, Vec<TlsError>> {
        let read = self.certificates.iter().map(CertificateFiles::read);
        let mut errors: Vec<_> = read.filter_map(Result::err).collect();
        let client_ca = self.client_ca.as_ref().map(|path| certificates(path));
        errors.extend(client_ca.and_then(Result::err));
        if !errors.is_empty() {
            return Err(errors);
        }
        let loaded = self.load(Tickets::Sent).map_err(|error| vec![error])?;
        Ok(loaded.warnings(now))
    }

    pub(crate) fn load(&self, tickets: Tickets) -> Result<Loaded, TlsError> {
        // Explicit, because another crate of the binary may install another provider.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (mut validities, mut gaps) = (Vec::new(), Vec::new());
        let mut named = Vec::new();
        for files in &self.certificates {
            let identity = files.read()?;
            let file = &files.certificate;
            validities.push(Validity::new(file.clone(), &identity.chain[0])?);
            gaps.extend(identity.gap().map(|at| {
                format!(
                    "{}: certificate {at} is not followed by that of its issuer: some clients refuse \
                     the chain",
                    file.display()
                )
            }));
            named.push(identity.named(&provider)?);
        }
        let is_generated = named.is_empty();
        if is_generated {
            named.push(self_signed(&provider, &self.names)?);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for issuer in certificates(path)? {
                    roots.add(der(&issuer)?)?;
                }
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(named)));
        if tickets == Tickets::None {
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            validities,
            gaps,
            is_generated,
        })
    }

    /// Returns the time of each file's last change; `None` if one is unknown.
    pub(crate) fn modified(&self) -> Option<Vec<SystemTime>> {
        let files = self.certificates.iter().flat_map(CertificateFiles::paths);
        let paths = files.chain(&self.client_ca);
        paths
            .map(|path| std::fs::metadata(path).ok()?.modified().ok())
            .collect()
    }
}

impl Loaded {
    /// Returns what clients may refuse at `now` or soon.
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let ends = self.validities.iter();
        let ends = ends.filter_map(|validity| validity.warning(now));
        let generated = self.is_generated.then(|| {
            "no certificate is configured, so each start generates one, of which browsers warn and which \
             players refuse: set certificate and key"
                .to_owned()
        });
        ends.chain(self.gaps.iter().cloned())
            .chain(generated)
            .collect()
    }
}

impl Identity {
    fn named(&self, provider: &CryptoProvider) -> Result<Named, TlsError> {
        let chain = self.chain.iter().map(|certificate| der(certificate));
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivatePkcs8KeyDer::from(self.key.private_key_to_pkcs8()?);
        Ok(Named {
            names: names(&self.chain[0]),
            key: Arc::new(CertifiedKey::from_der(chain, key.into(), provider)?),
        })
    }
}

fn der(certificate: &X509) -> Result<CertificateDer<'static>, TlsError> {
    Ok(CertificateDer::from(certificate.to_der()?))
}

/// Generates a certificate for loopback and these names and addresses.
#[expect(
    clippy::disallowed_methods,
    reason = "a certificate is generated when the listener starts"
)]
fn self_signed(provider: &CryptoProvider, names: &[String]) -> Result<Named, TlsError> {
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new([&loopback[..], names].concat())?;
    params.distinguished_name = DistinguishedName::new();
    let subject = &mut params.distinguished_name;
    subject.push(DnType::CommonName, "distributary");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + VALIDITY).into();
    let signing_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let chain = vec![params.self_signed(&signing_key)?.der().clone()];
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    Ok(Named {
        names: Vec::new(),
        key: Arc::new(CertifiedKey::from_der(chain, key.into(), provider)?),
    })
}
