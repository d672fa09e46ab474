//! Checks that the gateway starts as configured, reports what prevents it, and ends in time.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distributary_gateway::banner::Addresses;
use distributary_gateway::error::RunError;
use distributary_gateway::gateway::Ending;
use distributary_gateway::{Config, Gateway};
use distributary_net::OptionalAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::util::SubscriberInitExt;

/// Time after which a test fails that waits for a response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns a configuration with all listeners on loopback, on ports that the system chooses.
fn config() -> Config {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        rtmp: any.into(),
        http: any.into(),
        webrtc: any.into(),
        admin: OptionalAddress(Some(any.into())),
        ..Config::default()
    }
}

/// A running gateway.
struct Running {
    addresses: Addresses,
    stop: watch::Sender<Option<Ending>>,
    task: JoinHandle<Result<(), RunError>>,
}

fn run() -> Running {
    let gateway = Gateway::start(&config(), false).unwrap();
    let addresses = gateway.addresses();
    let (stop, ending) = watch::channel(None);
    let task = tokio::spawn(gateway.run(ending));
    Running {
        addresses,
        stop,
        task,
    }
}

/// Sends a request on a connection and reads the head of the response.
async fn request(connection: &mut TcpStream, head: &str) -> String {
    let request = format!("{head}\r\nHost: gateway\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = timeout(TIMEOUT, connection.read_u8()).await;
        answer.push(byte.expect("a response").unwrap());
    }
    String::from_utf8(answer).unwrap()
}

/// The log lines of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Follows the log until the guard is dropped.
    fn follow() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone());
        (log, lines.set_default())
    }

    fn contains(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(words)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn gateway_serves_on_its_printed_ports_and_ends_on_request() {
    // A machine that stands still may do so in the time for the end, but not each time.
    for _ in 0..3 {
        if serves_and_ends_in_time().await {
            return;
        }
    }
    panic!("clients that stay connected delay the end");
}

/// Returns whether no part of the gateway had to be aborted.
async fn serves_and_ends_in_time() -> bool {
    let Running {
        addresses,
        stop,
        task,
    } = run();
    for address in [addresses.rtmp, addresses.http, addresses.webrtc] {
        assert!(address.ip().is_loopback() && address.port() != 0);
    }
    assert_eq!(addresses.candidates, [addresses.webrtc.ip()]);

    // Clients that stay connected must not delay the end.
    let _publisher = TcpStream::connect(addresses.rtmp).await.unwrap();
    let mut browser = TcpStream::connect(addresses.http).await.unwrap();
    let answer = request(&mut browser, "GET /api/live HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let (log, _following) = Log::follow();
    stop.send_replace(Some(Ending::Drain));
    let result = timeout(TIMEOUT, task).await;
    assert!(matches!(result, Ok(Ok(Ok(())))), "{result:?}");
    assert!(log.contains("shutting down"));
    assert!(TcpStream::connect(addresses.http).await.is_err());
    assert!(UdpSocket::bind(addresses.webrtc).is_ok());
    !log.contains("did not end in time")
}

#[tokio::test]
async fn port_in_use_is_reported_on_one_line_with_what_to_change() {
    let tcp_owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = tcp_owner.local_addr().unwrap();
    let udp_owner = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = udp_owner.local_addr().unwrap();
    let check = |config: Config, what: &str, port: u16, flag: &str| {
        let error = Gateway::start(&config, false).err().unwrap().to_string();
        let begin = format!("{what} port {port} is in use");
        assert!(error.starts_with(&begin), "{error}");
        assert!(error.contains(&format!("--{flag} ")), "{error}");
        assert!(error.contains(&format!("the key {flag} ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    let rtmp = Config {
        rtmp: tcp.into(),
        ..config()
    };
    check(rtmp, "RTMP", tcp.port(), "rtmp");
    let http = Config {
        http: tcp.into(),
        ..config()
    };
    check(http, "HTTP", tcp.port(), "http");
    let admin = Config {
        admin: OptionalAddress(Some(tcp.into())),
        ..config()
    };
    check(admin, "Admin API", tcp.port(), "admin");
    let webrtc = Config {
        webrtc: udp.into(),
        ..config()
    };
    check(webrtc, "WebRTC (UDP)", udp.port(), "webrtc");
}

#[tokio::test]
async fn second_gateway_on_the_same_udp_port_is_refused() {
    let first = Gateway::start(&config(), false).unwrap();
    let webrtc = first.addresses().webrtc;
    let second = Config {
        webrtc: webrtc.into(),
        ..config()
    };
    let error = Gateway::start(&second, false).err().unwrap().to_string();
    assert!(error.contains("is in use"), "{error}");
}

#[tokio::test]
async fn unresolvable_host_is_reported_with_what_to_change() {
    let config = Config {
        http: "no-such-host.invalid:80".parse().unwrap(),
        ..config()
    };
    let error = Gateway::start(&config, false).err().unwrap().to_string();
    assert!(error.contains("no-such-host.invalid:80"), "{error}");
    assert!(error.contains("--http "), "{error}");
}

#[tokio::test]
async fn admin_api_on_a_public_address_needs_a_token() {
    let open = Config {
        admin: "0.0.0.0:0".parse().unwrap(),
        ..config()
    };
    let error = Gateway::start(&open, false).err().unwrap().to_string();
    assert!(
        error.contains("admin_token") && error.contains("--admin "),
        "{error}"
    );
    let guarded = Config {
        admin_token: "secret".to_owned(),
        ..open
    };
    assert!(Gateway::start(&guarded, false).is_ok());
}
