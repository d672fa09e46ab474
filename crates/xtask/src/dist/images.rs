//! The container images: one with the gateway alone, one with ffmpeg.

use std::path::Path;
use std::process::Command;

use super::{DistError, NAME, VERSION, succeed};

/// Value of the argument `VARIANT` of the Dockerfile, and the end of the tag.
const VARIANTS: &[(&str, &str)] = &[("small", ""), ("ffmpeg", "-ffmpeg")];

/// Programs whose default format of images has no health check.
const HAVE_OTHER_FORMAT: &[&str] = &["podman", "buildah"];

/// Builds both with docker, podman or buildah.
pub(super) fn build(program: &str, root: &Path, arguments: &[String]) -> Result<(), DistError> {
    for (variant, suffix) in VARIANTS {
        let tag = format!("{NAME}:{VERSION}{suffix}");
        println!("\n== {tag} ==");
        let mut build = Command::new(program);
        build.current_dir(root);
        build.args(build_arguments(program, variant, &tag, arguments));
        succeed(&mut build)?;
    }
    Ok(())
}

/// Returns the arguments that build one image.
fn build_arguments(program: &str, variant: &str, tag: &str, arguments: &[String]) -> Vec<String> {
    // The label changes with each release; the others are in the Dockerfile.
    let label = format!("org.opencontainers.image.version={VERSION}");
    let mut all = ["build", "--tag", tag, "--label", &label]
        .map(str::to_owned)
        .to_vec();
    all.push(format!("--build-arg=VARIANT={variant}"));
    all.extend(arguments.iter().map(|given| format!("--build-arg={given}")));
    if HAVE_OTHER_FORMAT.iter().any(|name| program.ends_with(name)) {
        all.push("--format=docker".to_owned());
    }
    all.extend(["--file=Dockerfile".to_owned(), ".".to_owned()]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfile_has_every_variant() {
        let dockerfile = include_str!("../../../../Dockerfile");
        for (variant, _) in VARIANTS {
            let stage = format!(" AS runtime-{variant}\n");
            assert!(dockerfile.contains(&stage), "{stage}");
        }
        let default = format!("ARG VARIANT={}\n", VARIANTS[0].0);
        assert!(dockerfile.contains(&default), "the first has the plain tag");
    }

    #[test]
    fn health_check_is_kept_by_every_program() {
        let of = |program| build_arguments(program, "small", "name:1", &["SMALL=base".to_owned()]);
        let format = "--format=docker".to_owned();
        assert!(of("/usr/bin/podman").contains(&format));
        assert!(of("buildah").contains(&format));
        assert!(!of("docker").contains(&format), "docker has no such option");
        assert!(of("docker").contains(&"--build-arg=SMALL=base".to_owned()));
    }
}
