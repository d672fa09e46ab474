//! Plain HTTP requests, as bytes on a TCP connection: nothing is added, corrected or redirected.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::TIMEOUT;

/// A response, as it came.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, without chunked encoding.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the value of the header `name` (in lower case), the first if there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// Sends one request on a connection of its own and reads the whole response.
///
/// # Panics
/// When the server cannot be reached or does not speak HTTP.
#[must_use]
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);

    let response = exchange(server, &bytes).expect("the server answers");
    parse(&response).unwrap_or_else(|| panic!("not HTTP: {}", String::from_utf8_lossy(&response)))
}

/// Requests `path` from a server that may be about to end. Returns the status code, if there is
/// one.
#[must_use]
pub fn status(server: SocketAddr, path: &str) -> Option<u16> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let response = exchange(server, head.as_bytes()).ok()?;
    Some(parse(&response)?.status)
}

/// Sends bytes on a new connection, and returns what comes until the server closes it.
fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(server)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.write_all(request)?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response)?;
    Ok(response)
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()?;
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let mut response = Response {
        status,
        headers,
        body: body.to_vec(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = join_chunks(body)?;
    }
    Some(response)
}

/// Decodes chunked encoding (RFC 9112 section 7.1), without trailers.
fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_read_with_its_headers_and_body() {
        let response =
            parse(b"HTTP/1.1 201 Created\r\nLocation: /session/1\r\nETag: \"a:b\"\r\n\r\nv=0\r\n")
                .unwrap();
        assert_eq!(response.status, 201);
        assert_eq!(response.header("location"), Some("/session/1"));
        assert_eq!(response.header("etag"), Some("\"a:b\""));
        assert_eq!(response.text(), "v=0\r\n");
    }

    #[test]
    fn chunked_body_is_joined() {
        let response = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!(response.text(), "abc0123456789");
    }
}
