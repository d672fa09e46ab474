//! The crates that are built into the gateway, by the output of `cargo metadata`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The crate of the gateway.
const GATEWAY: &str = "distributary-gateway";

/// A crate of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) version: String,
    /// The license as the manifest has it, an SPDX expression.
    pub(super) license: String,
    /// The URL of its source.
    pub(super) source: String,
    /// The folder with its source on this machine; empty for the standard library.
    pub(super) folder: PathBuf,
}

/// The output of `cargo metadata` is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the output of `cargo metadata` or the source has no {0}")]
pub(crate) struct MetadataError(&'static str);

impl Component {
    /// Returns name and version.
    pub(super) fn id(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Returns Rust's own library, which comes with the compiler.
    pub(super) fn standard_library(version: &str) -> Self {
        Self {
            name: "Rust standard library".to_owned(),
            version: version.to_owned(),
            license: "MIT OR Apache-2.0, and those of its parts".to_owned(),
            source: format!("https://github.com/rust-lang/rust/tree/{version}/library"),
            folder: PathBuf::new(),
        }
    }

    /// Returns libopus, whose source is in a crate of this workspace.
    pub(super) fn libopus(root: &Path) -> Result<Self, MetadataError> {
        let folder = root.join("crates/opus/libopus");
        let version = std::fs::read_to_string(folder.join("VERSION"))
            .map_err(|_| MetadataError("version of libopus"))?;
        let version = version.trim().to_owned();
        Ok(Self {
            name: "libopus".to_owned(),
            license: "BSD-3-Clause".to_owned(),
            source: format!("https://gitlab.xiph.org/xiph/opus/-/tree/v{version}"),
            folder,
            version,
        })
    }

    fn of(package: &Value) -> Result<Self, MetadataError> {
        let text = |member: &'static str| package[member].as_str().ok_or(MetadataError(member));
        let (name, version) = (text("name")?.to_owned(), text("version")?.to_owned());
        let manifest = PathBuf::from(text("manifest_path")?);
        Ok(Self {
            license: package["license"]
                .as_str()
                .unwrap_or("see below")
                .to_owned(),
            source: format!("https://crates.io/crates/{name}/{version}"),
            folder: manifest
                .parent()
                .map(PathBuf::from)
                .ok_or(MetadataError("folder"))?,
            name,
            version,
        })
    }
}

/// Returns the crates of others that are built into the gateway, by name.
pub(super) fn of(metadata: &[u8]) -> Result<Vec<Component>, MetadataError> {
    let metadata: Value = serde_json::from_slice(metadata).map_err(|_| MetadataError("JSON"))?;
    let packages = by_id(&metadata["packages"], "packages")?;
    let nodes = by_id(&metadata["resolve"]["nodes"], "nodes")?;
    let gateway = packages
        .iter()
        .find(|(_, package)| package["name"] == GATEWAY);
    let (gateway, _) = gateway.ok_or(MetadataError("package of the gateway"))?;
    let (mut found, mut due) = (BTreeSet::new(), vec![*gateway]);
    while let Some(id) = due.pop() {
        if !found.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).and_then(|node| node["deps"].as_array());
        for dependency in dependencies.into_iter().flatten() {
            let id = dependency["pkg"].as_str().unwrap_or_default();
            let name = packages
                .get(id)
                .and_then(|package| package["name"].as_str());
            if is_built_in(dependency, name.unwrap_or_default()) {
                due.push(id);
            }
        }
    }
    let found = found.into_iter().filter_map(|id| packages.get(id));
    // Those of this workspace have no source.
    let others = found.filter(|package| package["source"].is_string());
    let mut components = others
        .map(|package| Component::of(package))
        .collect::<Result<Vec<_>, _>>()?;
    components.sort();
    Ok(components)
}

/// Returns whether a dependency becomes a part of the program: not those of tests, and of those
/// that run while it is built only those that bring the source of a library.
fn is_built_in(dependency: &Value, name: &str) -> bool {
    let kinds = dependency["dep_kinds"].as_array();
    kinds
        .into_iter()
        .flatten()
        .any(|kind| match kind["kind"].as_str() {
            None => true,
            Some("build") => name.ends_with("-src"),
            Some(_) => false,
        })
}

fn by_id<'a>(
    list: &'a Value,
    what: &'static str,
) -> Result<HashMap<&'a str, &'a Value>, MetadataError> {
    let list = list.as_array().ok_or(MetadataError(what))?;
    let ids = list
        .iter()
        .filter_map(|one| Some((one["id"].as_str()?, one)));
    Ok(ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn crates_of_others_that_are_built_in_are_found() {
        let package = |name: &str, source: Option<&str>| {
            json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT",
                    "source": source, "manifest_path": format!("/src/{name}/Cargo.toml") })
        };
        let registry = Some("registry");
        let dependency = |name: &str, kinds: &[Option<&str>]| {
            let kinds: Vec<_> = kinds.iter().map(|kind| json!({ "kind": kind })).collect();
            json!({ "pkg": name, "dep_kinds": kinds })
        };
        let metadata = json!({
            "packages": [
                package(GATEWAY, None), package("ours", None), package("ssl", registry),
                package("ssl-src", registry), package("cc", registry), package("test", registry),
                package("unused", registry),
            ],
            "resolve": { "nodes": [
                { "id": GATEWAY, "deps": [
                    dependency("ours", &[None]), dependency("test", &[Some("dev")]),
                ] },
                { "id": "ours", "deps": [dependency("ssl", &[Some("dev"), None])] },
                { "id": "ssl", "deps": [
                    dependency("ssl-src", &[Some("build")]), dependency("cc", &[Some("build")]),
                ] },
            ] },
        });
        let found = of(metadata.to_string().as_bytes()).unwrap();
        let ids: Vec<_> = found.iter().map(Component::id).collect();
        assert_eq!(ids, ["ssl 1.0.0", "ssl-src 1.0.0"]);
        assert_eq!(found[0].folder, PathBuf::from("/src/ssl"));
        assert_eq!(of(b"{}"), Err(MetadataError("packages")));
    }
}
