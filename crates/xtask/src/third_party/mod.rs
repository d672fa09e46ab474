//! `cargo xtask third-party`: the licenses of all that is built into the gateway, as one text. Each
//! release has it, because most licenses ask for that.
//!
//! * `components`: the crates that are built in.
//! * `standard_library`: Rust's own library, which is no crate.
//! * `texts`: the license texts that come with their source.

mod components;
mod standard_library;
mod texts;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::check::workspace_root;
use crate::load::cargo;
use components::{Component, MetadataError};
use texts::Text;

/// Begin of the file.
const HEAD: &str = "\
Distributary contains software of others. Its own license is in LICENSE-MIT and LICENSE-APACHE.
Below are the components, each with its license and where its source is, and then the texts of
their licenses. Where a component may be used under several licenses, all texts that come with it
are here.
";

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Write to this file, instead of to the standard output
    file: Option<PathBuf>,
}

/// The reason why the licenses cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThirdPartyError {
    /// Cargo does not say what is built in.
    #[error("`cargo metadata` failed: {0}")]
    Cargo(String),
    /// The compiler does not say what it is.
    #[error("`rustc` failed: {0}")]
    Compiler(String),
    /// The output of Cargo is not as expected.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A component has no license text, and none is known for its license.
    #[error("{component} has no license text, and its license {license:?} has none here")]
    NoText {
        /// Name and version.
        component: String,
        /// As in its manifest.
        license: String,
    },
}

/// Writes the licenses.
pub(crate) fn run(options: &Options) -> Result<(), ThirdPartyError> {
    let text = licenses(&workspace_root())?;
    match &options.file {
        Some(path) => std::fs::write(path, text).map_err(|source| ThirdPartyError::Io {
            path: path.clone(),
            source,
        }),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// Returns the licenses of all that is built into the gateway for this machine.
pub(crate) fn licenses(root: &Path) -> Result<String, ThirdPartyError> {
    let (components, texts) = components_and_texts(root)?;
    Ok(written(&components, &texts))
}

fn components_and_texts(root: &Path) -> Result<(Vec<Component>, Vec<Text>), ThirdPartyError> {
    let mut components = components::of(&metadata(root)?)?;
    components.push(Component::libopus(root)?);
    components.sort();
    let mut texts = texts::of(&components, root)?;
    let standard_library = Component::standard_library(&about_compiler("release")?);
    texts.push(Text {
        text: standard_library::notices(&sysroot()?)?,
        of: vec![standard_library.id()],
    });
    components.push(standard_library);
    Ok((components, texts))
}

/// Returns a line of what the compiler says about itself.
fn about_compiler(line: &str) -> Result<String, ThirdPartyError> {
    let about = compiler(&["-vV"])?;
    about
        .lines()
        .find_map(|one| one.strip_prefix(line)?.strip_prefix(": "))
        .map(str::to_owned)
        .ok_or_else(|| ThirdPartyError::Compiler(format!("it does not name its {line}")))
}

/// Returns the folder of the toolchain.
fn sysroot() -> Result<PathBuf, ThirdPartyError> {
    Ok(PathBuf::from(compiler(&["--print", "sysroot"])?.trim()))
}

fn compiler(arguments: &[&str]) -> Result<String, ThirdPartyError> {
    let failed = |reason: String| ThirdPartyError::Compiler(reason);
    let output = Command::new("rustc").args(arguments).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn metadata(root: &Path) -> Result<Vec<u8>, ThirdPartyError> {
    let failed = |reason: String| ThirdPartyError::Cargo(reason);
    let host = about_compiler("host")?;
    let mut command = cargo();
    command.current_dir(root);
    command.args(["metadata", "--format-version", "1", "--locked"]);
    command.args(["--filter-platform", &host]);
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn written(components: &[Component], texts: &[Text]) -> String {
    let rule = "=".repeat(100);
    let mut file = format!("{HEAD}\n");
    for component in components {
        let Component {
            name,
            version,
            license,
            source,
            ..
        } = component;
        // Writing to a text does not fail.
        let _ = writeln!(file, "{name} {version}: {license}\n    {source}");
    }
    for Text { text, of } in texts {
        let of = of.join(", ");
        let _ = write!(file, "\n{rule}\n{of}\n{rule}\n\n{text}\n");
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_of_the_gateway_has_its_license() {
        let (components, texts) = components_and_texts(&workspace_root()).unwrap();
        let names: Vec<_> = components.iter().map(|one| one.name.as_str()).collect();
        // A crate, C source that a crate of its own brings, and a crate that only tests use.
        assert!(names.contains(&"tokio") && names.contains(&"openssl-src"));
        assert!(names.contains(&"libopus"));
        assert!(!names.contains(&"opus-decoder"));
        assert!(!names.iter().any(|name| name.starts_with("distributary")));
        for component in &components {
            let id = component.id();
            assert!(texts.iter().any(|text| text.of.contains(&id)), "{id}");
        }
        let file = written(&components, &texts);
        for known in [
            "The OpenSSL Project",
            "Xiph.Org",
            "Mozilla Public License",
            "MIT License",
            "Copyright notices for The Rust Standard Library",
        ] {
            assert!(file.contains(known), "{known}");
        }
        // Code that ring has from elsewhere, some folders below its root.
        let of_ring = |text: &Text| text.of.iter().any(|of| of.starts_with("ring "));
        for authors in ["the fiat-crypto authors", "BoringSSL"] {
            let found = texts
                .iter()
                .any(|text| of_ring(text) && text.text.contains(authors));
            assert!(found, "{authors}");
        }
    }
}
