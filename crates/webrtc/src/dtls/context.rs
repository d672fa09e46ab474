//! The state common to all associations.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::X509VerifyResult;

use super::DtlsRole;
use crate::certificate::{Certificate, Fingerprint};
use crate::srtp::SrtpProfile;

/// Longest datagram of a handshake in bytes: fits each path WebRTC is used on, tunnels and
/// IPv6 included.
pub const MTU: u32 = 1200;

/// Ciphers in our order. Counter-mode ones first; the CBC ones are there for peers that have
/// nothing better. All have forward secrecy, as RFC 8827 section 6.5 requires. Which of ECDSA and
/// RSA it is the certificate of the server decides: ours is ECDSA, so the RSA ones count only where
/// the peer is the server.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                       ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
                       ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:\
                       ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";

/// Key exchange groups in our order.
const GROUPS: &str = "X25519:P-256:P-384";

/// `SSL_OP_NO_ENCRYPT_THEN_MAC` of OpenSSL's `ssl.h`, which the crate has no name for.
///
/// With that extension (RFC 7366) OpenSSL ends an association at the first record with a wrong MAC,
/// although RFC 6347 section 4.1.2.7 requires to drop it: anybody could end the association from a
/// forged address. Only the CBC ciphers use the extension, and browsers do not support it.
const NO_ENCRYPT_THEN_MAC: SslOptions = SslOptions::from_bits_retain(1 << 19);

/// The verification error of a certificate without a matching fingerprint. RFC 8122 section 6.2
/// requires the alert `bad_certificate`; of the errors available here, this one leads to an alert
/// of its own, `handshake_failure`, which is as fatal.
pub(super) const FINGERPRINT_MISMATCH: X509VerifyResult =
    X509VerifyResult::APPLICATION_VERIFICATION;

/// Certificate and rules for DTLS associations; a clone is another handle to the same.
///
/// Servers ask for no cookie (RFC 6347 section 4.2.1): a HelloVerifyRequest proves that a client is
/// where it seems to be, which its connectivity check has done already (RFC 8842 section 6.2), and
/// costs a round trip. A ClientHello of DTLS 1.3 (RFC 9147) offers 1.2 as well where it comes from
/// a WebRTC peer, and is answered by that.
#[derive(Clone)]
pub struct DtlsContext {
    ssl: SslContext,
}

impl std::fmt::Debug for DtlsContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DtlsContext").finish_non_exhaustive()
    }
}

impl DtlsContext {
    /// Creates a context for associations in either role that present `certificate`.
    ///
    /// Fails only if OpenSSL was built without something that is asked for here.
    pub fn new(certificate: &Certificate) -> Result<Self, ErrorStack> {
        Self::with_profiles(certificate, &SrtpProfile::ALL)
    }

    /// Creates a context for SRTP with one of these profiles, the best first.
    ///
    /// Fails if there is none, too.
    pub fn with_profiles(
        certificate: &Certificate,
        profiles: &[SrtpProfile],
    ) -> Result<Self, ErrorStack> {
        let names: Vec<_> = profiles
            .iter()
            .map(|profile| openssl_name(*profile))
            .collect();
        let mut builder = SslContext::builder(SslMethod::dtls())?;
        builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        builder.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
        builder.set_cipher_list(CIPHERS)?;
        builder.set_groups_list(GROUPS)?;
        builder.set_certificate(certificate.x509())?;
        builder.set_private_key(certificate.key())?;
        builder.check_private_key()?;
        builder.set_tlsext_use_srtp(&names.join(":"))?;
        // A resumed session would skip the certificate, and with it the fingerprint.
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(
            SslOptions::NO_TICKET
                | SslOptions::NO_RENEGOTIATION
                | SslOptions::CIPHER_SERVER_PREFERENCE
                | SslOptions::NO_COMPRESSION
                | NO_ENCRYPT_THEN_MAC
                // There is no socket to ask for a path MTU; it is set by hand.
                | SslOptions::NO_QUERY_MTU,
        );
        // An idle association keeps no record buffers: 16 KiB each way for every viewer.
        builder.set_mode(SslMode::RELEASE_BUFFERS);
        Ok(Self {
            ssl: builder.build(),
        })
    }

    /// Creates an OpenSSL session that accepts the certificates of the fingerprints `expected`.
    pub(super) fn association(
        &self,
        role: DtlsRole,
        expected: Arc<[Fingerprint]>,
    ) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.ssl)?;
        ssl.set_mtu(MTU)?;
        // RFC 8827 section 6.5: no chain is built and no authority trusted. Errors of a chain
        // (self-signed, expired, unknown issuer) do not matter; only the certificate of the peer
        // itself does.
        let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        ssl.set_verify_callback(mode, move |_chain_is_valid, store| {
            let is_accepted = store.error_depth() > 0
                || store
                    .current_cert()
                    .and_then(|certificate| certificate.to_der().ok())
                    .is_some_and(|der| Fingerprint::any_matches(&expected, &der));
            store.set_error(if is_accepted {
                X509VerifyResult::OK
            } else {
                FINGERPRINT_MISMATCH
            });
            is_accepted
        });
        match role {
            DtlsRole::Client => ssl.set_connect_state(),
            DtlsRole::Server => ssl.set_accept_state(),
        }
        Ok(ssl)
    }
}

/// Returns OpenSSL's name of a profile, which is that of drafts of RFC 5764.
fn openssl_name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
        SrtpProfile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        SrtpProfile::AesCm128HmacSha1_80 => "SRTP_AES128_CM_SHA1_80",
        SrtpProfile::AesCm128HmacSha1_32 => "SRTP_AES128_CM_SHA1_32",
    }
}
