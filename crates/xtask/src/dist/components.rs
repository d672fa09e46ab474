//! The list of the components of the gateway (software bill of materials).

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::registry::Programs;
use super::{DistError, NAME, Release, VERSION, create, io_error, remove, succeed};

/// Name of the list, which cargo-cyclonedx writes beside each manifest.
const FILE: &str = "components";

/// Writes `distributary-VERSION.cdx.json`: every crate that is built into the gateway or runs while
/// it is built (OpenSSL and AWS-LC come as crates with their C source), with version, license and
/// checksum.
pub(super) fn write(
    programs: &Programs,
    root: &Path,
    built: &Path,
    output: &Path,
    release: &Release,
) -> Result<(), DistError> {
    // In a copy of the source, because every crate of the workspace gets a list.
    let copy = built.join("source");
    remove(&copy)?;
    create(&copy)?;
    let packed = copy.join("source.tar");
    let mut archive = Command::new("git");
    archive
        .current_dir(root)
        .arg("archive")
        .arg("--output")
        .arg(&packed);
    succeed(archive.arg("HEAD"))?;
    succeed(
        Command::new("tar")
            .arg("-xf")
            .arg(&packed)
            .arg("-C")
            .arg(&copy),
    )?;

    let mut list = programs.command("cargo-cyclonedx");
    list.current_dir(&copy).args(["cyclonedx", "--quiet"]);
    list.args(["--format", "json", "--spec-version", "1.5"]);
    list.args(["--target", &release.host, "--override-filename", FILE]);
    succeed(release.dates(&mut list))?;

    let written = copy.join("crates/gateway").join(format!("{FILE}.json"));
    let list = fs::read(&written).map_err(io_error(&written))?;
    let list = with_openssl(&list).map_err(|reason| DistError::Failed {
        command: "cargo cyclonedx".to_owned(),
        reason,
    })?;
    let kept = output.join(format!("{NAME}-{VERSION}.cdx.json"));
    fs::write(&kept, list).map_err(io_error(&kept))?;
    remove(&copy)
}

/// Adds OpenSSL itself, whose source is in a crate that counts as a tool of the build: programs
/// that search for known vulnerabilities know the library, not the crate.
fn with_openssl(list: &[u8]) -> Result<String, String> {
    let mut list: Value = serde_json::from_slice(list).map_err(|error| error.to_string())?;
    let components = list["components"].as_array_mut().ok_or("no components")?;
    let mut versions = components.iter().filter_map(|component| {
        let version = component["version"].as_str()?;
        // As in 300.6.1+3.6.3.
        let is_source = component["name"] == "openssl-src";
        version.split_once('+').filter(|_| is_source)
    });
    let (_, version) = versions
        .next()
        .ok_or("openssl-src has no version of OpenSSL")?;
    let openssl = json!({
        "type": "library",
        "bom-ref": format!("openssl@{version}"),
        "name": "openssl",
        "version": version,
        "scope": "required",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "cpe": format!("cpe:2.3:a:openssl:openssl:{version}:*:*:*:*:*:*:*"),
        "purl": format!("pkg:generic/openssl@{version}"),
    });
    components.push(openssl);
    serde_json::to_string_pretty(&list).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_is_listed_with_the_version_that_is_built_in() {
        let list = br#"{"components": [{"name": "openssl-src", "version": "300.6.1+3.6.3"}]}"#;
        let list: Value = serde_json::from_str(&with_openssl(list).unwrap()).unwrap();
        let openssl = &list["components"][1];
        assert_eq!(openssl["purl"], "pkg:generic/openssl@3.6.3");
        assert_eq!(openssl["scope"], "required");
        assert!(with_openssl(br#"{"components": []}"#).is_err());
    }
}
