//! Programs from PyPI for the tests.

use std::path::Path;
use std::process::Command;

use crate::programs::{self, ProgramError};

/// The installed packages. The versions are fixed, so that a failing test means a fault of the
/// gateway.
const PACKAGES: &[&str] = &[
    // A recent ffmpeg, for what Debian's does not have: Enhanced RTMP and RTMPE.
    "imageio-ffmpeg==0.8.1",
    // A player with a WebRTC implementation of its own.
    "aiortc==1.16.0",
];

/// Makes sure that all packages are in the environment `tools/python` of the build folder.
pub(crate) fn ensure(target: &Path, install: bool) -> Result<(), ProgramError> {
    let environment = target.join("tools").join("python");
    let (packages, wanted) = (PACKAGES.join(" "), PACKAGES.join("\n"));
    programs::ensure(&environment, &packages, &wanted, install, || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&environment);
        programs::run(&mut venv)?;
        let mut pip = Command::new(environment.join("bin").join("python"));
        pip.args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(PACKAGES);
        programs::run(&mut pip)
    })
}
