//! Pages of another origin than the gateway's, which watch streams by WHEP.
//!
//! They are what somebody else's site with a player would be: the requests they make to the gateway
//! are cross-origin ones.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde::Deserialize;

use crate::browser::Browser;
use crate::ffmpeg::tools_folder;
use crate::wait::eventually;

/// The page that watches.
const WATCH: &str = include_str!("page/watch.html");

/// The page that watches with players of others.
const PUBLIC_PLAYERS: &str = include_str!("page/public_players.html");

/// A page on a port of its own, for as long as the test process lives.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    address: SocketAddr,
}

impl Page {
    /// Serves the page that watches.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn serve() -> Self {
        Self::serve_text(WATCH)
    }

    /// Serves the page that watches with players of others, and these players, which `cargo xtask test`
    /// has fetched.
    ///
    /// # Panics
    /// As [`Page::serve`].
    #[must_use]
    pub fn serve_public_players() -> Self {
        Self::serve_text(PUBLIC_PLAYERS)
    }

    /// Serves another page.
    ///
    /// # Panics
    /// As [`Page::serve`].
    #[must_use]
    pub fn serve_text(text: &str) -> Self {
        let text = text.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // A browser that leaves in the middle concerns nobody.
                let _ = answer(connection, &text);
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

/// A browser with the page, in which viewers come and go. Each has a name of its own, which is the id
/// of its video.
#[derive(Debug)]
pub struct WatchPage {
    /// The browser.
    pub browser: Browser,
}

/// The answer to a WHEP POST, as far as a page of another origin may see it.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// The URL of the session, from `Location`.
    pub session: Option<String>,
    /// The body: the SDP answer, or the problem.
    pub body: String,
}

/// How a viewer is connected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NetworkPath {
    /// `udp` or `tcp`; empty before there is a connection.
    pub protocol: String,
    /// The viewer's user name fragment on the pair that is used.
    pub ufrag: String,
}

/// What the browser knows of the path to the gateway and of the clocks. Times are in milliseconds, those
/// of the gateway since 1900, others since 1970.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Clocks {
    /// The browser's own time.
    pub now: f64,
    /// Pictures decoded.
    pub frames_decoded: u64,
    /// Times that the picture stood still.
    pub freeze_count: u64,
    /// When the picture that is shown was captured, by the gateway's sender reports.
    pub estimated_playout_timestamp: Option<f64>,
    /// When the newest picture was captured, by the packets themselves.
    pub capture_timestamp: Option<f64>,
    /// How far the gateway's clock is from that of the capture.
    pub sender_capture_time_offset: Option<f64>,
    /// How often the browser could measure the round trip.
    pub round_trip_measurements: u64,
}

impl WatchPage {
    /// Opens the page in a browser.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open() -> Self {
        let browser = Browser::start().await;
        browser.open(&Page::serve().url()).await;
        // A page may play with sound once somebody has clicked on it.
        browser.click("body").await;
        Self { browser }
    }

    /// Makes the viewer `name` watch what is behind a WHEP endpoint.
    ///
    /// # Panics
    /// When the endpoint cannot be reached, or its answer is none to the browser.
    pub async fn watch(&self, name: &str, url: &str) -> Answer {
        self.browser
            .evaluate(&format!("watch('{name}', '{url}')"))
            .await
    }

    /// The same as if the viewer's network let no UDP through.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_over_tcp(&self, name: &str, url: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ onlyTcp: true }})");
        self.browser.evaluate(&script).await
    }

    /// The same with a data channel of this name.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_with_channel(&self, name: &str, url: &str, channel: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ channel: '{channel}' }})");
        self.browser.evaluate(&script).await
    }

    /// The same for a player that asks to be told when pictures were captured.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_with_capture_times(&self, name: &str, url: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ captureTime: true }})");
        self.browser.evaluate(&script).await
    }

    /// Waits until what the browser knows of the path and the clocks of the viewer `name` satisfies
    /// `condition`, and gives it.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_for_clocks(&self, name: &str, condition: impl Fn(&Clocks) -> bool) -> Clocks {
        let look = async || {
            let clocks: Clocks = self.browser.evaluate(&format!("clocks('{name}')")).await;
            condition(&clocks).then_some(clocks)
        };
        eventually("the clocks of the viewer", look).await
    }

    /// The times from the flashes of the picture to the beeps of the sound of the viewer `name` since
    /// this was asked first, in milliseconds.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn flashes_to_beeps(&self, name: &str) -> Vec<f64> {
        self.browser
            .evaluate(&format!("flashesToBeeps('{name}')"))
            .await
    }

    /// Restarts ICE for the viewer `name` and gives the status of the PATCH.
    ///
    /// # Panics
    /// When the session cannot be reached, or the browser does not take its answer.
    pub async fn restart_ice(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("restart('{name}')")).await
    }

    /// What the viewer `name` heard on its data channel so far.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn texts(&self, name: &str) -> Vec<String> {
        self.browser.evaluate(&format!("texts('{name}')")).await
    }

    /// Says something on the data channel of the viewer `name`.
    ///
    /// # Panics
    /// When the channel is not open.
    pub async fn say(&self, name: &str, text: &str) {
        let said: bool = self
            .browser
            .evaluate(&format!("say('{name}', '{text}')"))
            .await;
        assert!(said);
    }

    /// How the datagrams of the viewer `name` travel.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn path(&self, name: &str) -> NetworkPath {
        self.browser.evaluate(&format!("path('{name}')")).await
    }

    /// Makes the viewer `name` listen to the events of its session, and gives the status of the request.
    ///
    /// # Panics
    /// When the answer to its offer named none.
    pub async fn listen(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("listen('{name}')")).await
    }

    /// Waits until the viewer `name` was told an event.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_for_event(&self, name: &str, event: &str) {
        let look = async || {
            let events: Vec<String> = self.browser.evaluate(&format!("events('{name}')")).await;
            events.iter().any(|told| told == event).then_some(())
        };
        eventually(event, look).await;
    }

    /// Ends the session of the viewer `name` by DELETE and gives the status.
    ///
    /// # Panics
    /// When the session cannot be reached.
    pub async fn leave(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("leave('{name}')")).await
    }
}

/// Answers with a script of a player, or else with the page.
fn answer(mut connection: TcpStream, text: &str) -> std::io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?);
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut line = first.clone();
    while line.len() > 2 {
        line.clear();
        request.read_line(&mut line)?;
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (media_type, body) = match path.rsplit_once('.') {
        Some((_, "js" | "cjs")) => {
            let script = tools_folder()
                .join("npm")
                .join(path.trim_start_matches('/'));
            ("text/javascript", std::fs::read_to_string(script)?)
        }
        _ => ("text/html", text.to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
