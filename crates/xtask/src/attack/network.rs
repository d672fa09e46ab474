//! A network namespace with addresses for all participants.
//!
//! The gateway counts loopback addresses differently: its limits per address do not hold for this
//! machine itself. So they take part under addresses of TEST-NET-1 (RFC 5737), all of them local
//! there.

use std::env;

use crate::load::{LoadError, io_error, namespace, succeed};

/// Address of the gateway and of honest clients.
pub(super) const GATEWAY: &str = "192.0.2.1";

/// The attacker's addresses.
pub(super) const ATTACKER: &str = "192.0.2.66,192.0.2.67,192.0.2.68,192.0.2.69,\
                                   192.0.2.70,192.0.2.71,192.0.2.72,192.0.2.73";

/// Address at which the attacker plays the origin of pulled streams.
pub(super) const ORIGIN: &str = "192.0.2.66:1935";

/// Makes the addresses local, and goes on with the command that follows.
const SETUP: &str = "ip link set lo up && ip address add 192.0.2.1/24 dev lo && exec \"$@\"";

/// Runs this program with the same arguments in a namespace of its own.
pub(super) fn enter() -> Result<(), LoadError> {
    let executable = env::current_exe().map_err(io_error("this program's path"))?;
    let mut command = namespace::unshare(&[])?;
    command.args(["sh", "-c", SETUP, "sh"]);
    command.arg(executable).args(env::args_os().skip(1));
    succeed(command.arg("--inside"))
}
