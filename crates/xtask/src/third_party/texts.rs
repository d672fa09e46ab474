//! The license texts in the source of components.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::ThirdPartyError;
use super::components::Component;

/// Begins of the names of files with a license, or a notice that it asks to pass on.
const NAMES: [&str; 6] = [
    "copying",
    "copyright",
    "licence",
    "license",
    "notice",
    "unlicense",
];

/// Ends of such names that are source code.
const SOURCE_CODE: [&str; 9] = [
    ".c", ".go", ".h", ".html", ".pl", ".pm", ".py", ".rs", ".sh",
];

/// Folders with nothing that becomes a part of the program, beside hidden ones.
const NOT_BUILT_IN: [&str; 5] = ["benches", "examples", "fuzz", "test", "tests"];

/// A text, and the components that it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Names and versions.
    pub(super) of: Vec<String>,
}

/// Returns the texts of the components; each one once. A component without text gets that of the
/// Apache License from the root of this source, if that license alone is enough for it.
pub(super) fn of(components: &[Component], root: &Path) -> Result<Vec<Text>, ThirdPartyError> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components {
        let mut paths = Vec::new();
        find(&component.folder, &mut paths)?;
        if paths.is_empty() && is_apache_enough(&component.license) {
            paths.push(root.join("LICENSE-APACHE"));
        }
        if paths.is_empty() {
            return Err(ThirdPartyError::NoText {
                component: component.id(),
                license: component.license.clone(),
            });
        }
        for path in paths {
            let bytes = fs::read(&path).map_err(|source| ThirdPartyError::Io { path, source })?;
            let text = String::from_utf8_lossy(&bytes).replace('\r', "");
            let of = texts.entry(text.trim().to_owned()).or_default();
            if of.last() != Some(&component.id()) {
                of.push(component.id());
            }
        }
    }
    let mut texts: Vec<_> = texts
        .into_iter()
        .map(|(text, of)| Text { text, of })
        .collect();
    texts.sort_by(|a, b| a.of.cmp(&b.of));
    Ok(texts)
}

/// Returns whether the Apache License is one of the alternatives of an SPDX expression, or of one in
/// the old style with slashes.
fn is_apache_enough(license: &str) -> bool {
    !license.contains(" AND ")
        && license
            .split(" OR ")
            .flat_map(|one| one.split('/'))
            .any(|one| one.trim() == "Apache-2.0")
}

/// Finds the files with a license in a source: parts that are taken from elsewhere have their own
/// beside them. Symbolic links are not followed.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ThirdPartyError> {
    for path in entries(folder)? {
        if path.is_symlink() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        if path.is_dir() {
            if !name.starts_with('.') && !NOT_BUILT_IN.contains(&&*name) {
                find(&path, found)?;
            }
        } else if is_license(&name) {
            found.push(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ThirdPartyError> {
    let failed = |source| ThirdPartyError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Returns whether a file whose name, in lower case, is `name` has a license.
fn is_license(name: &str) -> bool {
    NAMES.iter().any(|begin| name.starts_with(begin))
        && !SOURCE_CODE.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, license: &str, folder: &Path) -> Component {
        Component {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.to_owned(),
            source: String::new(),
            folder: folder.join(name),
        }
    }

    #[test]
    fn texts_are_found_and_shared() {
        let folder = std::env::temp_dir().join(format!("third-party-{}", std::process::id()));
        for (path, text) in [
            ("a/LICENSE-MIT", "MIT\r\n"),
            ("a/license.rs", "code"),
            ("b/COPYING", "MIT"),
            ("b/lib/LICENSE.txt", "BSD"),
            ("b/lib/other", "x"),
            ("b/src/math/table/LICENSE", "ISC"),
            ("b/src/tests/LICENSE", "of a test"),
            ("b/.github/license.yml", "a workflow"),
            ("c/Cargo.toml", ""),
            ("LICENSE-APACHE", "Apache"),
        ] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let [a, b] = ["a", "b"].map(|name| component(name, "MIT", &folder));
        let c = component("c", "MIT OR Apache-2.0", &folder);
        let found = of(&[a, b, c], &folder).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| (&*one.text, one.of.join(", ")))
            .collect();
        assert_eq!(
            found,
            [
                ("MIT", "a 1.0.0, b 1.0.0".to_owned()),
                ("BSD", "b 1.0.0".to_owned()),
                ("ISC", "b 1.0.0".to_owned()),
                ("Apache", "c 1.0.0".to_owned()),
            ]
        );
        for license in ["MIT", "MIT AND Apache-2.0", "Apache-2.0 AND (MIT OR ISC)"] {
            let bare = component("c", license, &folder);
            assert!(
                matches!(of(&[bare], &folder), Err(ThirdPartyError::NoText { .. })),
                "{license}"
            );
        }
        for license in ["Apache-2.0", "MIT/Apache-2.0", "Zlib OR Apache-2.0 OR MIT"] {
            let bare = component("c", license, &folder);
            assert!(of(&[bare], &folder).is_ok(), "{license}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
