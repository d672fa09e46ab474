//! The programs from crates.io that make packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::DistError;
use crate::load::cargo;
use crate::programs;

/// Name and version of each program. The versions are fixed, so that a release can be made again.
const PROGRAMS: &[(&str, &str)] = &[("cargo-deb", "3.8.0"), ("cargo-cyclonedx", "0.5.9")];

/// The installed programs.
pub(super) struct Programs {
    folder: PathBuf,
}

/// Makes sure that the programs are in `tools/cargo` of the build folder.
pub(super) fn ensure(target: &Path) -> Result<Programs, DistError> {
    let folder = target.join("tools").join("cargo");
    let named = |separator: &str| {
        let names = PROGRAMS.iter();
        let names = names.map(|(name, version)| format!("{name}@{version}"));
        names.collect::<Vec<_>>().join(separator)
    };
    programs::ensure(&folder, &named(" "), &named("\n"), true, || {
        PROGRAMS.iter().try_for_each(|(name, version)| {
            let mut install = cargo();
            install.args(["install", "--quiet", "--locked", name, "--version", version]);
            programs::run(install.arg("--root").arg(&folder))
        })
    })?;
    Ok(Programs { folder })
}

impl Programs {
    /// Returns a command that runs one of these programs.
    pub(super) fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join("bin").join(program))
    }
}
