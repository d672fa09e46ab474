//! Real NATS servers for tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Limit for the start of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// A NATS server with the settings that ship with the gateway. It is killed when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut server = Self {
            process: spawn(folder.path(), None),
            port: 0,
            folder,
        };
        server.port = server.await_port();
        server
    }

    /// Starts it again, on the same port and with the same data, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process = spawn(self.folder.path(), Some(self.port));
        self.await_port();
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops the server without an end of its connections, as a machine that stands still, until
    /// [`Self::thaw`].
    ///
    /// # Panics
    /// When the system refuses.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the server go on after [`Self::freeze`].
    ///
    /// # Panics
    /// When the system refuses.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.process);
        kill_process(process, signal).expect("the process is a child of this one");
    }

    /// Returns the URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the port that the server has chosen, from the file in which it says that.
    fn await_port(&mut self) -> u16 {
        let file = format!("nats-server_{}.ports", self.process.id());
        let file = self.folder.path().join(file);
        const PAUSE: Duration = Duration::from_millis(10);
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if let Some(port) = std::fs::read_to_string(&file)
                .ok()
                .and_then(|ports| port_of(&ports))
            {
                return port;
            }
            assert!(
                matches!(self.process.try_wait(), Ok(None)),
                "the NATS server has ended"
            );
            std::thread::sleep(PAUSE);
        }
        panic!("the NATS server does not listen");
    }
}

/// Three NATS servers as one, with the settings that ship with the gateway. They are killed when this
/// is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts the servers. They do not know each other yet.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start() -> Self {
        let folders = [1, 2, 3].map(|_| tempfile::tempdir().expect("a folder can be made"));
        let started = folders.into_iter().zip(1..).map(|(folder, number)| {
            let config = folder.path().join("nats.conf");
            write(
                &folder.path().join("distributary.conf"),
                &settings(folder.path(), None),
            );
            write(&config, &cluster_settings(number));
            NatsServer {
                process: run(folder.path(), &config, &format!("nats{number}")),
                port: 0,
                folder,
            }
        });
        // All of them run before the first is asked for its port.
        let mut servers: Vec<_> = started.collect();
        for server in &mut servers {
            server.port = server.await_port();
        }
        Self { servers }
    }

    /// Returns the URLs for clients.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &Path, port: Option<u16>) -> Child {
    let config = folder.join("nats.conf");
    write(&config, &settings(folder, port));
    run(folder, &config, "nats")
}

fn run(folder: &Path, config: &Path, name: &str) -> Child {
    let program = root().join("target/tools/nats/bin/nats-server");
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` installs it",
        program.display()
    );
    Command::new(program)
        .arg("-c")
        .arg(config)
        .arg("--ports_file_dir")
        .arg(folder)
        .env("NATS_NAME", name)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the NATS server can be run")
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file can be written");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the settings that ship with the gateway, with ports and a folder for this test.
fn settings(folder: &Path, port: Option<u16>) -> String {
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    shipped(
        "distributary.conf",
        &[
            ("0.0.0.0:4222", format!("127.0.0.1:{port}")),
            ("http: \"127.0.0.1:8222\"", String::new()),
            ("/var/lib/nats", folder.display().to_string()),
        ],
    )
}

/// Returns the settings of one of three servers that ship with the gateway, with addresses for this
/// test.
fn cluster_settings(number: u16) -> String {
    // Each server has to know the ports of the others before they run. This process has an address
    // of its own for them.
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let address = |number: u16| format!("127.{b}.{c}.{d}:{}", 6221 + number);
    shipped(
        "cluster.conf",
        &[
            ("0.0.0.0:6222", address(number)),
            ("nats1:6222", address(1)),
            ("nats2:6222", address(2)),
            ("nats3:6222", address(3)),
        ],
    )
}

/// Returns a file of `config/nats`, changed.
fn shipped(file: &str, changes: &[(&str, String)]) -> String {
    let text = std::fs::read_to_string(root().join("config/nats").join(file));
    let mut text = text.expect("the file is part of the project");
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// Returns the port of the clients in `{"nats":["nats://127.0.0.1:4222"],...}`.
fn port_of(ports: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(ports).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.rsplit_once(':')?.1.parse().ok()
}
