//! The patches of `faults`, which plant a defect each, against the present tree.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns whether there is a git.
fn has_git() -> bool {
    let version = Command::new("git").arg("--version").output();
    !version.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Returns what git says if a patch does not apply to the tree. Nothing is changed.
fn check(patch: &str) -> io::Result<Result<(), String>> {
    let mut root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2);
    let mut git = Command::new("git");
    git.args(["apply", "--check", "-"]);
    if let Some(root) = root.next() {
        git.current_dir(root);
    }
    if let Some(above) = root.next() {
        // The tree need not be a repository, and may lie in the folder of another one.
        git.env("GIT_CEILING_DIRECTORIES", above);
    }
    git.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut git = git.spawn()?;
    if let Some(mut stdin) = git.stdin.take() {
        // It ends early where the patch is damaged, and says why.
        let _ = stdin.write_all(patch.as_bytes());
    }
    let output = git.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(output.status.success().then_some(()).ok_or(said))
}

#[test]
fn every_planted_defect_applies_to_the_present_tree() {
    if !has_git() {
        eprintln!("SKIPPED: there is no git, so nobody knows whether the patches apply");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults");
    let mut failures = Vec::new();
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "patch")
        {
            continue;
        }
        let patch = fs::read_to_string(&path).unwrap();
        checked += 1;
        if let Err(said) = check(&patch).unwrap() {
            failures.push(format!("{}: {said}", path.display()));
        }
        // The check can fail.
        let other = patch.replace("\n ", "\n other ");
        assert!(check(&other).unwrap().is_err(), "{}", path.display());
    }
    assert!(checked > 0, "no patches");
    assert!(failures.is_empty(), "refresh these: {failures:#?}");
}
