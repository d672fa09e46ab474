//! Programs from npm for the tests.

use std::path::Path;
use std::process::Command;

use crate::programs::{self, ProgramError};

/// The installed package: libdatachannel, built for Node.
const MANIFEST: &str = include_str!("package.json");

/// The versions and checksums of it and of its dependencies.
const LOCK: &str = include_str!("package-lock.json");

/// Makes sure that the packages are in the folder `tools/node` of the build folder.
pub(crate) fn ensure(target: &Path, install: bool) -> Result<(), ProgramError> {
    let folder = target.join("tools").join("node");
    programs::ensure(&folder, "node-datachannel", LOCK, install, || {
        std::fs::create_dir_all(&folder).map_err(|error| ProgramError::Install {
            command: format!("making {}", folder.display()),
            reason: error.to_string(),
        })?;
        programs::write(&folder.join("package.json"), MANIFEST)?;
        programs::write(&folder.join("package-lock.json"), LOCK)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(&folder);
        programs::run(&mut npm)
    })
}
