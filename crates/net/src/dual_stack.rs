//! Sockets that serve IPv6 and IPv4.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Binds a socket that does not block, after `prepare` has set its options. `[::]` serves IPv4 too,
/// whatever the system's default, and falls back to `0.0.0.0` if IPv6 is disabled.
///
/// # Errors
/// Returns the system's error, for example because another process has the port.
pub fn bind_socket(
    address: SocketAddr,
    kind: Type,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    match bind_exactly(address, kind, &prepare) {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && is_no_ipv6(&error) => {
            let address = (Ipv4Addr::UNSPECIFIED, address.port()).into();
            bind_exactly(address, kind, &prepare)
        }
        result => result,
    }
}

fn bind_exactly(
    address: SocketAddr,
    kind: Type,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    prepare(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Returns whether the error says that the system has no IPv6: the family is not built in, or no
/// interface has it.
fn is_no_ipv6(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` on Linux and on BSD, which have no `ErrorKind`.
    const FAMILY_NOT_SUPPORTED: [i32; 2] = [97, 47];
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error
            .raw_os_error()
            .is_some_and(|code| FAMILY_NOT_SUPPORTED.contains(&code))
}
