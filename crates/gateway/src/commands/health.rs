//! `distributary health`: checks a running gateway, for containers that have no other program for
//! it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use distributary_auth::HttpUrl;
use distributary_auth::client::{ClientError, HttpClient};
use distributary_net::ListenAddress;
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::cli::Cli;
use crate::config::ConfigErrors;

/// Timeout of the request: health checks of containers have few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The certificates that are trusted over HTTPS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system's authorities.
    #[default]
    System,
    /// Those of a PEM file, or signed by one of them.
    File(PathBuf),
    /// All.
    Any,
}

/// A gateway that accepts viewers.
#[derive(Debug)]
pub struct Ready {
    /// The URL that answered.
    pub url: Uri,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ready: {} responds 200 OK", self.url)
    }
}

/// The gateway does not accept viewers, or is not reachable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// The address of the gateway is not known.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The host of the address cannot be resolved, or the request cannot be made.
    #[error("not reachable: {0}")]
    System(#[from] io::Error),
    /// The URL is empty or too long.
    #[error("--url: expected a URL such as https://gateway.example")]
    Url,
    /// The request failed.
    #[error("not reachable: {url}: {source}")]
    Unreachable {
        /// The URL.
        url: Uri,
        /// The error.
        source: Box<ClientError>,
    },
    /// The certificate of the gateway is not trusted.
    #[error(
        "not reachable: {url}: {source}; --ca FILE trusts the certificate in a file, --insecure trusts every one"
    )]
    Untrusted {
        /// The URL.
        url: Uri,
        /// The error.
        source: Box<ClientError>,
    },
    /// The file of `--ca` cannot be used.
    #[error("--ca {}: {source}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The response is not 200.
    #[error("not ready: {url} responds {status}{detail}")]
    NotReady {
        /// The URL.
        url: Uri,
        /// The status of the response.
        status: StatusCode,
        /// The reason in the response, after a colon; empty if there is none.
        detail: String,
    },
}

/// Asks the gateway at `url`, or that listens on `address`, or on the address of the configuration,
/// whether it accepts viewers.
///
/// # Errors
/// Fails when it drains, responds otherwise or cannot be reached.
pub fn run(
    address: Option<ListenAddress>,
    config: Option<PathBuf>,
    url: Option<HttpUrl>,
    trust: &Trust,
) -> Result<Ready, HealthError> {
    let client = match trust {
        Trust::System => HttpClient::new(TIMEOUT),
        Trust::Any => HttpClient::trusting_all(TIMEOUT),
        Trust::File(file) => HttpClient::trusting_file(file, TIMEOUT).map_err(|source| {
            let file = file.clone();
            HealthError::Authorities { file, source }
        })?,
    };
    let url = match (url, address) {
        (Some(url), _) => readiness(&url.uri().ok_or(HealthError::Url)?.to_string())?,
        (None, Some(address)) => local(&address)?,
        (None, None) => {
            let cli = Cli {
                config,
                ..Cli::default()
            };
            local(&cli.config()?.http)?
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask(&client, url))
}

/// Returns the URL that says whether the gateway on this machine that listens on `address` is
/// ready. A gateway on all interfaces is reached over loopback.
fn local(address: &ListenAddress) -> Result<Uri, HealthError> {
    let address = address.resolve()?;
    let ip = match address.ip() {
        // The IPv6 listener accepts IPv4 as well, which every system supports.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            Ipv4Addr::LOCALHOST.into()
        }
        ip => ip,
    };
    readiness(&format!("http://{}", SocketAddr::new(ip, address.port())))
}

/// Returns the URL that says whether the gateway at `base` is ready.
fn readiness(base: &str) -> Result<Uri, HealthError> {
    let url = format!("{}/readyz", base.trim_end_matches('/'));
    url.parse().map_err(|_| HealthError::Url)
}

async fn ask(client: &HttpClient, url: Uri) -> Result<Ready, HealthError> {
    let answer = client.get(&url).await;
    match answer {
        Ok((StatusCode::OK, _)) => Ok(Ready { url }),
        Ok((status, body)) => Err(HealthError::NotReady {
            url,
            status,
            detail: detail(&body),
        }),
        Err(error) => {
            let (is_untrusted, source) = (error.is_untrusted(), Box::new(error));
            Err(if is_untrusted {
                HealthError::Untrusted { url, source }
            } else {
                HealthError::Unreachable { url, source }
            })
        }
    }
}

