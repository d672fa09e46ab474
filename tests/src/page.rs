//! A page of another origin than the gateway's, which watches streams by WHEP.
//!
//! It is what somebody else's site with a player would be: the requests it makes to the gateway
//! are cross-origin ones.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The page that watches.
const WATCH: &str = include_str!("page/watch.html");

/// A page on a port of its own, for as long as the test process lives.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    address: SocketAddr,
}

impl Page {
    /// Serves the page.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // A browser that leaves in the middle concerns nobody.
                let _ = answer(connection);
            }
        });
        Self { address }
    }

    /// Where the page is.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://{}/", self.address)
    }
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{WATCH}",
        WATCH.len()
    )
}
