//! The Helm chart in `config/helm`, rendered by Helm's own library.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::ffmpeg::{scratch_folder, tool_folder};

/// The manifests that Helm makes of the chart with some values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Rendered {
    /// It refuses the values.
    Refused {
        /// The reason.
        refused: String,
    },
    /// It makes resources.
    Made {
        /// The resources.
        manifests: Vec<Value>,
        /// Warnings of `helm lint`, and reasons why Kubernetes would refuse a resource.
        complaints: Vec<String>,
        /// The default values.
        defaults: Value,
    },
}

/// Returns the folder of the chart.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/helm/distributary")
}

/// Renders the chart as a release `live` in the namespace `media`.
///
/// # Panics
/// When `cargo xtask test` has not installed Helm's library, or it fails.
#[must_use]
pub fn render(values: &Value) -> Rendered {
    let mut command = Command::new(tool_folder("helm").join("bin/python"));
    command.args(["-c", include_str!("helm/render.py")]);
    command.arg(folder()).arg(values.to_string());
    command.current_dir(scratch_folder());
    let output = command.output().expect("Helm's library is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// Renders the chart with values that Helm accepts, and returns the resources.
///
/// # Panics
/// When Helm or Kubernetes would not accept them.
#[must_use]
pub fn resources(values: &Value) -> Vec<Value> {
    match render(values) {
        Rendered::Refused { refused } => panic!("{values}: {refused}"),
        Rendered::Made {
            manifests,
            complaints,
            ..
        } => {
            assert!(complaints.is_empty(), "{values}: {complaints:?}");
            manifests
        }
    }
}
