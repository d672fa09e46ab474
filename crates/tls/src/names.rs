//! The certificate for the name that a client asks for (SNI, RFC 6066 section 3).

use std::sync::Arc;

use openssl::x509::X509Ref;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Certificates by name. The first is for clients that ask for no name, or for an unknown one.
#[derive(Debug)]
pub(crate) struct ByName(pub(crate) Vec<Named>);

/// A certificate with the names it is valid for.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
    pub(crate) key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = client.server_name();
        let named = asked.and_then(|name| self.0.iter().find(|named| named.is_for(name)));
        named.or(self.0.first()).map(|named| Arc::clone(&named.key))
    }
}

impl Named {
    /// Returns whether the certificate is valid for `host`.
    fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| matches(name, host))
    }
}

/// Returns the DNS names of a certificate.
pub(crate) fn names(certificate: &X509Ref) -> Vec<String> {
    let names = certificate.subject_alt_names().into_iter().flatten();
    names
        .filter_map(|name| name.dnsname().map(str::to_owned))
        .collect()
}

/// Returns whether a name of a certificate is `host`; `*` stands for the first label (RFC 6125
/// section 6.4.3).
fn matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_stands_for_one_label() {
        for (name, host, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "A.Example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("a.example", "b.example", false),
        ] {
            assert_eq!(matches(name, host), expected, "{name} {host}");
        }
    }
}
