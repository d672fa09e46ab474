//! A local HTTP server for tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Uri;
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The response to requests.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with this document.
    Ok(String),
    /// A status such as `403 Forbidden`, without a body.
    Status(&'static str),
    /// No response, ever.
    Never,
}

/// A server that answers every request in the same way.
pub(crate) struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::serve(answer, None).await
    }

    /// Starts a server with TLS. Returns the certificates to trust.
    pub(crate) async fn start_tls(answer: Answer) -> (Self, RootCertStore) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::serve(answer, Some(acceptor)).await, roots)
    }

    async fn serve(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            requests: Arc::default(),
        };
        let (answer, requests) = (Arc::clone(&server.answer), Arc::clone(&server.requests));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => exchange(socket, &answer, &requests).await,
                        Some(tls) => {
                            // A client that does not trust the certificate disconnects.
                            if let Ok(socket) = tls.accept(socket).await {
                                exchange(socket, &answer, &requests).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, scheme: &str) -> Uri {
        let port = self.address.port();
        format!("{scheme}://localhost:{port}/asked")
            .parse()
            .unwrap()
    }

    /// Changes the response from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn exchange(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Mutex<Answer>,
    requests: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if !matches!(socket.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap();
    requests.lock().unwrap().push(request);
    let answer = answer.lock().unwrap().clone();
    let (status, body) = match answer {
        Answer::Ok(body) => ("200 OK", body),
        Answer::Status(status) => (status, String::new()),
        Answer::Never => return std::future::pending().await,
    };
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    // A client that has read enough disconnects.
    let _ = socket.write_all(text.as_bytes()).await;
    let _ = socket.shutdown().await;
}

/// Returns whether the head and the announced body are complete.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    body.len() >= length
}
