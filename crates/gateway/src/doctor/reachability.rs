//! STUN to itself: a check to each announced address, as a viewer on this machine would send it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use distributary_egress::engine::Engine;
use distributary_whep::admin::Finding;

const CHECK: &str = "reachability";

/// Time for the answer to one datagram.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Datagrams that are sent until one is answered.
const ATTEMPTS: usize = 3;

/// Time for a TCP connection.
const TCP_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum size of an answer.
const MAX_ANSWER: usize = 1500;

/// The protocols that reached the gateway at an announced address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    address: SocketAddr,
    udp: bool,
    /// `None` if TCP is not offered.
    tcp: Option<bool>,
    /// The address belongs to an interface of this machine.
    is_own: bool,
}

/// Sends a check to a running engine by each announced address.
pub(super) fn of_engine(engine: &Engine, announced: &[IpAddr]) -> Vec<Finding> {
    match engine.probe() {
        Ok(probe) => {
            let port = engine.local_addr().port();
            let is_answer = |bytes: &[u8]| probe.is_answer(bytes);
            let has_tcp = engine.has_tcp();
            findings(&reach(announced, port, has_tcp, probe.check(), &is_answer))
        }
        Err(error) => vec![Finding::error(CHECK, error.to_string())],
    }
}

/// Binds the media port in place of a gateway, and sends a datagram to it by each announced
/// address.
pub(super) fn of_port(listen: SocketAddr, announced: &[IpAddr]) -> Vec<Finding> {
    // A port that cannot be bound is a finding of its own.
    let Ok(socket) = UdpSocket::bind(listen) else {
        return Vec::new();
    };
    let Ok(port) = socket.local_addr().map(|address| address.port()) else {
        return Vec::new();
    };
    let tcp = std::net::TcpListener::bind((listen.ip(), port)).ok();
    let sent = b"distributary doctor";
    let is_done = AtomicBool::new(false);
    let reached = thread::scope(|scope| {
        scope.spawn(|| echo(&socket, &is_done));
        let is_answer = |bytes: &[u8]| bytes == sent;
        let reached = reach(announced, port, tcp.is_some(), sent, &is_answer);
        is_done.store(true, Ordering::Relaxed);
        reached
    });
    findings(&reached)
}

/// Sends each datagram back, until `is_done`.
fn echo(socket: &UdpSocket, is_done: &AtomicBool) {
    if socket.set_read_timeout(Some(TIMEOUT / 3)).is_err() {
        return;
    }
    let mut bytes = [0; MAX_ANSWER];
    while !is_done.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(bytes.get(..len).unwrap_or_default(), from);
        }
    }
}

/// Tries all addresses at the same time.
fn reach(
    announced: &[IpAddr],
    port: u16,
    has_tcp: bool,
    check: &[u8],
    is_answer: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Vec<Reached> {
    let own = super::addresses::interfaces();
    thread::scope(|scope| {
        let tries: Vec<_> = announced
            .iter()
            .map(|ip| {
                let address = SocketAddr::new(*ip, port);
                let is_own = own.iter().any(|(_, own)| own == ip);
                scope.spawn(move || Reached {
                    address,
                    udp: ask(address, check, is_answer).unwrap_or(false),
                    tcp: has_tcp.then(|| TcpStream::connect_timeout(&address, TCP_TIMEOUT).is_ok()),
                    is_own,
                })
            })
            .collect();
        let reached = tries.into_iter();
        reached.filter_map(|try_| try_.join().ok()).collect()
    })
}

/// Sends a datagram until it is answered. Returns whether it was.
fn ask(
    address: SocketAddr,
    check: &[u8],
    is_answer: &(dyn Fn(&[u8]) -> bool + Sync),
) -> io::Result<bool> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut bytes = [0; MAX_ANSWER];
    for _ in 0..ATTEMPTS {
        socket.send(check)?;
        let answer = socket.recv(&mut bytes);
        if answer.is_ok_and(|len| is_answer(bytes.get(..len).unwrap_or_default())) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn findings(reached: &[Reached]) -> Vec<Finding> {
    reached.iter().map(judge).collect()
}

fn judge(reached: &Reached) -> Finding {
    let Reached {
        address,
        udp,
        tcp,
        is_own,
    } = *reached;
    let port = address.port();
    let missing = match (udp, tcp) {
        (true, None | Some(true)) => {
            let protocols = if tcp.is_some() { "UDP and TCP" } else { "UDP" };
            return Finding::ok(
                CHECK,
                format!("{address} answers this machine over {protocols}"),
            );
        }
        (true, Some(false)) => "TCP",
        (false, Some(true)) => "UDP",
        (false, None | Some(false)) => "UDP and TCP",
    };
    let missing = if tcp.is_none() { "UDP" } else { missing };
    let text = format!("{address} does not answer this machine over {missing}");
    if is_own {
        Finding::error(CHECK, text).advise(format!(
            "The firewall of this machine drops it: open port {port} for UDP and TCP, for example with ufw \
             allow {port}, or firewall-cmd --add-port={port}/udp --add-port={port}/tcp."
        ))
    } else {
        Finding::warning(CHECK, text).advise(format!(
            "The router or cloud does not forward port {port} to this machine, or not from inside (many do not). \
             Open a stream's page from another network: /api/joins and the log say whether viewers connect."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    #[test]
    fn address_that_does_not_answer_is_explained() {
        let judged = |address: &str, udp, tcp, is_own| {
            let address = address.parse().unwrap();
            text(&[judge(&Reached {
                address,
                udp,
                tcp,
                is_own,
            })])
        };
        assert_eq!(
            judged("[2001:db8::5]:8189", true, Some(true), true),
            "ok       reachability  [2001:db8::5]:8189 answers this machine over UDP and TCP\n"
        );
        assert_eq!(
            judged("192.0.2.5:8189", true, None, true),
            "ok       reachability  192.0.2.5:8189 answers this machine over UDP\n"
        );
        assert_eq!(
            judged("192.0.2.5:8189", false, Some(true), true),
            "error    reachability  192.0.2.5:8189 does not answer this machine over UDP\n\
             \x20                       The firewall of this machine drops it: open port 8189 for UDP and TCP, for\n\
             \x20                       example with ufw allow 8189, or firewall-cmd --add-port=8189/udp\n\
             \x20                       --add-port=8189/tcp.\n"
        );
        assert_eq!(
            judged("203.0.113.7:8189", false, Some(false), false),
            "warning  reachability  203.0.113.7:8189 does not answer this machine over UDP and TCP\n\
             \x20                       The router or cloud does not forward port 8189 to this machine, or not from\n\
             \x20                       inside (many do not). Open a stream's page from another network: /api/joins\n\
             \x20                       and the log say whether viewers connect.\n"
        );
    }

    #[test]
    fn free_port_of_this_machine_answers() {
        let findings = of_port(
            "127.0.0.1:0".parse().unwrap(),
            &[Ipv4Addr::LOCALHOST.into()],
        );
        let text = text(&findings);
        assert!(
            text.starts_with("ok       reachability  127.0.0.1:"),
            "{text}"
        );
    }
}
