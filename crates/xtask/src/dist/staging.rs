//! The files of a release in one folder: the stripped program, and what the program prints about
//! itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::third_party;

use super::{DistError, NAME, Release, VERSION, bytes, create, io_error, remove, succeed, text};

/// Files of the source, and their names in the folder.
const COPIED: &[(&str, &str)] = &[
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("README.md", "README.md"),
    ("config/distributary.toml", "distributary.toml"),
    (
        "config/systemd/distributary.service",
        "distributary.service",
    ),
    (
        "config/systemd/distributary.sysusers",
        "distributary.sysusers",
    ),
];

/// Output of the program, by its arguments, with the names in the folder. `Cargo.toml` of the
/// gateway says where the Debian package has them.
const PRINTED: &[(&[&str], &str)] = &[
    (&["man"], "distributary.1"),
    (&["completions", "bash"], "completions/distributary.bash"),
    (&["completions", "fish"], "completions/distributary.fish"),
    (&["completions", "zsh"], "completions/_distributary"),
];

/// The licenses of all that is built into the program.
const THIRD_PARTY: &str = "THIRD-PARTY";

/// Folder of the files that only the Debian package has.
pub(super) const DEBIAN: &str = "debian";

/// Fills the folder `package` beside the built program, and returns it.
pub(super) fn stage(root: &Path, built: &Path, release: &Release) -> Result<PathBuf, DistError> {
    let folder = built.join("package");
    remove(&folder)?;
    create(&folder.join("completions"))?;
    let program = folder.join(NAME);
    succeed(
        Command::new("strip")
            .arg("-o")
            .arg(&program)
            .arg(built.join(NAME)),
    )?;
    for (arguments, name) in PRINTED {
        let printed = text(Command::new(&program).args(*arguments))?;
        write(&folder.join(name), &printed)?;
    }
    for (source, name) in COPIED {
        let source = root.join(source);
        fs::copy(&source, folder.join(name)).map_err(io_error(&source))?;
    }
    write(&folder.join(THIRD_PARTY), &third_party::licenses(root)?)?;
    let debian = folder.join(DEBIAN);
    create(&debian)?;
    write(&debian.join("changelog"), &debian_changelog(release)?)?;
    let mut gzip = Command::new("gzip");
    let page = bytes(gzip.arg("-9nc").arg(folder.join("distributary.1")))?;
    let compressed = debian.join("distributary.1.gz");
    fs::write(&compressed, page).map_err(io_error(&compressed))?;
    Ok(folder)
}

/// Returns the changelog in the format of Debian, which policy requires; its text is in
/// CHANGELOG.md.
fn debian_changelog(release: &Release) -> Result<String, DistError> {
    let seconds = format!("@{}", release.time);
    let date = text(Command::new("date").args(["--utc", "--rfc-email", "--date", &seconds]))?;
    let maintainer = "Distributary developers <distributary@users.noreply.github.com>";
    Ok(format!(
        "{NAME} ({VERSION}-1) unstable; urgency=medium\n\n  \
         * New version, see CHANGELOG.md.\n\n \
         -- {maintainer}  {}\n",
        date.trim()
    ))
}

fn write(path: &Path, text: &str) -> Result<(), DistError> {
    fs::write(path, text).map_err(io_error(path))
}
