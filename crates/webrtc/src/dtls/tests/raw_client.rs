//! An OpenSSL client with settings that ours does not have.

use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
};

use super::{association, certificate, connected_keys, origin};
use crate::certificate::Certificate;
use crate::dtls::pipe::DatagramPipe;
use crate::dtls::record_layer::{RecordLayer, Sealed, Secrets};
use crate::dtls::{Dtls, DtlsRole};

/// An OpenSSL client with settings that ours does not have.
pub(super) struct RawClient {
    pub(super) stream: SslStream<DatagramPipe>,
    pub(super) first_flight: Vec<u8>,
}

impl RawClient {
    pub(super) fn new(configure: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        configure(&mut builder);
        let mut ssl = Ssl::new(&builder.build()).unwrap();
        ssl.set_connect_state();
        ssl.set_mtu(300).unwrap();
        let stream = SslStream::new(ssl, DatagramPipe::default()).unwrap();
        Self {
            stream,
            first_flight: Vec::new(),
        }
    }

    /// Runs the handshake as far as it goes; the server may fail.
    pub(super) fn run(&mut self, server: &mut Dtls) {
        let now = origin();
        for _ in 0..20 {
            let _ = self.stream.do_handshake();
            while let Some(datagram) = self.stream.get_mut().pop_outbound() {
                if self.first_flight.is_empty() {
                    self.first_flight.clone_from(&datagram);
                }
                server.handle_datagram(now, &datagram);
            }
            while let Some(datagram) = server.poll_transmit() {
                self.stream.get_mut().push_inbound(&datagram);
                let _ = self.stream.do_handshake();
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.stream.shutdown().unwrap();
    }

    /// Returns whether a datagram is an authentic close_notify.
    pub(super) fn hears_goodbye(&mut self, datagram: &[u8]) -> bool {
        self.stream.get_mut().push_inbound(datagram);
        let error = self.stream.ssl_read(&mut [0; 100]).unwrap_err();
        error.code() == ErrorCode::ZERO_RETURN
    }
}

/// Returns a raw client and a server of ours that have completed the handshake.
pub(super) fn connected_to_raw_client(
    configure: impl FnOnce(&mut SslContextBuilder),
) -> (RawClient, Dtls) {
    let theirs = certificate();
    let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut client = RawClient::new(|builder| {
        use_certificate(builder, &theirs);
        builder
            .set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80")
            .unwrap();
        configure(builder);
    });
    client.run(&mut server);
    connected_keys(&mut server);
    (client, server)
}

pub(super) fn use_certificate(builder: &mut SslContextBuilder, certificate: &Certificate) {
    builder.set_certificate(certificate.x509()).unwrap();
    builder.set_private_key(certificate.key()).unwrap();
}

/// Returns the record layer of a client after the handshake, for records that OpenSSL does not
/// send.
pub(super) fn record_layer_of(client: &RawClient) -> RecordLayer {
    let ssl = client.stream.ssl();
    let mut master_secret = [0; 48];
    let (mut client_random, mut server_random) = ([0; 32], [0; 32]);
    ssl.session().unwrap().master_key(&mut master_secret);
    ssl.client_random(&mut client_random);
    ssl.server_random(&mut server_random);
    let secrets = Secrets {
        cipher: ssl.current_cipher().unwrap().name(),
        master_secret: &master_secret,
        client_random: &client_random,
        server_random: &server_random,
    };
    let last_sealed = Sealed {
        sequence: 1000,
        explicit_nonce: 1000,
    };
    RecordLayer::new(&secrets, DtlsRole::Client, last_sealed).unwrap()
}
