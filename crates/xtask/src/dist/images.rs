//! The container images: one with the gateway alone, one with ffmpeg.

use std::path::Path;
use std::process::Command;

use super::{DistError, NAME, VERSION, succeed};

/// Value of the argument `VARIANT` of the Dockerfile, and the end of the tag.
const VARIANTS: &[(&str, &str)] = &[("small", ""), ("ffmpeg", "-ffmpeg")];

/// Programs whose default format of images has no health check.
const HAVE_OTHER_DEFAULT: &[&str] = &["podman", "buildah"];

/// Builds both with docker, podman or buildah.
pub(super) fn build(program: &str, root: &Path, arguments: &[String]) -> Result<(), DistError> {
    for (variant, suffix) in VARIANTS {
        let tag = format!("{NAME}:{VERSION}{suffix}");
        println!("\n== {tag} ==");
        let mut build = Command::new(program);
        build.current_dir(root).args(["build", "--tag", &tag]);
        build.args(["--build-arg", &format!("VARIANT={variant}")]);
        build.args(
            arguments
                .iter()
                .flat_map(|argument| ["--build-arg", argument]),
        );
        // The labels of the Open Containers Initiative that change with each release.
        build.args([
            "--label",
            &format!("org.opencontainers.image.version={VERSION}"),
        ]);
        if HAVE_OTHER_DEFAULT
            .iter()
            .any(|name| program.ends_with(name))
        {
            build.args(["--format", "docker"]);
        }
        succeed(build.args(["--file", "Dockerfile", "."]))?;
    }
    Ok(())
}
