//! `GET /healthz` once a second, each on a connection of its own, as an orchestrator does.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it measures how long answers take"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From one request to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Timeout of a response: orchestrators wait for a second or a few.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Results of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// The longest time to an answer.
    pub(super) longest: Duration,
    pub(super) failures: u32,
}

/// A thread that sends requests until it is stopped.
pub(super) struct Asker {
    stop: Sender<()>,
    thread: JoinHandle<Health>,
}

impl Asker {
    pub(super) fn start(address: String) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let mut health = Health::default();
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let begin = Instant::now();
                match ask(&address) {
                    Ok(()) => health.longest = health.longest.max(begin.elapsed()),
                    Err(_) => health.failures += 1,
                }
            }
            health
        });
        Self { stop, thread }
    }

    /// Stops, and returns the results.
    pub(super) fn stop(self) -> Health {
        // It fails only when the thread has panicked.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn ask(address: &str) -> io::Result<()> {
    let socket: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut connection = TcpStream::connect_timeout(&socket, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut status = [0; 12];
    connection.read_exact(&mut status)?;
    match &status {
        b"HTTP/1.1 200" => Ok(()),
        _ => Err(io::Error::other("another status")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_status_of_200_is_healthy() {
        let answered = |answer: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 4];
                connection.read_exact(&mut request).unwrap();
                connection.write_all(answer).unwrap();
            });
            let healthy = ask(&address).is_ok();
            server.join().unwrap();
            healthy
        };
        assert!(answered(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        assert!(!answered(b"HTTP"));
    }
}
