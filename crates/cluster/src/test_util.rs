//! Real NATS servers for tests.

mod authority;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use self::authority::{Authority, Issued};

/// Limit for the start of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// The name of the file with the log of a server.
const LOG: &str = "nats.log";

/// A NATS server with the settings that ship with the gateway. It is killed when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    address: IpAddr,
    port: u16,
    folder: TempDir,
    /// Words of a command before the program, to run it elsewhere.
    prefix: Vec<String>,
    /// Its name, and its further settings, if it has some.
    member: Option<Member>,
}

/// A server with more than the settings of `distributary.conf`.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    /// The text of the file with which it starts, which includes `distributary.conf`.
    settings: String,
    /// Further files with their texts.
    files: Vec<(PathBuf, String)>,
}

/// A place for a server of a cluster, such as another network namespace.
#[derive(Clone, Debug)]
pub struct NatsPlace {
    /// Address of the server there, for clients and for the other servers.
    pub address: IpAddr,
    /// Words of a command before the program, to run it there.
    pub prefix: Vec<String>,
}

impl NatsServer {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self::spawn(Ipv4Addr::LOCALHOST.into(), 0, Vec::new(), None);
        server.await_port();
        server
    }

    /// Starts a server with the rights and the certificates that `secure.conf` asks for. The gateways are
    /// those that the file names.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_secured(authority: &Authority) -> Self {
        let address = Ipv4Addr::LOCALHOST;
        let server = authority.issue(&address.to_string());
        let path = |file: &Path| file.display().to_string();
        let settings = shipped(
            "secure.conf",
            &[
                ("/etc/nats/server.pem", path(&server.certificate)),
                ("/etc/nats/server-key.pem", path(&server.key)),
                ("/etc/nats/ca.pem", path(&authority.certificate())),
            ],
        );
        let nodes = settings.match_indices("{ include \"./nodes/");
        let files = nodes.map(|(at, start)| {
            let name = &settings[at + start.len()..];
            let name = name.split('.').next().unwrap_or_default();
            let file = Path::new("nodes").join(name).with_extension("conf");
            (file, shipped("node.conf", &[("NODE", name.to_owned())]))
        });
        let member = Member {
            name: "nats".to_owned(),
            files: files.collect(),
            settings,
        };
        let mut server = Self::spawn(address.into(), 0, Vec::new(), Some(member));
        server.await_port();
        server
    }

    /// Starts it again, on the same port and with the same data, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process = self.run();
        self.await_port();
    }

    /// Withdraws the rights of the gateways whose line has one of these texts, from the next start on.
    pub fn withdraw(&mut self, rights: &[&str]) {
        let files = self.member.iter_mut().flat_map(|member| &mut member.files);
        for (_, text) in files {
            let left = text
                .lines()
                .filter(|line| !rights.iter().any(|right| line.contains(right)));
            *text = left.collect::<Vec<_>>().join("\n");
        }
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
        format!("nats://{}:{}", self.address, self.port)
    }

    /// Returns what it has logged.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).expect("it writes a log")
    }

    /// Returns its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Starts a server without waiting for it. With port 0 it chooses one.
    fn spawn(address: IpAddr, port: u16, prefix: Vec<String>, member: Option<Member>) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let process = run(folder.path(), address, port, &prefix, member.as_ref());
        Self {
            process,
            address,
            port,
            folder,
            prefix,
            member,
        }
    }

    fn run(&self) -> Child {
        let (folder, member) = (self.folder.path(), self.member.as_ref());
        run(folder, self.address, self.port, &self.prefix, member)
    }

    /// Waits until the server listens, and takes the port from the file in which it says that.
    fn await_port(&mut self) {
        let file = format!("nats-server_{}.ports", self.process.id());
        let file = self.folder.path().join(file);
        const PAUSE: Duration = Duration::from_millis(10);
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if let Some(port) = std::fs::read_to_string(&file)
                .ok()
                .and_then(|ports| port_of(&ports))
            {
                self.port = port;
                return;
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
        // Each server has to know the ports of the others before they run. This process has an address
        // of its own for them, and each cluster of it has ports of its own.
        static CLUSTERS: AtomicU16 = AtomicU16::new(0);
        let [_, b, c, d] = std::process::id().to_be_bytes();
        let first = 6221 + 3 * CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let route = |number: u16| format!("127.{b}.{c}.{d}:{}", first + number);
        let place = NatsPlace {
            address: Ipv4Addr::LOCALHOST.into(),
            prefix: Vec::new(),
        };
        Self::start_with([1, 2, 3].map(|_| place.clone()), 0, route)
    }

    /// Starts the servers in three places, on port 4222 for clients and 6222 for each other.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start_at(places: [NatsPlace; 3]) -> Self {
        let addresses = places.each_ref().map(|place| place.address);
        Self::start_with(places, 4222, |number| {
            let address = addresses[usize::from(number) - 1];
            format!("{address}:6222")
        })
    }

    fn start_with(places: [NatsPlace; 3], port: u16, route: impl Fn(u16) -> String) -> Self {
        let started = places.into_iter().zip(1..).map(|(place, number)| {
            let member = Member {
                name: format!("nats{number}"),
                settings: cluster_settings(number, &route),
                files: Vec::new(),
            };
            NatsServer::spawn(place.address, port, place.prefix, Some(member))
        });
        // All of them run before the first is asked for its port.
        let mut servers: Vec<_> = started.collect();
        for server in &mut servers {
            server.await_port();
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

/// Writes the settings, and runs the server.
fn run(
    folder: &Path,
    address: IpAddr,
    port: u16,
    prefix: &[String],
    member: Option<&Member>,
) -> Child {
    let program = root().join("target/tools/nats/bin/nats-server");
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` installs it",
        program.display()
    );
    let config = folder.join("nats.conf");
    let own = settings(folder, address, port);
    if let Some(member) = member {
        write(&folder.join("distributary.conf"), &own);
        write(&config, &member.settings);
        for (file, text) in &member.files {
            write(&folder.join(file), text);
        }
    } else {
        write(&config, &own);
    }
    let mut command = match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command
        .arg("-c")
        .arg(config)
        .arg("--ports_file_dir")
        .arg(folder)
        .arg("--log")
        .arg(folder.join(LOG))
        .env("NATS_NAME", member.map_or("nats", |member| &member.name))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the NATS server can be run")
}

fn write(file: &Path, text: &str) {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).expect("a folder can be made");
    }
    std::fs::write(file, text).expect("a file can be written");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the settings that ship with the gateway, with an address and a folder for this test.
fn settings(folder: &Path, address: IpAddr, port: u16) -> String {
    // 0 is the default port, and -1 one of the server's choice.
    let port = if port == 0 {
        "-1".to_owned()
    } else {
        port.to_string()
    };
    shipped(
        "distributary.conf",
        &[
            ("0.0.0.0:4222", format!("{address}:{port}")),
            ("http: \"127.0.0.1:8222\"", String::new()),
            ("/var/lib/nats", folder.display().to_string()),
        ],
    )
}

/// Returns the settings of one of three servers that ship with the gateway, with the addresses at
/// which they reach each other.
fn cluster_settings(number: u16, route: impl Fn(u16) -> String) -> String {
    shipped(
        "cluster.conf",
        &[
            ("0.0.0.0:6222", route(number)),
            ("nats1:6222", route(1)),
            ("nats2:6222", route(2)),
            ("nats3:6222", route(3)),
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
