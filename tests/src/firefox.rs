//! Headless Firefox, driven through its own remote protocol (Marionette): messages of JSON on a TCP
//! connection, each behind its length and a colon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::{Answer, Page};
use crate::process::Process;
use crate::wait::{TIMEOUT, eventually};

/// Preferences: plays without a click, and connects to nothing but the gateway.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("media.autoplay.default", 0);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
"#;

/// Firefox on a page of another origin than the gateway's. It is killed when this is dropped.
#[derive(Debug)]
pub struct Firefox {
    connection: BufReader<TcpStream>,
    commands: u64,
    _process: Process,
    _profile: TempDir,
}

/// Firefox's audio statistics.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// State of the connection.
    pub state: String,
    /// Packets received.
    pub packets: u64,
    /// Packets lost.
    pub lost: i64,
    /// `totalAudioEnergy` of the decoded audio.
    pub energy: f64,
    /// Messages received on the data channel.
    pub texts: Vec<String>,
}

impl Firefox {
    /// Starts Firefox and opens the page.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("the temporary folder can be written");
        fs::write(profile.path().join("user.js"), PREFERENCES).expect("a file can be written");
        let process = start_process(profile.path());
        let port = process.wait_for_line("the port of its remote protocol", |line| {
            let (_, port) = line.text.split_once("Listening on port ")?;
            port.parse::<u16>().ok()
        });
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("Firefox listens");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("a connection can have a limit");
        let mut firefox = Self {
            connection: BufReader::new(stream),
            commands: 0,
            _process: process,
            _profile: profile,
        };
        let greeting = firefox.receive();
        assert_eq!(greeting["marionetteProtocol"], 3, "{greeting}");
        firefox.command("WebDriver:NewSession", &json!({}));
        let page = Page::serve().url();
        firefox.command("WebDriver:Navigate", &json!({ "url": page }));
        firefox
    }

    /// Begins to watch a WHEP endpoint, with a data channel, and returns the response. `kinds` are
    /// the offered media: `audio`, `video`.
    ///
    /// # Panics
    /// When the endpoint cannot be reached.
    pub fn watch(&mut self, url: &str, kinds: &[&str]) -> Answer {
        let kinds = json!(kinds);
        self.evaluate(&format!(
            "watch('firefox', '{url}', {{ channel: 'events', kinds: {kinds} }})"
        ))
    }

    /// Sends a message on the data channel, once it is open.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn say(&mut self, text: &str) {
        let script = format!("say('firefox', {})", json!(text));
        eventually("the channel is open", async || {
            self.evaluate::<bool>(&script).then_some(())
        })
        .await;
    }

    /// Returns the current audio statistics.
    ///
    /// # Panics
    /// If no viewer is open.
    pub fn heard(&mut self) -> Heard {
        self.evaluate("heard('firefox')")
    }

    /// Evaluates a JavaScript expression in the page, and waits if it is a promise.
    fn evaluate<T: DeserializeOwned>(&mut self, expression: &str) -> T {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => ({expression}))()
                 .then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"
        );
        // Without a sandbox the script sees what the page has defined.
        let parameters = json!({ "script": script, "args": [], "sandbox": null });
        let mut answer = self.command("WebDriver:ExecuteAsyncScript", &parameters);
        let answer = answer["value"].take();
        assert!(answer["error"].is_null(), "{expression}: {answer}");
        serde_json::from_value(answer["value"].clone())
            .unwrap_or_else(|error| panic!("{expression} gave {answer}: {error}"))
    }

    /// Sends a command and waits for its result.
    fn command(&mut self, name: &str, parameters: &Value) -> Value {
        self.commands += 1;
        let message = json!([0, self.commands, name, parameters]).to_string();
        write!(self.connection.get_mut(), "{}:{message}", message.len())
            .expect("Firefox takes commands");
        let mut answer = self.receive();
        assert_eq!(answer[1], self.commands, "{answer}");
        assert!(answer[2].is_null(), "{name}: {}", answer[2]);
        answer[3].take()
    }

    fn receive(&mut self) -> Value {
        let mut length = Vec::new();
        self.connection
            .read_until(b':', &mut length)
            .expect("Firefox answers");
        length.pop();
        let length = String::from_utf8_lossy(&length);
        let length = length.parse().expect("a message begins with its length");
        let mut message = vec![0; length];
        self.connection
            .read_exact(&mut message)
            .expect("a message is whole");
        serde_json::from_slice(&message).expect("a message is JSON")
    }
}

fn start_process(profile: &Path) -> Process {
    let mut command = Command::new("firefox-esr");
    command
        .args(["--headless", "--no-remote", "--marionette", "--profile"])
        .arg(profile)
        // It also writes there, and refuses to if the folder belongs to another user.
        .env("HOME", profile);
    Process::start("firefox", command)
}
