//! OpenSSL behind non-blocking calls.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};

use super::context::FINGERPRINT_MISMATCH;
use super::pipe::DatagramPipe;
use super::record::Records;
use super::record_layer::{RecordLayer, Sealed, Secrets};
use super::{DtlsError, DtlsRole};
use crate::certificate::Fingerprint;
use crate::srtp::profile::SrtpKeyingMaterial;
use crate::srtp::{SrtpKeys, SrtpProfile};

/// Label of the exporter (RFC 5764 section 4.2).
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Length of client and server random (RFC 5246 section 7.4.1.2).
const RANDOM_LEN: usize = 32;

/// Length of the master secret (RFC 5246 section 8.1).
const MASTER_SECRET_LEN: usize = 48;

/// One OpenSSL session over memory buffers.
pub(super) struct OpenSslEngine {
    stream: SslStream<DatagramPipe>,
    expected: Arc<[Fingerprint]>,
    /// The last protected record that was written.
    last_sealed: Option<Sealed>,
}

impl OpenSslEngine {
    pub(super) fn new(ssl: Ssl, expected: Arc<[Fingerprint]>) -> Result<Self, DtlsError> {
        let stream = SslStream::new(ssl, DatagramPipe::default()).map_err(DtlsError::Setup)?;
        Ok(Self {
            stream,
            expected,
            last_sealed: None,
        })
    }

    /// Queues a datagram for the next call to read.
    pub(super) fn push_inbound(&mut self, datagram: &[u8]) {
        self.stream.get_mut().push_inbound(datagram);
    }

    /// Removes and returns the datagrams that the last call has written, the oldest first.
    pub(super) fn take_outbound(&mut self) -> Vec<Vec<u8>> {
        let pipe = self.stream.get_mut();
        let outbound: Vec<_> = std::iter::from_fn(|| pipe.pop_outbound()).collect();
        let records = outbound.iter().flat_map(|datagram| Records(datagram));
        for record in records.filter(|record| record.epoch > 0) {
            self.last_sealed = record.fragment.first_chunk().map(|nonce| Sealed {
                sequence: record.sequence,
                explicit_nonce: u64::from_be_bytes(*nonce),
            });
        }
        outbound
    }

    /// Returns the last protected record that was written.
    pub(super) fn last_sealed(&self) -> Option<Sealed> {
        self.last_sealed
    }

    /// Continues the handshake as far as possible. Returns whether it is complete.
    pub(super) fn handshake(&mut self) -> Result<bool, DtlsError> {
        forget_errors();
        match self.stream.do_handshake() {
            Ok(()) => Ok(true),
            Err(error) if is_pending(error.code()) => Ok(false),
            Err(_) if self.stream.ssl().verify_result() == FINGERPRINT_MISMATCH => {
                Err(DtlsError::FingerprintMismatch)
            }
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Err(DtlsError::ClosedEarly),
            Err(error) => Err(protocol_error(&error)),
        }
    }

    /// Handles records after the handshake: alerts, and repeated Finished messages, to which
    /// OpenSSL repeats ours (RFC 6347 section 4.2.4). Returns whether the association continues.
    ///
    /// Application data, of data channels (RFC 8831), is passed to `take`.
    pub(super) fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool, DtlsError> {
        let mut application_data = [0; 2048];
        loop {
            forget_errors();
            match self.stream.ssl_read(&mut application_data) {
                Ok(length) => take(application_data.get(..length).unwrap_or_default()),
                Err(error) if is_pending(error.code()) => return Ok(true),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(false),
                Err(error) => return Err(protocol_error(&error)),
            }
        }
    }

    /// Writes a record of application data. Drops it if it cannot be written, as a datagram may be.
    pub(super) fn write(&mut self, application_data: &[u8]) {
        forget_errors();
        let _ = self.stream.ssl_write(application_data);
    }

    /// Writes a close_notify.
    pub(super) fn close(&mut self) {
        forget_errors();
        // A session that is in no state to send an alert any more needs none.
        let _ = self.stream.shutdown();
    }

