//! The gateway under test: the real binary, in a process of its own.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use serde_json::Value;

use crate::client::{self, Response};
use crate::process::{Line, Process, Stream};
use crate::wait::eventually;

/// A running gateway. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// The RTMP address.
    pub rtmp: SocketAddr,
    /// The HTTP address of WHEP, the public API and the pages.
    pub http: SocketAddr,
    /// The address of the admin API.
    pub admin: SocketAddr,
    /// The address from which media is sent.
    pub webrtc: SocketAddr,
}

impl Gateway {
    /// Starts a gateway on loopback, on ports that the system chooses.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a gateway on loopback with further arguments.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", arguments)
    }

    /// Starts a gateway on loopback whose configuration file has this text.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_configured(text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.write_all(text.as_bytes())
            .expect("a file can be written");
        let path = file.path().to_str().expect("a path of this system is text");
        // The file has been read when the gateway prints its addresses.
        Self::start_with(&["--config", path])
    }

    /// Starts a gateway with exactly this configuration.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_as_configured(text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.write_all(text.as_bytes())
            .expect("a file can be written");
        let path = file.path().to_str().expect("a path of this system is text");
        Self::start_as(&["--config", path])
    }

    /// Starts a gateway whose three parts all listen on `address`, which has the port 0.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_on(address: &str, arguments: &[&str]) -> Self {
        let mut all = vec!["--rtmp", address, "--http", address, "--webrtc", address];
        all.extend(["--admin", "127.0.0.1:0"]);
        all.extend(arguments);
        Self::start_as(&all)
    }

    /// Starts a gateway on loopback that sends media from this address of the machine.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_media_on(address: IpAddr) -> Self {
        let (loopback, media) = ("127.0.0.1:0", SocketAddr::new(address, 0).to_string());
        Self::start_as(&["--rtmp", loopback, "--http", loopback, "--webrtc", &media])
    }

    /// Starts a gateway with exactly these arguments.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_as(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::of(Process::start("distributary", command))
    }

    /// Returns the gateway that runs as `process`, once it has printed its addresses.
    ///
    /// # Panics
    /// When it does not print them.
    #[must_use]
    pub fn of(process: Process) -> Self {
        let address = |what: &str| {
            process.wait_for_line(&format!("the address of {what}"), |line| {
                address(line, what)
            })
        };
        let (rtmp, http, webrtc) = (address("RTMP "), address("HTTP "), address("WebRTC "));
        let admin = address("Admin ");
        Self {
            process,
            rtmp,
            http,
            admin,
            webrtc,
        }
    }

    /// Returns the RTMPS address.
    ///
    /// # Panics
    /// When RTMPS is off.
    #[must_use]
    pub fn rtmps(&self) -> SocketAddr {
        self.process
            .wait_for_line("the address of RTMPS", |line| address(line, "RTMPS "))
    }

    /// Returns the HTTPS address of WHEP and the pages.
    ///
    /// # Panics
    /// When HTTPS is off.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.process
            .wait_for_line("the address of HTTPS", |line| address(line, "HTTPS "))
    }

    /// Returns the HTTPS address of the admin API.
    ///
    /// # Panics
    /// When that is off.
    #[must_use]
    pub fn admin_https(&self) -> SocketAddr {
        self.process
            .wait_for_line("the address of the admin API over HTTPS", |line| {
                let address = address(line, "Admin ")?;
                line.text.contains("HTTPS").then_some(address)
            })
    }

    /// Returns the URL to publish the stream `name` (`app/stream`) to.
    #[must_use]
    pub fn rtmp_url(&self, name: &str) -> String {
        format!("rtmp://{}/{name}", self.rtmp)
    }

    /// Returns the WHEP endpoint of a stream.
    #[must_use]
    pub fn whep_url(&self, name: &str) -> String {
        format!("http://{}/whep/{name}", self.http)
    }

    /// Returns the player page of a stream.
    #[must_use]
    pub fn page_url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.http)
    }

    /// Sends an HTTP request.
    ///
    /// # Panics
    /// When the gateway does not answer.
    #[must_use]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        client::request(self.http, method, path, headers, body)
    }

    /// Returns the URL of the dashboard.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// Sends a GET request to the admin API, and returns the JSON.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn ask(&self, path: &str) -> Value {
        client::request(self.admin, "GET", path, &[], b"").json()
    }

    /// Returns what the API reports about the stream `name`; `None` while it is not live.
    ///
    /// # Panics
    /// When the gateway does not answer.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<Value> {
        let list = self.ask("/api/streams");
        let streams = list["streams"].as_array().expect("a list of streams");
        streams
            .iter()
            .find(|stream| stream["name"] == name)
            .cloned()
    }

    /// Waits until `name` is live with both tracks.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_live(&self, name: &str) {
        eventually(&format!("{name} is live"), async || {
            let stream = self.stream(name)?;
            (!stream["video"].is_null() && !stream["audio"].is_null()).then_some(())
        })
        .await;
    }

    /// Waits until `name` is live with at least one track.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn wait_watchable(&self, name: &str) {
        eventually(&format!("{name} can be watched"), async || {
            let stream = self.stream(name)?;
            (!stream["video"].is_null() || !stream["audio"].is_null()).then_some(())
        })
        .await;
    }

    /// Waits until standard output contains `text`, and returns all of it.
    ///
    /// # Panics
    /// When it does not print that.
    #[must_use]
    pub fn printed_until(&self, text: &str) -> String {
        self.process
            .wait_for_line(text, |line| line.text.contains(text).then_some(()));
        self.process.printed(Stream::Stdout).join("\n")
    }

    /// Waits until a log line contains `text`.
    ///
    /// # Panics
    /// When it does not.
    pub fn logged_until(&self, text: &str) {
        self.process
            .wait_for_line(text, |line| line.text.contains(text).then_some(()));
    }

    /// Returns the log so far.
    #[must_use]
    pub fn logged(&self) -> Vec<String> {
        self.process.printed(Stream::Stderr)
    }

    /// Sends SIGHUP, which reloads the configuration.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn reload(&self) {
        self.process.signal("HUP");
    }

    /// Sends SIGTERM, as a service manager does.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Sends SIGINT, as Ctrl-C does.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn interrupt(&self) {
        self.process.signal("INT");
    }

    /// Makes a shard panic.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn fail_shard(&self) {
        self.process.signal("USR1");
    }

    /// Kills the gateway, which cannot react.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn kill(&self) {
        self.process.signal("KILL");
    }

    /// Stops the gateway without an end of its connections, as a machine that stands still, until
    /// [`Self::thaw`].
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets the gateway go on after [`Self::freeze`].
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Returns its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the running transcoders.
    #[must_use]
    pub fn encoders(&self) -> Vec<u32> {
        self.process.children()
    }

    /// Waits until the gateway has exited.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }
}