/// Returns the detail of a problem (RFC 9457), after a colon.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = serde_json::from_slice::<Problem>(body);
    problem.map_or_else(
        |_| String::new(),
        |problem| format!(": {}", problem.detail.escape_debug()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

    /// Serves one request of `path` with `answer`, and returns the port.
    fn gateway(path: &'static str, answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            assert_eq!(first, format!("GET {path} HTTP/1.1"));
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream.write_all(answer.as_bytes()).unwrap();
        });
        port
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";

    #[test]
    fn gateway_that_accepts_viewers_is_ready() {
        let port = gateway("/readyz", OK);
        let address = format!("0.0.0.0:{port}").parse().unwrap();
        assert_eq!(
            run(Some(address), None, None, &Trust::System)
                .unwrap()
                .to_string(),
            format!("ready: http://127.0.0.1:{port}/readyz responds 200 OK")
        );
    }

    #[test]
    fn address_is_that_of_the_file() {
        let port = gateway("/readyz", OK);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("http = {port}\n")).unwrap();
        assert!(run(None, Some(file.path().to_owned()), None, &Trust::System).is_ok());
    }

    #[test]
    fn url_can_have_a_path() {
        let port = gateway("/video/readyz", OK);
        let url = format!("http://127.0.0.1:{port}/video/").parse().unwrap();
        assert!(run(None, None, Some(url), &Trust::System).is_ok());
        assert!(matches!(
            run(None, None, Some(HttpUrl::default()), &Trust::System),
            Err(HealthError::Url)
        ));
    }

    #[test]
    fn gateway_that_drains_is_not_ready_with_the_reason() {
        let port = gateway(
            "/readyz",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 29\r\n\r\n{\"detail\": \"Shutting down.\"}\n",
        );
        let error = run(
            Some(format!("127.0.0.1:{port}").parse().unwrap()),
            None,
            None,
            &Trust::System,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "not ready: http://127.0.0.1:{port}/readyz responds 503 Service Unavailable: Shutting down."
            )
        );
    }

    #[test]
    fn absent_gateway_is_not_reachable() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = run(Some(address.into()), None, None, &Trust::System).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "not reachable: http://{address}/readyz: 127.0.0.1 cannot be reached: Connection refused \
                 (os error 111)"
            )
        );
    }

    /// Reads a request, and responds that the gateway is ready.
    async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        stream.write_all(OK.as_bytes()).await?;
        stream.flush().await
    }

    /// Serves readiness over TLS with the usual self-signed certificate: that of an authority. Returns
    /// the port, and a folder with the certificate, `gateway.pem`.
    fn https(connections: usize) -> (u16, tempfile::TempDir) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (file, key_file) = (
            folder.path().join("gateway.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let identity = distributary_tls::TlsIdentity::files(file, key_file);
        let tickets = distributary_tls::Tickets::Sent;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let certificate = distributary_tls::Certificate::new("test", identity, tickets);
                let acceptor = certificate.unwrap().acceptor();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                for _ in 0..connections {
                    let (socket, _) = listener.accept().await.unwrap();
                    // A client that refuses the certificate ends the connection.
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = respond(stream).await;
                    }
                }
            });
        });
        (port, folder)
    }

    #[test]
    fn self_signed_certificate_is_refused_in_words_and_accepted_on_request() {
        let (port, folder) = https(3);
        let file = folder.path().join("gateway.pem");
        let ask = |trust: &Trust| {
            let url = format!("https://127.0.0.1:{port}").parse().unwrap();
            run(None, None, Some(url), trust)
        };
        let error = ask(&Trust::System).unwrap_err().to_string();
        assert!(
            error.contains("certificate") && error.contains("--insecure"),
            "{error}"
        );
        for programmers in ["CaUsedAsEndEntity", "UnknownIssuer", "OtherError"] {
            assert!(!error.contains(programmers), "{error}");
        }
        ask(&Trust::Any).unwrap();
        ask(&Trust::File(file)).unwrap();
        let none = folder.path().join("key.pem");
        let error = ask(&Trust::File(none.clone())).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "--ca {}: there is no certificate in PEM in this file",
                none.display()
            )
        );
    }
}
