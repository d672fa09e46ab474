//! Every seed goes through its target without a finding.

use std::fs;
use std::path::{Path, PathBuf};

use distributary_fuzz::TARGETS;

#[test]
fn every_target_has_seeds_and_passes_them() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "seeds/{name} has no file");
        for path in seeds {
            println!("{}", path.display());
            let whole = fs::read(&path).expect("the seed is readable");
            target(&whole);
            // Half a message is what a hostile or broken peer sends first.
            target(&whole[..whole.len() / 2]);
        }
    }
}

#[test]
fn every_folder_of_seeds_belongs_to_a_target() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds"));
    for folder in folders.expect("the folder exists") {
        let name = folder.expect("the folder is readable").file_name();
        assert!(
            TARGETS.iter().any(|(target, _)| name == *target),
            "{}",
            name.display()
        );
    }
}

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let files = fs::read_dir(folder).expect("every target has a folder of seeds");
    files
        .map(|file| file.expect("the folder is readable").path())
        .collect()
}