    /// Returns what a client that has sent its Finished may use before the server's has come: the
    /// SRTP keys, and the record layer that seals in place of OpenSSL. `None` if it must wait.
    ///
    /// RFC 7918 section 3 permits it if nothing that the server's Finished still has to confirm can
    /// have been weakened: the key exchange is ephemeral and signed by the certificate that the
    /// fingerprint names, which OpenSSL has verified before it wrote Finished, and cipher and SRTP
    /// profile are authenticated encryption of today, whatever else was offered.
    pub(super) fn early_keys(
        &self,
        role: DtlsRole,
    ) -> Option<((SrtpProfile, SrtpKeys), RecordLayer)> {
        let is_ephemeral = |cipher: &str| cipher.starts_with("ECDHE-");
        let cipher = self.stream.ssl().current_cipher()?.name();
        if role != DtlsRole::Client || self.last_sealed.is_none() || !is_ephemeral(cipher) {
            return None;
        }
        let (profile, keys) = self.agreed_keys(role).ok()?;
        let is_strong = SrtpProfile::AEAD.contains(&profile);
        // There is a record layer for the AES-GCM ciphers alone.
        let record_layer = self.record_layer(role)?;
        is_strong.then_some(((profile, keys), record_layer))
    }

    /// Returns profile and keys of a complete handshake, or of one that lacks the server's
    /// Finished.
    ///
    /// The certificate has been verified during the handshake; it is verified again here, so that
    /// no way of completing a handshake can bypass it.
    pub(super) fn agreed_keys(&self, role: DtlsRole) -> Result<(SrtpProfile, SrtpKeys), DtlsError> {
        let ssl = self.stream.ssl();
        let certificate = ssl
            .peer_certificate()
            .and_then(|certificate| certificate.to_der().ok());
        if !certificate.is_some_and(|der| Fingerprint::any_matches(&self.expected, &der)) {
            return Err(DtlsError::FingerprintMismatch);
        }
        let profile = ssl
            .selected_srtp_profile()
            .and_then(|profile| u16::try_from(profile.id().as_raw()).ok())
            .and_then(SrtpProfile::from_id)
            .ok_or(DtlsError::NoSrtpProfile)?;
        let mut exported = vec![0; profile.keying_material_len()];
        ssl.export_keying_material(&mut exported, EXPORTER_LABEL, None)
            .map_err(DtlsError::Protocol)?;
        let material =
            SrtpKeyingMaterial::split(profile, &exported).ok_or(DtlsError::NoSrtpProfile)?;
        let keys = match role {
            DtlsRole::Client => material.for_client(),
            DtlsRole::Server => material.for_server(),
        };
        Ok((profile, keys))
    }

    /// Returns a record layer that replaces this session, if it supports the cipher.
    pub(super) fn record_layer(&self, role: DtlsRole) -> Option<RecordLayer> {
        let ssl = self.stream.ssl();
        let mut master_secret = [0; MASTER_SECRET_LEN];
        let (mut client_random, mut server_random) = ([0; RANDOM_LEN], [0; RANDOM_LEN]);
        let lengths = (
            ssl.session()?.master_key(&mut master_secret),
            ssl.client_random(&mut client_random),
            ssl.server_random(&mut server_random),
        );
        if lengths != (MASTER_SECRET_LEN, RANDOM_LEN, RANDOM_LEN) {
            return None;
        }
        let secrets = Secrets {
            cipher: ssl.current_cipher()?.name(),
            master_secret: &master_secret,
            client_random: &client_random,
            server_random: &server_random,
        };
        RecordLayer::new(&secrets, role, self.last_sealed?)
    }
}

/// Returns whether OpenSSL only waits for the next datagram.
fn is_pending(code: ErrorCode) -> bool {
    code == ErrorCode::WANT_READ || code == ErrorCode::WANT_WRITE
}

fn protocol_error(error: &openssl::ssl::Error) -> DtlsError {
    DtlsError::Protocol(error.ssl_error().cloned().unwrap_or_else(ErrorStack::get))
}

/// Empties OpenSSL's error queue. The queue belongs to the thread: the next session on this thread
/// would take the errors for its own.
fn forget_errors() {
    drop(ErrorStack::get());
}
