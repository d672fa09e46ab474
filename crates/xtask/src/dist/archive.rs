//! The archive for systems without packages.

use std::path::Path;
use std::process::Command;

use super::staging::DEBIAN;
use super::{DistError, NAME, Release, VERSION, succeed};

/// Packs the staged files, except those of Debian, into `distributary-VERSION-TARGET.tar.gz`.
/// Order, owners and times do not depend on the machine.
pub(super) fn make(staged: &Path, output: &Path, release: &Release) -> Result<(), DistError> {
    let name = format!("{NAME}-{VERSION}-{}", release.host);
    let exclude = format!("--exclude=./{DEBIAN}");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=u+rw,go=rX", &exclude]);
    tar.arg(format!("--mtime=@{}", release.time));
    tar.arg(format!("--transform=s,^\\.,{name},"));
    tar.args(["--use-compress-program", "gzip -9n"]);
    tar.arg("-cf").arg(output.join(format!("{name}.tar.gz")));
    succeed(tar.arg("-C").arg(staged).arg("."))
}
