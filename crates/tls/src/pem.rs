//! The content of a file that should be PEM (RFC 7468).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::error::{FileProblem, TlsError};

/// Maximum size of a file, in bytes: a bundle of all public issuers has a quarter of it.
const MAX_SIZE: u64 = 1024 * 1024;

const BEGIN: &str = "-----BEGIN ";

/// The kind of content that is expected of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Certificate,
    PrivateKey,
}

/// A block of a PEM file.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The type of its content: `CERTIFICATE`.
    pub(crate) label: &'a str,
    /// The block with its first and last line, and text that follows it.
    pub(crate) text: &'a str,
}

/// Reads a file up to the maximum size.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    match file {
        Ok(_) if bytes.len() as u64 > MAX_SIZE => Err(of(path)(FileProblem::TooLarge)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(of(path)(error.into())),
    }
}

/// Returns a function that adds the file to a problem.
pub(crate) fn of(path: &Path) -> impl Fn(FileProblem) -> TlsError + Copy + '_ {
    |problem| TlsError::File {
        path: path.to_owned(),
        problem,
    }
}

/// Returns the blocks of a file, at least one of which has the expected content.
pub(crate) fn blocks(bytes: &[u8], expected: Expected) -> Result<Vec<Block<'_>>, FileProblem> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let starts = text.match_indices(BEGIN).map(|(at, _)| at);
    let ends = starts.clone().skip(1).chain([text.len()]);
    let blocks: Vec<_> = starts
        .zip(ends)
        .filter_map(|(start, end)| {
            let label = text[start + BEGIN.len()..end].split_once("-----")?.0;
            let text = &text[start..end];
            Some(Block { label, text })
        })
        .collect();
    let Some(first) = blocks.first() else {
        return Err(binary(bytes, expected));
    };
    if blocks.iter().any(|block| expected.is(block.label)) {
        return Ok(blocks);
    }
    let has = |label: fn(&str) -> bool| blocks.iter().any(|block| label(block.label));
    Err(match expected {
        Expected::Certificate if has(is_private_key) => FileProblem::KeyForCertificate,
        Expected::Certificate if has(is_request) => FileProblem::Request,
        Expected::PrivateKey if has(is_certificate) => FileProblem::CertificateForKey,
        _ => FileProblem::Other {
            found: first.label.escape_debug().to_string(),
            expected: expected.label(),
        },
    })
}

impl Expected {
    fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::PrivateKey => "PRIVATE KEY",
        }
    }

    fn is(self, label: &str) -> bool {
        match self {
            Self::Certificate => is_certificate(label),
            Self::PrivateKey => is_private_key(label),
        }
    }
}

/// Returns whether a block with this label is a certificate; OpenSSL has written three of them.
pub(crate) fn is_certificate(label: &str) -> bool {
    matches!(
        label,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"
    )
}

fn is_private_key(label: &str) -> bool {
    label.ends_with("PRIVATE KEY")
}

fn is_request(label: &str) -> bool {
    label.ends_with("CERTIFICATE REQUEST")
}

/// Explains a file without PEM blocks.
fn binary(bytes: &[u8], expected: Expected) -> FileProblem {
    if bytes.is_empty() {
        return FileProblem::Empty;
    }
    let is_certificate = X509::from_der(bytes).is_ok();
    let is_key = !is_certificate && PKey::private_key_from_der(bytes).is_ok();
    match expected {
        Expected::Certificate if is_key => FileProblem::KeyForCertificate,
        Expected::PrivateKey if is_certificate => FileProblem::CertificateForKey,
        _ if is_certificate => FileProblem::DerCertificate,
        _ if is_key => FileProblem::DerKey,
        _ if Pkcs12::from_der(bytes).is_ok() => FileProblem::Pkcs12,
        _ => FileProblem::NotPem(expected.label()),
    }
}
