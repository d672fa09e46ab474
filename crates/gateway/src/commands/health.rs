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
) -> Result<Ready, HealthError> {
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
    runtime.block_on(ask(url))
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

async fn ask(url: Uri) -> Result<Ready, HealthError> {
    let answer = HttpClient::new(TIMEOUT).get(&url).await;
    match answer {
        Ok((StatusCode::OK, _)) => Ok(Ready { url }),
        Ok((status, body)) => Err(HealthError::NotReady {
            url,
            status,
            detail: detail(&body),
        }),
        Err(error) => Err(HealthError::Unreachable {
            url,
            source: Box::new(error),
        }),
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
            run(Some(address), None, None).unwrap().to_string(),
            format!("ready: http://127.0.0.1:{port}/readyz responds 200 OK")
        );
    }

    #[test]
    fn address_is_that_of_the_file() {
        let port = gateway("/readyz", OK);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("http = {port}\n")).unwrap();
        assert!(run(None, Some(file.path().to_owned()), None).is_ok());
    }

    #[test]
    fn url_can_have_a_path() {
        let port = gateway("/video/readyz", OK);
        let url = format!("http://127.0.0.1:{port}/video/").parse().unwrap();
        assert!(run(None, None, Some(url)).is_ok());
        assert!(matches!(
            run(None, None, Some(HttpUrl::default())),
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
        let error = run(Some(address.into()), None, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "not reachable: http://{address}/readyz: 127.0.0.1 cannot be reached: Connection refused \
                 (os error 111)"
            )
        );
    }
}
