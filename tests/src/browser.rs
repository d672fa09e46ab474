//! Headless Chromium, driven through chromedriver.
//!
//! The test starts both programs itself and connects the driver to the browser, so that it can end
//! each of them, whatever became of the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fantoccini::elements::{Element, ElementRef};
use fantoccini::wd::{WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::ffmpeg::tool_folder;
use crate::process::Process;
use crate::report::VideoReport;
use crate::wait::{Deadline, TIMEOUT, eventually, pause};

/// One browser at a time: several at once on a small machine starve each other of the CPU.
static BROWSER: Mutex<()> = Mutex::const_new(());

/// Key of an element in the result of a script (WebDriver, "web element identifier").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The script that runs in every page before its own scripts.
const PROBE: &str = include_str!("page/probe.js");

/// A browser with one window. Both programs are killed when this is dropped.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    // In the order in which they end: the driver, the browser, its profile, the turn of this test.
    _driver: Process,
    _chromium: Process,
    _profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser once no other test of this process has one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_with(PROBE).await
    }

    /// Does the same with another script that runs in every page before its own scripts. Without
    /// the usual one, the state of videos is unknown.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(script: &str) -> Self {
        let turn = BROWSER.lock().await;
        let profile = tempfile::tempdir().expect("the temporary folder can be written");
        let chromium = start_chromium(profile.path());
        let debugger = chromium.wait_for_line("its debugging address", |line| {
            let (_, url) = line.text.split_once("DevTools listening on ws://")?;
            url.split('/').next().map(str::to_owned)
        });
        let (driver, port) = start_driver();
        let client = connect(port, &debugger).await;
        let browser = Self {
            client,
            _driver: driver,
            _chromium: chromium,
            _profile: profile,
            _turn: turn,
        };
        browser.run_in_all_pages(script).await;
        browser
    }

    /// Runs a script in every page from now on, before its own scripts.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn run_in_all_pages(&self, script: &str) {
        let inject = DevToolsCommand {
            command: "Page.addScriptToEvaluateOnNewDocument",
            parameters: json!({ "source": script }),
        };
        let added = self.client.issue_cmd(inject).await;
        added.expect("a script can be added to all pages");
    }

    /// Makes the checks of accessibility available in all pages that are opened from now on.
    /// `cargo xtask test` has downloaded them.
    ///
    /// # Panics
    /// When they are missing, or the browser does not take them.
    pub async fn load_axe(&self) {
        let path = tool_folder("npm").join("axe-core/package/axe.min.js");
        let axe = fs::read_to_string(&path);
        let axe = axe.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.run_in_all_pages(&axe).await;
    }

    /// Asserts that axe finds no fault in the open page, called `page` in messages, at this window size
    /// in both color schemes.
    ///
    /// # Panics
    /// When it does, or [`load_axe`](Self::load_axe) was not called.
    pub async fn assert_accessible(&self, page: &str, width: u32, height: u32) {
        for is_dark in [false, true] {
            self.look(width, height, is_dark).await;
            let found: Vec<String> = self
                .evaluate(
                    "axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
                       nodes.map(({ target, failureSummary }) =>
                         `${id} ${target}: ${failureSummary}`)))",
                )
                .await;
            assert!(found.is_empty(), "{page}, dark: {is_dark}: {found:#?}");
        }
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Panics
    /// When it cannot be loaded.
    pub async fn open(&self, url: &str) {
        self.client
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Goes back to the page before this one.
    ///
    /// # Panics
    /// When that fails.
    pub async fn go_back(&self) {
        self.client.back().await.expect("there is a page before");
    }

    /// Evaluates the JavaScript expression `expression`, and waits if it is a promise.
    ///
    /// # Panics
    /// When it throws, or its value is not of the type that is wanted.
    pub async fn evaluate<T: DeserializeOwned>(&self, expression: &str) -> T {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => ({expression}))()
                 .then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"
        );
        let mut answer = self
            .client
            .execute_async(&script, vec![])
            .await
            .expect("a page is open");
        assert!(
            answer["error"].is_null(),
            "{expression}: {}",
            answer["error"]
        );
        let value = answer["value"].take();
        serde_json::from_value(value.clone())
            .unwrap_or_else(|error| panic!("{expression} gave {value}: {error}"))
    }

    /// Returns the state of the video that the CSS `selector` names; `None` if there is none.
    ///
    /// # Panics
    /// When the browser does not answer.
    pub async fn report(&self, selector: &str) -> Option<VideoReport> {
        self.evaluate(&format!("probe.report('{selector}')")).await
    }

    /// Waits until the state of a video satisfies `condition`, and returns it.
    ///
    /// # Panics
    /// When that does not happen; `what` is in the message.
    pub async fn wait_for(
        &self,
        selector: &str,
        what: &str,
        condition: impl Fn(&VideoReport) -> bool,
    ) -> VideoReport {
        let deadline = Deadline::after(TIMEOUT);
        loop {
            let report = self.report(selector).await;
            if let Some(report) = report.clone().filter(&condition) {
                return report;
            }
            assert!(
                deadline.left().is_some(),
                "{selector}: no {what}, but {report:?}"
            );
            pause().await;
        }
    }

    /// Waits until a video of one connection has received all frames of the clip for some seconds,
    /// and not only some of each GOP. Returns its state.
    ///
    /// # Panics
    /// As [`Self::wait_for`].
    pub async fn wait_for_all_frames(&self, selector: &str) -> VideoReport {
        let shows = |report: &VideoReport| report.last_counter().is_some();
        let before = self.wait_for(selector, "a frame", shows).await;
        self.wait_for(selector, "all frames", |report| {
            report.has_all_frames_since(&before)
        })
        .await
    }

    /// Returns the text of the element named by `selector`.
    ///
    /// # Panics
    /// When there is no such element.
    pub async fn text(&self, selector: &str) -> String {
        self.evaluate(&format!("probe.find('{selector}').innerText"))
            .await
    }

    /// Clicks on the element named by `selector`, as a person does, once it is there.
    ///
    /// # Panics
    /// When there is no such element, or something lies over it.
    pub async fn click(&self, selector: &str) {
        let script = format!("return probe.find('{selector}')");
        let look = async || {
            let found = self.client.execute(&script, vec![]).await.ok()?;
            found[ELEMENT].as_str().map(str::to_owned)
        };
        let element: ElementRef = eventually(selector, look).await.into();
        Element::from_element_id(self.client.clone(), element)
            .click()
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Returns the current window.
    ///
    /// # Panics
    /// When there is none.
    pub async fn window(&self) -> WindowHandle {
        self.client.window().await.expect("there is a window")
    }

    /// Opens a page in another window, which becomes the current one.
    ///
    /// # Panics
    /// When it cannot be loaded.
    pub async fn open_window(&self, url: &str) {
        let window = self.client.new_window(true).await;
        let window = window.expect("there is room for a window");
        self.show_window(&window.handle).await;
        self.open(url).await;
    }

    /// Makes another window the current one.
    ///
    /// # Panics
    /// When it is closed.
    pub async fn show_window(&self, window: &WindowHandle) {
        let switched = self.client.switch_to_window(window.clone()).await;
        switched.expect("the window is open");
    }

    /// Resizes the window, and selects the dark or light color scheme.
    ///
    /// # Panics
    /// When the browser does not do so.
    pub async fn look(&self, width: u32, height: u32, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        let features = json!({
            "features": [{ "name": "prefers-color-scheme", "value": scheme }],
        });
        for (command, parameters) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", features),
        ] {
            let command = DevToolsCommand {
                command,
                parameters,
            };
            let done = self.client.issue_cmd(command).await;
            done.unwrap_or_else(|error| panic!("{width}x{height}: {error}"));
        }
    }

    /// Presses a key: a character, `Tab`, `Enter`, `Escape`, `ArrowUp` or `ArrowDown`.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn press(&self, key: &str) {
        let (text, code) = match key {
            "Tab" => ("", 9),
            "Enter" => ("\r", 13),
            "Escape" => ("", 27),
            "ArrowUp" => ("", 38),
            "ArrowDown" => ("", 40),
            " " => (" ", 32),
            character => (character, 0),
        };
        for kind in ["keyDown", "keyUp"] {
            let parameters = json!({
                "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code,
            });
            let command = DevToolsCommand {
                command: "Input.dispatchKeyEvent",
                parameters,
            };
            let done = self.client.issue_cmd(command).await;
            done.unwrap_or_else(|error| panic!("{key}: {error}"));
        }
    }

    /// Taps on a place of the window, in CSS pixels.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn tap(&self, x: u32, y: u32) {
        let touch = json!({ "enabled": true, "maxTouchPoints": 1 });
        let point = json!({ "type": "touchStart", "touchPoints": [{ "x": x, "y": y }] });
        let end = json!({ "type": "touchEnd", "touchPoints": [] });
        for (command, parameters) in [
            ("Emulation.setTouchEmulationEnabled", touch),
            ("Input.dispatchTouchEvent", point),
            ("Input.dispatchTouchEvent", end),
        ] {
            let command = DevToolsCommand {
                command,
                parameters,
            };
            let done = self.client.issue_cmd(command).await;
            done.unwrap_or_else(|error| panic!("tap at {x}, {y}: {error}"));
        }
    }

    /// Saves what the window shows as `test-output/<name>.png`.
    ///
    /// # Panics
    /// When that fails.
    pub async fn screenshot(&self, name: &str) {
        let png = self
            .client
            .screenshot()
            .await
            .expect("the browser draws its window");
        let folder = output_folder();
        fs::create_dir_all(&folder).expect("the folder of screenshots can be made");
        let path = folder.join(format!("{name}.png"));
        fs::write(path, png).expect("a screenshot can be written");
    }
}

