//! A certificate and its key in PEM files.

use std::path::{Path, PathBuf};

use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::{X509, X509VerifyResult};
use serde::{Deserialize, Serialize};

use crate::error::{FileProblem, TlsError};
use crate::pem::{self, Expected, is_certificate, of};

/// The files of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// File with the passphrase of the key; empty if the key is not encrypted.
    pub key_passphrase_file: PathBuf,
}

/// The content of the files: the key is that of the first certificate.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<X509>,
    pub(crate) key: PKey<Private>,
}

impl CertificateFiles {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Identity, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = self.private_key()?;
        let position = chain.iter().position(|certificate| {
            let public = certificate.public_key();
            public.is_ok_and(|public| public.public_eq(&key))
        });
        match position {
            Some(0) => Ok(Identity { chain, key }),
            Some(position) => Err(of(&self.certificate)(FileProblem::Order(position + 1))),
            None => Err(TlsError::OtherKey {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            }),
        }
    }

    /// Returns the files that are in use.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let paths = [&self.certificate, &self.key, &self.key_passphrase_file];
        paths.into_iter().filter(|path| is_given(path))
    }

    fn private_key(&self) -> Result<PKey<Private>, TlsError> {
        let failed = of(&self.key);
        let bytes = pem::read(&self.key)?;
        let blocks = pem::blocks(&bytes, Expected::PrivateKey).map_err(failed)?;
        if blocks
            .iter()
            .any(|block| block.label.starts_with("OPENSSH"))
        {
            return Err(failed(FileProblem::OpenSsh));
        }
        let is_encrypted = blocks.iter().any(|block| {
            block.label.starts_with("ENCRYPTED ") || block.text.contains("Proc-Type: 4,ENCRYPTED")
        });
        let key = if !is_encrypted {
            // Without a passphrase, OpenSSL would ask for one at the terminal.
            PKey::private_key_from_pem_passphrase(&bytes, b"")
                .map_err(|error| failed(FileProblem::DamagedKey(reason(&error))))?
        } else if is_given(&self.key_passphrase_file) {
            let passphrase = pem::read(&self.key_passphrase_file)?;
            let line = passphrase
                .split(|byte| matches!(byte, b'\r' | b'\n'))
                .next();
            PKey::private_key_from_pem_passphrase(&bytes, line.unwrap_or_default())
                .map_err(|_| failed(FileProblem::Passphrase(self.key_passphrase_file.clone())))?
        } else {
            return Err(failed(FileProblem::Encrypted));
        };
        supported(&key).map_err(failed)?;
        Ok(key)
    }
}

/// Reads the certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<X509>, TlsError> {
    let bytes = pem::read(path)?;
    let blocks = pem::blocks(&bytes, Expected::Certificate).map_err(of(path))?;
    let certificates = blocks.iter().filter(|block| is_certificate(block.label));
    certificates
        .enumerate()
        .map(|(at, block)| {
            X509::from_pem(block.text.as_bytes()).map_err(|error| {
                of(path)(FileProblem::DamagedCertificate {
                    position: at + 1,
                    reason: reason(&error),
                })
            })
        })
        .collect()
}

impl Identity {
    /// Returns the position of the first certificate, counted from 1, that is not followed by that
    /// of its issuer.
    pub(crate) fn gap(&self) -> Option<usize> {
        let mut pairs = self.chain.windows(2);
        let gap = pairs.position(|pair| pair[1].issued(&pair[0]) != X509VerifyResult::OK);
        gap.map(|at| at + 1)
    }
}

/// Refuses keys that TLS does not support.
fn supported(key: &PKey<Private>) -> Result<(), FileProblem> {
    match key.id() {
        Id::RSA if !(2048..=8192).contains(&key.bits()) => Err(FileProblem::RsaSize(key.bits())),
        Id::RSA | Id::ED25519 => Ok(()),
        Id::EC => {
            let curve = key.ec_key().as_ref().ok().and_then(curve);
            match curve {
                Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1) => Ok(()),
                Some(other) => Err(FileProblem::Curve(
                    other.short_name().unwrap_or("without a name").to_owned(),
                )),
                None => Err(FileProblem::Curve("without a name".to_owned())),
            }
        }
        _ => Err(FileProblem::KeyType),
    }
}

fn curve(key: &EcKey<Private>) -> Option<Nid> {
    key.group().curve_name()
}

/// Returns the most specific reason of an error.
fn reason(error: &ErrorStack) -> String {
    let mut reasons = error.errors().iter().filter_map(|error| error.reason());
    reasons
        .next_back()
        .unwrap_or("it cannot be decoded")
        .to_owned()
}

/// Returns whether a path of the configuration is set.
pub(crate) fn is_given(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}
