//! `cargo xtask simulate`: simulations of the gateway, its publishers, its viewers and their
//! networks, by seed (see `crates/simulate`), and the proof that they find defects.
//!
//! With `--faults`, each patch of `crates/simulate/faults` plants one small defect in a copy of the
//! working tree. The simulations of the copy must fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::check;
use crate::load::{self, LoadError, io_error, succeed};
use crate::tools;

/// Builds the program as the tests do, so that no dependency is compiled twice.
const BUILD: &str = "test --locked --quiet --workspace --test by_seed --no-run";

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// The first seed; alone it is replayed.
    #[arg(long)]
    seed: Option<u64>,

    /// Plant each defect of crates/simulate/faults in a copy of the tree, and expect that one of the
    /// seeds fails.
    #[arg(long)]
    faults: bool,

    /// Plant only the defects whose names contain this.
    #[arg(long, requires = "faults")]
    only: Option<String>,
}

/// Simulates, and prints what fails.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let needed: Vec<_> = tools::BUILD.iter().collect();
    tools::ensure(&needed, true)?;
    let target = check::target_folder().map_err(io_error("the target folder"))?;
    if options.faults {
        return find_faults(options, &target);
    }
    succeed(load::cargo().args(BUILD.split(' ')))?;
    let seeds = match options.seed {
        Some(_) => 1,
        None => options.seeds,
    };
    let mut program = Command::new(program(&target));
    program.args(["--seeds", &seeds.to_string()]);
    program.args(["--seed", &options.seed.unwrap_or(0).to_string()]);
    succeed(&mut program)
}

/// Returns the path of the program in a target folder.
fn program(target: &Path) -> PathBuf {
    target.join("debug").join("simulate")
}

/// Plants one defect after the other, and reports which the simulations find.
fn find_faults(options: &Options, target: &Path) -> Result<(), LoadError> {
    let root = check::workspace_root();
    let folder = root.join("crates/simulate/faults");
    let mut patches: Vec<PathBuf> = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(io_error("the faults"))?;
    let name = |patch: &Path| {
        patch
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    patches.retain(|patch| {
        let is_patch = patch
            .extension()
            .is_some_and(|extension| extension == "patch");
        let only = options.only.as_deref();
        is_patch && only.is_none_or(|only| name(patch).contains(only))
    });
    patches.sort();
    let copy = target.join("faults");
    copy_tree(&root, &copy)?;
    let mut missed = Vec::new();
    for patch in &patches {
        git_apply(&copy, patch, &[])?;
        let mut build = load::cargo();
        build.args(BUILD.split(' ')).current_dir(&copy);
        let found = succeed(build.env("CARGO_TARGET_DIR", target)).and_then(|()| {
            let mut program = Command::new(program(target));
            program.args(["--stop", "--seeds", &options.seeds.to_string()]);
            let output = program.output().map_err(io_error("the simulation"))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(text
                .lines()
                .find(|line| line.contains(" failed at "))
                .map(ToOwned::to_owned))
        });
        git_apply(&copy, patch, &["--reverse"])?;
        match found? {
            Some(line) => println!("{:<32} found: {line}", name(patch)),
            None => {
                println!("{:<32} NOT FOUND", name(patch));
                missed.push(name(patch));
            }
        }
    }
    if missed.is_empty() && !patches.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Failed(format!(
            "simulate --faults: {missed:?} not found"
        )))
    }
}

/// Copies the files that git knows or would add. Files that have not changed keep their times, so
/// that they are not compiled again.
fn copy_tree(root: &Path, copy: &Path) -> Result<(), LoadError> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .map_err(io_error("git ls-files"))?;
    let list = String::from_utf8_lossy(&list.stdout);
    for file in list.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root.join(file), copy.join(file));
        let Ok(contents) = fs::read(&from) else {
            // It is deleted.
            let _ = fs::remove_file(&to);
            continue;
        };
        if fs::read(&to).is_ok_and(|present| present == contents) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(io_error("a folder of the copy"))?;
        }
        fs::write(&to, contents).map_err(io_error("a file of the copy"))?;
    }
    Ok(())
}

/// Applies a patch to the copy, which is in the folder of another repository.
fn git_apply(copy: &Path, patch: &Path, options: &[&str]) -> Result<(), LoadError> {
    let mut git = Command::new("git");
    git.arg("apply").args(options).arg(patch).current_dir(copy);
    if let Some(parent) = copy.parent() {
        git.env("GIT_CEILING_DIRECTORIES", parent);
    }
    succeed(&mut git)
}
