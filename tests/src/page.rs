//! Pages of another origin than the gateway's, which watch streams by WHEP.
//!
//! They stand for other sites with a player: their requests to the gateway are cross-origin ones.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde::Deserialize;

use crate::browser::Browser;
use crate::ffmpeg::tools_folder;
use crate::wait::eventually;

/// The page that watches.
const WATCH: &str = include_str!("page/watch.html");

/// The page that watches with public players.
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

    /// Serves the page that watches with public players, and these players, which `cargo xtask
    /// test` has downloaded.
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
                // A browser that closes the connection early needs no response.
                let _ = answer(connection, &text);
            }
        });
        Self { address }
    }

    /// Returns the URL of the page.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://{}/", self.address)
    }
}

/// A browser with the page, in which viewers come and go. The name of a viewer is the id of its
/// video.
#[derive(Debug)]
pub struct WatchPage {
    /// The browser.
    pub browser: Browser,
}

/// The response to a WHEP POST, as far as a page of another origin can read it.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// The URL of the session, from `Location`.
    pub session: Option<String>,
    /// The body: the SDP answer, or the problem document.
    pub body: String,
}

/// The network path of a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NetworkPath {
    /// `udp` or `tcp`; empty before there is a connection.
    pub protocol: String,
    /// The viewer's user name fragment on the selected candidate pair.
    pub ufrag: String,
}

/// A frame that was shown: its number, if it could be read, its RTP time, and its height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Shown(pub Option<u32>, pub Option<u32>, pub u32);

/// The browser's measurements of path and clocks. Times are in milliseconds, those of the gateway
/// since 1900, others since 1970.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Clocks {
    /// The browser's time.
    pub now: f64,
    /// Frames decoded.
    pub frames_decoded: u64,
    /// Capture time of the shown frame, from the gateway's sender reports.
    pub estimated_playout_timestamp: Option<f64>,
    /// Capture time of the newest frame, from its packets.
    pub capture_timestamp: Option<f64>,
    /// Offset of the gateway's clock from the capture clock.
    pub sender_capture_time_offset: Option<f64>,
    /// Number of round trip measurements.
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
        // A page may play with audio after a click.
        browser.click("body").await;
        Self { browser }
    }

    /// Makes the viewer `name` watch a WHEP endpoint.
    ///
    /// # Panics
    /// When the endpoint cannot be reached, or its answer is none to the browser.
    pub async fn watch(&self, name: &str, url: &str) -> Answer {
        self.browser
            .evaluate(&format!("watch('{name}', '{url}')"))
            .await
    }

    /// Does the same without UDP candidates, as in a network that blocks UDP.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_over_tcp(&self, name: &str, url: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ onlyTcp: true }})");
        self.browser.evaluate(&script).await
    }

    /// Does the same with a data channel of this name.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_with_channel(&self, name: &str, url: &str, channel: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ channel: '{channel}' }})");
        self.browser.evaluate(&script).await
    }

    /// Does the same for a player that requests capture times.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_with_capture_times(&self, name: &str, url: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ captureTime: true }})");
        self.browser.evaluate(&script).await
    }

    /// Does the same for a player that notes the frames that arrive.
    ///
    /// # Panics
    /// As [`WatchPage::watch`].
    pub async fn watch_and_note_frames(&self, name: &str, url: &str) -> Answer {
        let script = format!("watch('{name}', '{url}', {{ frames: true }})");
        self.browser.evaluate(&script).await
    }

    /// Returns the RTP times of the frames of `kind` (`audio` or `video`) that have arrived at the
    /// viewer `name`, whether they were shown or not.
    ///
    /// # Panics
    /// When the viewer does not note them.
    pub async fn arrived(&self, name: &str, kind: &str) -> Vec<u32> {
        let script = format!("arrived('{name}', '{kind}')");
        self.browser.evaluate(&script).await
    }

    /// Returns the frames that the viewer `name` has shown.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn shown(&self, name: &str) -> Vec<Shown> {
        self.browser
            .evaluate(&format!("probe.frames('#{name}')"))
            .await
    }

    /// Selects a rendition for the viewer `name`: the JSON object of the request. Returns its status.
    ///
    /// # Panics
    /// When the session cannot be reached.
    pub async fn select(&self, name: &str, selection: &str) -> u16 {
        self.browser
            .evaluate(&format!("select('{name}', {selection})"))
            .await
    }

    /// Waits until the measurements of the viewer `name` satisfy `condition`, and returns them.
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

    /// Returns the times from the flashes to the beeps of the viewer `name` since the first call,
    /// in milliseconds.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn flashes_to_beeps(&self, name: &str) -> Vec<f64> {
        self.browser
            .evaluate(&format!("flashesToBeeps('{name}')"))
            .await
    }

    /// Returns the frequency in Hz of the tone that the viewer `name` plays.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn pitch(&self, name: &str) -> f64 {
        self.browser.evaluate(&format!("pitch('{name}')")).await
    }

    /// Restarts ICE for the viewer `name`. Returns the status of the PATCH.
    ///
    /// # Panics
    /// When the session cannot be reached, or the browser does not take its answer.
    pub async fn restart_ice(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("restart('{name}')")).await
    }

    /// Returns the messages that the viewer `name` received on its data channel.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn texts(&self, name: &str) -> Vec<String> {
        self.browser.evaluate(&format!("texts('{name}')")).await
    }

    /// Sends a message on the data channel of the viewer `name`.
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

    /// Returns the network path of the viewer `name`.
    ///
    /// # Panics
    /// When there is no such viewer.
    pub async fn path(&self, name: &str) -> NetworkPath {
        self.browser.evaluate(&format!("path('{name}')")).await
    }

    /// Makes the viewer `name` listen to the events of its session. Returns the status of the
    /// request.
    ///
    /// # Panics
    /// When the answer to its offer named none.
    pub async fn listen(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("listen('{name}')")).await
    }

    /// Waits until the viewer `name` has received an event.
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

    /// Ends the session of the viewer `name` by DELETE. Returns the status.
    ///
    /// # Panics
    /// When the session cannot be reached.
    pub async fn leave(&self, name: &str) -> u16 {
        self.browser.evaluate(&format!("leave('{name}')")).await
    }
}

/// Responds with the script of a player, or else with the page.
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
