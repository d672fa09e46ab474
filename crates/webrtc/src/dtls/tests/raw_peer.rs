//! An OpenSSL peer with settings that ours does not have.

use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
};

use super::{association, certificate, connected_keys, origin};
use crate::certificate::Certificate;
use crate::dtls::pipe::DatagramPipe;
use crate::dtls::record_layer::{RecordLayer, Sealed, Secrets};
use crate::dtls::{Dtls, DtlsRole, MTU};

/// An OpenSSL peer with settings that ours does not have.
pub(super) struct RawPeer {
    role: DtlsRole,
    pub(super) stream: SslStream<DatagramPipe>,
    pub(super) first_flight: Vec<u8>,
}

impl RawPeer {
    /// Creates a client.
    pub(super) fn client(configure: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        configure(&mut builder);
        Self::new(DtlsRole::Client, 300, &builder.build())
    }

    /// Creates a server that asks for a certificate and takes any.
    pub(super) fn server(configure: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        configure(&mut builder);
        Self::new(DtlsRole::Server, MTU, &builder.build())
    }

    fn new(role: DtlsRole, mtu: u32, context: &SslContext) -> Self {
        let mut ssl = Ssl::new(context).unwrap();
        match role {
            DtlsRole::Client => ssl.set_connect_state(),
            DtlsRole::Server => ssl.set_accept_state(),
        }
        ssl.set_mtu(mtu).unwrap();
        Self {
            role,
            stream: SslStream::new(ssl, DatagramPipe::default()).unwrap(),
            first_flight: Vec::new(),
        }
    }

    /// Runs the handshake of a client as far as it goes; the server may fail.
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

    /// Handles datagrams of the handshake, or of its repetition, and returns what it sends.
    pub(super) fn answer(&mut self, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for datagram in datagrams {
            self.stream.get_mut().push_inbound(datagram);
            let is_done = self.stream.ssl().is_init_finished();
            let _ = if is_done {
                self.stream.ssl_read(&mut [0; 2048]).map(drop)
            } else {
                self.stream.do_handshake()
            };
            sent.extend(std::iter::from_fn(|| self.stream.get_mut().pop_outbound()));
        }
        sent
    }

    /// Returns a datagram with application data.
    pub(super) fn write(&mut self, data: &[u8]) -> Vec<u8> {
        self.stream.ssl_write(data).unwrap();
        self.stream.get_mut().pop_outbound().unwrap()
    }

    /// Returns the application data of a datagram.
    pub(super) fn read(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.stream.get_mut().push_inbound(datagram);
        let mut data = vec![0; 2048];
        let length = self.stream.ssl_read(&mut data).unwrap();
        data.truncate(length);
        data
    }

    /// Returns the error that a datagram causes.
    pub(super) fn read_error(&mut self, datagram: &[u8]) -> String {
        self.stream.get_mut().push_inbound(datagram);
        self.stream.ssl_read(&mut [0; 100]).unwrap_err().to_string()
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

    /// Returns its record layer after the handshake, for records that OpenSSL does not send.
    pub(super) fn record_layer(&self) -> RecordLayer {
        let ssl = self.stream.ssl();
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
        RecordLayer::new(&secrets, self.role, last_sealed).unwrap()
    }
}

/// Returns a raw client and a server of ours that have completed the handshake.
pub(super) fn connected_to_raw_client(
    configure: impl FnOnce(&mut SslContextBuilder),
) -> (RawPeer, Dtls) {
    let theirs = certificate();
    let mut server = association(DtlsRole::Server, &certificate(), theirs.fingerprint());
    let mut client = RawPeer::client(|builder| {
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
