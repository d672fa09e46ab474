//! Programs from PyPI for the tests, in an environment of their own below the build folder.

use std::path::Path;
use std::process::Command;

/// What is installed. The versions are fixed: a test that fails has the gateway to blame.
const PACKAGES: &[&str] = &[
    // A recent ffmpeg, for what Debian's does not have: Enhanced RTMP and RTMPE.
    "imageio-ffmpeg==0.8.1",
    // A player with a WebRTC implementation of its own.
    "aiortc==1.16.0",
];

/// The environment is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    /// It is missing, and may not be made.
    #[error("{folder} lacks {packages}: `cargo xtask test` installs them from PyPI")]
    Missing { folder: String, packages: String },
    /// It cannot be made.
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
}

/// Makes sure that all packages are in the environment `tools/python` of the build folder.
pub(crate) fn ensure(target: &Path, install: bool) -> Result<(), PythonError> {
    let environment = target.join("tools").join("python");
    let wanted = PACKAGES.join("\n");
    let installed = environment.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let packages = PACKAGES.join(" ");
    if !install {
        let folder = environment.display().to_string();
        return Err(PythonError::Missing { folder, packages });
    }
    println!("installing {packages} from PyPI");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&environment);
    run(&mut venv)?;
    let mut pip = Command::new(environment.join("bin").join("python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .args(PACKAGES);
    run(&mut pip)?;
    std::fs::write(&installed, wanted).map_err(|error| PythonError::Install {
        command: format!("writing {}", installed.display()),
        reason: error.to_string(),
    })
}

fn run(command: &mut Command) -> Result<(), PythonError> {
    let failed = |reason: String, command: &Command| PythonError::Install {
        command: format!("{command:?}"),
        reason,
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string(), command)),
        Err(error) => Err(failed(error.to_string(), command)),
    }
}
