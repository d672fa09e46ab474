//! HTTP/1.1 over one connection, written by hand, so that attacks control every byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::context::Context;
use super::error::AttackError;

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Longest response that is read, in bytes.
const MAX_RESPONSE: usize = 256 << 10;

/// A connection on which one request follows the other, and another one when the gateway closes it.
pub(super) struct HttpPeer {
    stream: TcpStream,
    host: SocketAddr,
    source: usize,
    is_closing: bool,
    received: Vec<u8>,
}

/// A response with its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl HttpPeer {
    pub(super) async fn connect(context: &Context, source: usize) -> Result<Self, AttackError> {
        let host = context.target().http;
        Ok(Self {
            stream: context.connect(host, source).await?,
            host,
            source,
            is_closing: false,
            received: Vec::new(),
        })
    }

    /// Sends a request and reads the response. `headers` are lines that end with CR LF.
    pub(super) async fn request(
        &mut self,
        context: &Context,
        line: &str,
        headers: &str,
        body: &str,
    ) -> Result<Response, AttackError> {
        if self.is_closing {
            *self = Self::connect(context, self.source).await?;
        }
        let request = request(self.host, line, headers, body);
        context.spend(request.len()).await;
        self.stream.write_all(request.as_bytes()).await?;
        let response = timeout(TIMEOUT, self.response(context)).await;
        let response = response.map_err(|_| AttackError::Timeout("HTTP response", TIMEOUT))??;
        let connection = response.header("connection");
        self.is_closing = connection.is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(response)
    }

    async fn response(&mut self, context: &Context) -> Result<Response, AttackError> {
        loop {
            if let Some((response, len)) = parse(&self.received) {
                self.received.drain(..len);
                return Ok(response);
            }
            if self.received.len() > MAX_RESPONSE {
                return Err(AttackError::Http("it does not end"));
            }
            match self.stream.read_buf(&mut self.received).await? {
                0 => return Err(AttackError::Http("the connection was closed")),
                len => context.received(len),
            }
        }
    }
}

impl Response {
    /// Returns the value of a header field.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the response, if its status is one of success.
    pub(super) fn success(self) -> Result<Self, AttackError> {
        match self.status {
            200..=299 => Ok(self),
            status => Err(AttackError::Status(status)),
        }
    }
}

/// Returns a request with the first line `<line> HTTP/1.1`.
pub(super) fn request(host: SocketAddr, line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Returns the response at the front of `bytes`, and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let mut response = Response {
        status,
        head,
        body: String::new(),
    };
    let length = response.header("content-length");
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = bytes.get(end..)?.get(..length)?;
    response.body = String::from_utf8_lossy(body).into_owned();
    Some((response, end + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_parsed_once_it_is_complete() {
        let bytes =
            b"HTTP/1.1 201 Created\r\nLocation: /session/a\r\nContent-Length: 3\r\n\r\nabcHTTP";
        let (response, len) = parse(bytes).unwrap();
        assert_eq!(len, bytes.len() - 4);
        assert_eq!(response.status, 201);
        assert_eq!(response.header("location"), Some("/session/a"));
        assert_eq!(response.body, "abc");
        assert_eq!(parse(&bytes[..len - 1]), None);
        assert_eq!(parse(b"HTTP/1.1 201 Created\r\n"), None);
    }
}
