//! `distributary health`: checks a running gateway, for containers that have no other program for
//! it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use distributary_net::ListenAddress;

/// Timeout of each step of the check.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum bytes of the response that are read: only its first line matters.
const MAX_RESPONSE: u64 = 4096;

/// The gateway is not healthy, or not reachable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// The request failed.
    #[error("the gateway at {address} cannot be reached: {source}")]
    Unreachable {
        /// The address.
        address: ListenAddress,
        /// The error of the system.
        source: io::Error,
    },
    /// The response is not 200.
    #[error("the gateway at {address} responds {status:?}")]
    Unwell {
        /// The address.
        address: ListenAddress,
        /// The first line of the response.
        status: String,
    },
}

/// Requests `/healthz` from the gateway that listens on `address` for HTTP. A gateway on all
/// interfaces is reached over loopback.
///
/// # Errors
/// Fails when the response is not 200.
pub fn health(address: &ListenAddress) -> Result<(), HealthError> {
    let answer = ask(address).map_err(|source| HealthError::Unreachable {
        address: address.clone(),
        source,
    })?;
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(HealthError::Unwell {
        address: address.clone(),
        status: status.to_owned(),
    })
}

fn ask(address: &ListenAddress) -> io::Result<String> {
    let to = reachable(address.resolve()?);
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /healthz HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Returns the address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        // The IPv6 listener accepts IPv4 as well, which every system supports.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// Serves one request with `answer`, and returns the address.
    fn gateway(answer: &'static str) -> ListenAddress {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            assert_eq!(lines.next().unwrap().unwrap(), "GET /healthz HTTP/1.1");
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("0.0.0.0:{port}").parse().unwrap()
    }

    #[test]
    fn healthy_gateway_passes() {
        health(&gateway("HTTP/1.1 200 OK\r\n\r\nok\n")).unwrap();
    }

    #[test]
    fn other_responses_and_no_response_are_errors() {
        let error = health(&gateway("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = ListenAddress::from(free.local_addr().unwrap());
        drop(free);
        let error = health(&address).unwrap_err();
        assert!(error.to_string().contains("cannot be reached"), "{error}");
    }
}
