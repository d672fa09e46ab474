//! Compiles libopus with the C compiler, as its own build does: floating point, with SIMD that is
//! selected when the program runs.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folders of its source that every machine needs.
const FOLDERS: [&str; 4] = ["celt", "silk", "silk/float", "src"];

fn main() {
    let source = Path::new("libopus");
    println!("cargo::rerun-if-changed=libopus");
    println!("cargo::rerun-if-changed=build.rs");
    let version = fs::read_to_string(source.join("VERSION")).expect("libopus/VERSION");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("set by Cargo");

    let mut build = cc::Build::new();
    // Debug builds encode real audio, too.
    build.opt_level(3).warnings(false);
    for folder in ["include", "celt", "silk", "silk/float", "src", "."] {
        build.include(source.join(folder));
    }
    build.define("PACKAGE_VERSION", &*format!("\"{}\"", version.trim()));
    for name in [
        "OPUS_BUILD",
        // Checks of array bounds that end the program.
        "ENABLE_HARDENING",
        "FLOAT_APPROX",
        "HAVE_LRINT",
        "HAVE_LRINTF",
    ] {
        build.define(name, "1");
    }
    if build.get_compiler().is_like_msvc() {
        build.define("USE_ALLOCA", "1");
    } else {
        build.define("VAR_ARRAYS", "1");
        build.flag("-fstack-protector-strong");
    }
    let sets = match &*architecture {
        "x86_64" => x86_64(&mut build),
        "aarch64" => aarch64(&mut build),
        _ => Vec::new(),
    };
    for (n, set) in sets.iter().enumerate() {
        let mut simd = build.clone();
        for flag in set.flags {
            simd.flag_if_supported(flag);
        }
        let files = set.folders.iter().flat_map(|at| files(&source.join(at)));
        simd.files(files.filter(|file| (set.contains)(stem(file))));
        simd.compile(&format!("distributary_opus_simd{n}"));
    }
    build.files(
        FOLDERS
            .iter()
            .flat_map(|folder| files(&source.join(folder))),
    );
    build.compile("distributary_opus");
}

/// Files with instructions that not every machine has.
struct SimdFiles {
    folders: &'static [&'static str],
    contains: fn(&str) -> bool,
    flags: &'static [&'static str],
}

/// Every machine has SSE2; SSE4.1 and AVX2 are selected when the program runs.
fn x86_64(build: &mut cc::Build) -> Vec<SimdFiles> {
    for name in [
        "OPUS_HAVE_RTCD",
        "CPU_INFO_BY_C",
        "OPUS_X86_MAY_HAVE_SSE",
        "OPUS_X86_PRESUME_SSE",
        "OPUS_X86_MAY_HAVE_SSE2",
        "OPUS_X86_PRESUME_SSE2",
        "OPUS_X86_MAY_HAVE_SSE4_1",
        "OPUS_X86_MAY_HAVE_AVX2",
    ] {
        build.define(name, "1");
    }
    const FOLDERS: &[&str] = &["celt/x86", "silk/x86", "silk/float/x86"];
    let is_sse4_1 = |stem: &str| stem.ends_with("_sse4_1");
    let is_avx2 = |stem: &str| stem.ends_with("_avx") || stem.ends_with("_avx2");
    let is_any = |stem: &str| {
        !["_sse4_1", "_avx", "_avx2"]
            .iter()
            .any(|end| stem.ends_with(end))
    };
    let set = |contains, flags| SimdFiles {
        folders: FOLDERS,
        contains,
        flags,
    };
    vec![
        set(is_any, &[]),
        set(is_sse4_1, &["-msse4.1"]),
        set(is_avx2, &["-mavx", "-mavx2", "-mfma"]),
    ]
}

/// Every machine has NEON.
fn aarch64(build: &mut cc::Build) -> Vec<SimdFiles> {
    for name in [
        "OPUS_ARM_MAY_HAVE_NEON",
        "OPUS_ARM_MAY_HAVE_NEON_INTR",
        "OPUS_ARM_PRESUME_NEON",
        "OPUS_ARM_PRESUME_NEON_INTR",
        "OPUS_ARM_PRESUME_AARCH64_NEON_INTR",
    ] {
        build.define(name, "1");
    }
    vec![SimdFiles {
        folders: &["celt/arm", "silk/arm"],
        contains: |stem| stem.contains("neon"),
        flags: &[],
    }]
}

/// Returns the C files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of libopus");
    let paths = entries.map(|entry| entry.expect("a file of libopus").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "c"))
        .collect();
    files.sort();
    files
}

fn stem(file: &Path) -> &str {
    file.file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default()
}
