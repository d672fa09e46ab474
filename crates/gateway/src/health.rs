//! `distributary health`: asks a running gateway whether it is well, for a container that has no other
//! program to ask with.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use distributary_net::ListenAddress;

/// How long the gateway may take for each step of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read: the rest would say nothing else.
const MAX_ANSWER: u64 = 4096;

/// The gateway is not well, or not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// It cannot be asked.
    #[error("the gateway at {address} cannot be asked: {source}")]
    Unreachable {
        /// Where it was asked.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// It answers something else.
    #[error("the gateway at {address} answers {status:?}")]
    Unwell {
        /// Where it was asked.
        address: ListenAddress,
        /// The first line of its answer.
        status: String,
    },
}

/// Asks the gateway that listens on `address` for HTTP for `/healthz`. A gateway on every interface is
/// asked over loopback.
///
/// # Errors
/// When it does not answer with 200.
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
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /healthz HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The address at which a listener can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        // It takes IPv4 as well, which every system has.
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

    /// Answers one request, and gives the address to ask at.
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
    fn a_gateway_that_answers_is_well() {
        health(&gateway("HTTP/1.1 200 OK\r\n\r\nok\n")).unwrap();
    }

    #[test]
    fn any_other_answer_and_none_are_told() {
        let error = health(&gateway("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = ListenAddress::from(free.local_addr().unwrap());
        drop(free);
        let error = health(&address).unwrap_err();
        assert!(error.to_string().contains("cannot be asked"), "{error}");
    }
}
