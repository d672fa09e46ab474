//! `cargo xtask simulate`: simulations of the gateway, its publishers, its viewers and their
//! networks, by seed (see `crates/simulate`), and the proof that they find defects.
//!
//! With `--faults`, each patch of `crates/simulate/faults` plants one small defect in a copy of the
//! working tree. The simulations of the copy must pass before, and fail with the defect.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::check;
use crate::load::{self, LoadError, io_error, succeed};
use crate::tools;

/// Builds the program as the tests do, so that no dependency is compiled twice. The copy has a lock
/// file of its own.
const BUILD: &str = "test --offline --quiet --workspace --test by_seed --no-run";

/// Runs the tests that need the locks of shuttle: with those, the others fail. The whole workspace is built,
/// so that no dependency is compiled twice.
const INTERLEAVINGS: &str = "test --locked --workspace --lib --features distributary-egress/shuttle \
     interleavings";

/// Command-line arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of seeds; with --faults at least 125, because only seed 124 reaches some defects.
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// The first seed; alone it is replayed.
    #[arg(long)]
    seed: Option<u64>,

    /// Plant each defect of crates/simulate/faults in a copy of the tree, and expect that one of the
    /// seeds fails.
    #[arg(long)]
    faults: bool,

    /// Run the registries of streams and of sessions under many interleavings of threads instead.
    #[arg(long, conflicts_with_all = ["seeds", "seed", "faults"])]
    interleavings: bool,

    /// Plant only the defects whose names contain this.
    #[arg(long, requires = "faults")]
    only: Option<String>,
}

/// Seeds of the run without a defect.
const BASELINE_SEEDS: u64 = 25;

/// Fewest seeds that reach each defect: the join of audio frames needs 100 viewers on one shard.
const MIN_FAULT_SEEDS: u64 = 125;

/// Simulates, and prints what fails.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let needed: Vec<_> = tools::BUILD.iter().collect();
    tools::ensure(&needed, true)?;
    if options.interleavings {
        return succeed(load::cargo().args(INTERLEAVINGS.split(' ')));
    }
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
    if let Some(line) = first_failure(&copy, target, BASELINE_SEEDS)? {
        return Err(LoadError::Failed(format!(
            "simulate --faults: it fails without a defect: {line}"
        )));
    }
    let seeds = options.seeds.max(MIN_FAULT_SEEDS);
    let mut missed = Vec::new();
    for patch in &patches {
        git_apply(&copy, patch, &[])?;
        let found = first_failure(&copy, target, seeds);
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

/// Builds the copy, simulates up to the first failure, and returns that.
///
/// The copy shares the compiled dependencies of the tree. Its crates have another version, so that they
/// are not taken for those of the tree, and its programs are in a folder of its own.
fn first_failure(copy: &Path, target: &Path, seeds: u64) -> Result<Option<String>, LoadError> {
    let programs = copy.join("target");
    let mut build = load::cargo();
    build
        .args(BUILD.split(' '))
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", &programs)
        .env("CARGO_BUILD_BUILD_DIR", target);
    succeed(&mut build)?;
    let mut program = Command::new(program(&programs));
    program.args(["--stop", "--seeds", &seeds.to_string()]);
    let output = program.output().map_err(io_error("the simulation"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failure = text.lines().find(|line| line.contains(" failed at "));
    Ok(match failure {
        Some(line) => Some(line.to_owned()),
        None if output.status.success() => None,
        // Such as by a panic.
        None => Some(format!("the simulation ended with {}", output.status)),
    })
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
        let Ok(mut contents) = fs::read(&from) else {
            // It is deleted.
            let _ = fs::remove_file(&to);
            continue;
        };
        if file == "Cargo.toml" {
            contents = with_another_version(&contents);
        }
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

/// Returns the manifest of the workspace with another version for its crates.
///
/// Cargo tells crates of two folders apart by name and version alone. With the same version, crates
/// with a planted defect would be taken for those of the tree.
fn with_another_version(manifest: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(manifest);
    let lines = text.lines().map(|line| {
        if line.starts_with("version = ") {
            "version = \"0.0.0-faults\""
        } else {
            line
        }
    });
    let lines: Vec<_> = lines.collect();
    (lines.join("\n") + "\n").into_bytes()
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