/// Returns the folder for output that a person may want to see.
fn output_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-output")
}

/// Starts chromedriver, and returns it with its port. It chooses a free port of IPv6 and then needs
/// the same port of IPv4, which another program may have.
fn start_driver() -> (Process, u16) {
    const ATTEMPTS: u32 = 5;
    for _ in 0..ATTEMPTS {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let driver = Process::start("chromedriver", command);
        let port = driver.find_line(|line| {
            let (_, port) = line.text.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        if let Some(port) = port {
            return (driver, port);
        }
    }
    panic!("chromedriver found no port in {ATTEMPTS} attempts");
}

fn start_chromium(profile: &Path) -> Process {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless=new",
            "--remote-debugging-port=0",
            "--window-size=1000,800",
        ])
        // The tests run as root and in containers, where the sandbox cannot be had.
        .arg("--no-sandbox")
        .args(["--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"])
        // Nothing but the test makes connections.
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--no-first-run", "--no-default-browser-check"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank");
    Process::start("chromium", command)
}

async fn connect(port: u16, debugger: &str) -> Client {
    let capabilities = json!({
        "goog:chromeOptions": { "debuggerAddress": debugger },
        "timeouts": { "script": 120_000 },
    });
    let Value::Object(capabilities) = capabilities else {
        unreachable!("it is written as one")
    };
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("chromedriver connects to the browser")
}

/// A command of the DevTools protocol, as chromedriver passes it on.
#[derive(Debug)]
struct DevToolsCommand {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevToolsCommand {
    fn endpoint(
        &self,
        base_url: &url::Url,
        session_id: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session_id.unwrap_or_default();
        base_url.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _request_url: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}