/// The result of a run of the gateway that exits by itself.
#[derive(Debug)]
pub struct Run {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the gateway with exactly these arguments and waits for its exit.
///
/// # Panics
/// When it does not end.
#[must_use]
pub fn run(arguments: &[&str]) -> Run {
    run_in(&BTreeMap::new(), arguments)
}

/// Runs the gateway with these variables and arguments, and waits for its exit.
///
/// # Panics
/// When it does not end.
#[must_use]
pub fn run_in(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Run {
    let mut command = Command::new(binary());
    command.args(arguments).envs(environment);
    let mut process = Process::start("distributary", command);
    let status = process.wait();
    let printed = |stream| process.printed(stream).join("\n");
    Run {
        status,
        stdout: printed(Stream::Stdout),
        stderr: printed(Stream::Stderr),
    }
}

/// Returns a TCP port of loopback that nobody uses, for a gateway that must know its port before it
/// starts.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr();
    address.expect("a bound socket has an address").port()
}

/// Returns the address of this machine in its network.
///
/// # Panics
/// When it has none but loopback.
#[must_use]
pub fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
    // Nothing is sent: the system only chooses the interface. The address is one of documentation
    // (RFC 5737).
    let address = socket
        .connect("203.0.113.1:9")
        .and_then(|()| socket.local_addr());
    address.expect("this machine has a network").ip()
}

/// Parses the address of one listener from the output at startup.
fn address(line: &Line, what: &str) -> Option<SocketAddr> {
    if line.stream != Stream::Stdout {
        return None;
    }
    line.text
        .trim()
        .strip_prefix(what)?
        .split_whitespace()
        .find_map(|word| word.parse().ok())
}

/// Returns the path of the gateway's executable, which cargo builds before it runs the tests of the
/// workspace.
///
/// # Panics
/// When it is missing, or older than its sources: a test of this package alone does not build it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // The test is target/<profile>/deps/<name>.
        let test = env::current_exe().expect("the path of the test is known");
        let folder = test
            .ancestors()
            .nth(2)
            .expect("a test lies in a folder of the target folder");
        let binary = folder.join("distributary");
        if let Err(error) = check_fresh(&binary) {
            panic!("{error}: run `cargo build --workspace --bins --examples`");
        }
        binary
    })
}

/// Checks that the executable exists and is at least as new as its sources: `cargo build` lists
/// them beside the executable. An executable that was built together with the tests, or whose list
/// names files that no longer exist, counts as new.
fn check_fresh(binary: &Path) -> Result<(), String> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let built = modified(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    let notes = fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    let mut sources = sources(&notes).into_iter();
    let newer = sources.find(|source| modified(source).is_ok_and(|modified| modified > built));
    newer.map_or(Ok(()), |source| {
        Err(format!("{} is newer than the gateway", source.display()))
    })
}

/// Returns the prerequisites in a dependency file of cargo, which has the form of a rule of make.
fn sources(notes: &str) -> Vec<PathBuf> {
    let (_, sources) = notes.split_once(": ").unwrap_or_default();
    // A space within a path is escaped.
    let sources = sources.trim_end().replace("\\ ", "\0");
    let paths = sources.split(' ').filter(|path| !path.is_empty());
    paths.map(|path| path.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn prerequisites_are_read_from_a_rule_of_make() {
        let notes = "/build/distributary: /a/main.rs /a\\ b/lib.rs\n";
        let expected = [PathBuf::from("/a/main.rs"), PathBuf::from("/a b/lib.rs")];
        assert_eq!(sources(notes), expected);
    }

    #[test]
    fn executable_older_than_a_source_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let [binary, source] = ["gateway", "main.rs"].map(|name| folder.path().join(name));
        fs::write(&source, "").unwrap();
        fs::write(&binary, "").unwrap();
        let notes = format!("{}: {}\n", binary.display(), source.display());
        fs::write(binary.with_extension("d"), notes).unwrap();
        let built = binary.metadata().unwrap().modified().unwrap();
        let set = |time| {
            fs::File::options()
                .write(true)
                .open(&source)
                .unwrap()
                .set_modified(time)
        };
        set(built - Duration::from_secs(1)).unwrap();
        assert_eq!(check_fresh(&binary), Ok(()));
        set(built + Duration::from_secs(1)).unwrap();
        assert!(check_fresh(&binary).is_err());
        fs::remove_file(&source).unwrap();
        assert_eq!(
            check_fresh(&binary),
            Ok(()),
            "cargo test has built it since"
        );
        fs::remove_file(&binary).unwrap();
        assert!(check_fresh(&binary).is_err());
    }
}
