//! Namespaces of the system, in which a measurement has a network of its own.

use std::process::{Command, Stdio};

use super::LoadError;

/// The way to create a namespace: as root, or else in a user namespace.
const WAYS: [&[&str]; 2] = [&["--net"], &["--net", "--map-root-user"]];

/// Returns a command that runs the program that is appended to it in another network namespace, and
/// in those that further options of `unshare` name.
pub(crate) fn unshare(options: &[&str]) -> Result<Command, LoadError> {
    let with = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(options);
        command
    };
    let works = |way: &&&[&str]| {
        let mut probe = with(way);
        probe.arg("true").stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let way = WAYS.iter().find(works).ok_or(LoadError::NoNamespace)?;
    Ok(with(way))
}
