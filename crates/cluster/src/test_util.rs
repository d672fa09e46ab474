//! A real NATS server for tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &Path, port: Option<u16>) -> Child {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join("target/tools/nats/bin/nats-server");
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` installs it",
        program.display()
    );
    let config = folder.join("nats.conf");
    let settings = settings(&root, folder, port);
    std::fs::write(&config, settings).expect("a file can be written");
    Command::new(program)
        .arg("-c")
        .arg(config)
        .arg("--ports_file_dir")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the NATS server can be run")
}

/// Returns the settings that ship with the gateway, with ports and a folder for this test.
fn settings(root: &Path, folder: &Path, port: Option<u16>) -> String {
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let shipped = std::fs::read_to_string(root.join("config/nats/distributary.conf"));
    let mut settings = shipped.expect("the file is part of the project");
    for (from, to) in [
        ("0.0.0.0:4222", format!("127.0.0.1:{port}")),
        ("http: \"127.0.0.1:8222\"", String::new()),
        ("/var/lib/nats", folder.display().to_string()),
    ] {
        assert!(settings.contains(from), "{from}");
        settings = settings.replace(from, &to);
    }
    settings
}

/// Returns the port of the clients in `{"nats":["nats://127.0.0.1:4222"],...}`.
fn port_of(ports: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(ports).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.rsplit_once(':')?.1.parse().ok()
}
