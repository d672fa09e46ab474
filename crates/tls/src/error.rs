//! The reasons why a certificate or a key cannot be used, with what to do.

use std::io;
use std::path::PathBuf;

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is not usable.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: FileProblem,
    },
    /// The key belongs to another certificate.
    #[error("{} is the key of another certificate than {}", key.display(), certificate.display())]
    OtherKey {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The certificate is given without its key, or the key without the certificate.
    #[error("set both certificate and key, or neither")]
    Half,
    /// TLS refuses the certificate for another reason.
    #[error("the certificate cannot be used: {0}")]
    Rustls(#[from] tokio_rustls::rustls::Error),
    /// The issuers of client certificates cannot be used.
    #[error("client_ca: {0}")]
    ClientCa(#[from] tokio_rustls::rustls::client::VerifierBuilderError),
    /// No certificate could be generated.
    #[error("cannot generate a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// A certificate or key cannot be encoded.
    #[error("the certificate cannot be used: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// The reason why a file is no usable certificate or key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is too large for a certificate or a key.
    #[error("larger than 1 MiB, so it is neither certificate nor key")]
    TooLarge,
    /// It is empty.
    #[error("the file is empty")]
    Empty,
    /// It is not PEM.
    #[error("not a PEM file: there is no line -----BEGIN {0}-----")]
    NotPem(&'static str),
    /// It is a certificate in binary form.
    #[error("DER instead of PEM: convert it with openssl x509 -inform DER -in FILE -out FILE.pem")]
    DerCertificate,
    /// It is a key in binary form.
    #[error("DER instead of PEM: convert it with openssl pkey -inform DER -in FILE -out FILE.pem")]
    DerKey,
    /// It is a container with certificate and key.
    #[error(
        "PKCS #12 instead of PEM: convert it with openssl pkcs12 -in FILE -nodes -out FILE.pem"
    )]
    Pkcs12,
    /// It is a key, and a certificate is expected.
    #[error("a private key instead of a certificate: are certificate and key swapped?")]
    KeyForCertificate,
    /// It is a certificate, and a key is expected.
    #[error("a certificate instead of a private key: are certificate and key swapped?")]
    CertificateForKey,
    /// It is a request for a certificate.
    #[error(
        "a certificate request instead of a certificate: use the file that its issuer returned"
    )]
    Request,
    /// It contains neither certificate nor key.
    #[error("{found} instead of {expected}")]
    Other {
        /// The type of its first PEM block, in capitals.
        found: String,
        /// The type of the expected block, in capitals.
        expected: &'static str,
    },
    /// It is an OpenSSH key.
    #[error("an OpenSSH key instead of a PEM key: convert it with ssh-keygen -p -m PEM -f FILE")]
    OpenSsh,
    /// A certificate cannot be decoded.
    #[error("certificate {position} is damaged: {reason}")]
    DamagedCertificate {
        /// The position in the file, counted from 1.
        position: usize,
        /// The error of the parser.
        reason: String,
    },
    /// The key cannot be decoded.
    #[error("the private key is damaged: {0}")]
    DamagedKey(String),
    /// The key is encrypted.
    #[error(
        "the private key is encrypted: name the file with its passphrase in key_passphrase_file, or \
         decrypt the key with openssl pkey -in FILE -out FILE.pem"
    )]
    Encrypted,
    /// The passphrase is wrong, or the cipher is not supported.
    #[error("the private key cannot be decrypted with the passphrase in {}", .0.display())]
    Passphrase(PathBuf),
    /// An RSA key is too small or too large.
    #[error("an RSA key of {0} bits is not supported: use 2048 to 8192 bits")]
    RsaSize(u32),
    /// The curve of the key is not supported.
    #[error("a key on the curve {0} is not supported: use P-256, P-384 or P-521")]
    Curve(String),
    /// The type of the key is not supported.
    #[error("a key of this type is not supported: use RSA, ECDSA or Ed25519")]
    KeyType,
    /// The certificate of the key is not the first.
    #[error(
        "wrong order: certificate {0} is that of the key: put it first, followed by those of its issuers"
    )]
    Order(usize),
}
