//! Checks the documentation: links lead somewhere, and named keys exist.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use distributary_gateway::Config;
use distributary_gateway::config::environment;
use distributary_gateway::config::reading::Reading;

/// Returns the root of the source.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns every page with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "config/helm/distributary/README.md",
    ];
    let paths = docs.chain(top.map(|page| root().join(page)));
    paths
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// Returns the fenced code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in pages() {
        let targets = text.split("](").skip(1);
        for target in targets.map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let linked = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(linked.exists(), "{}: {target}", path.display());
            if !fragment.is_empty() {
                let text = fs::read_to_string(&linked).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|heading| anchor(heading) == fragment);
                assert!(is_there, "{}: {target}", path.display());
            }
        }
    }
}

/// Returns the text of all files below a folder, with the lines of a literal joined.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(kind) if ["rs", "js", "html"].iter().any(|one| kind == *one) => {
            fs::read_to_string(&path).unwrap()
        }
        _ => String::new(),
    });
    let text = texts.collect::<String>().replace("\\\n", "\n");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Messages are in quotation marks there, and lines of the log in backticks. A number stands for
/// what the source fills in.
#[test]
fn messages_in_the_troubleshooting_page_exist_in_the_sources() {
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let quoted = words.split('"').skip(1).step_by(2);
    let lines = words.split('`').skip(1).step_by(2).filter(|line| {
        line.contains(' ') && line.chars().all(|c| c.is_ascii_lowercase() || c == ' ')
    });
    let messages: Vec<_> = quoted.chain(lines).collect();
    assert!(messages.len() > 15, "{messages:?}");
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let folders = crates.map(|entry| entry.unwrap().path().join("src"));
    let folders = folders.filter(|folder| folder.exists());
    let sources: String = folders
        .chain([root().join("web")])
        .map(|folder| sources(&folder))
        .collect();
    for message in messages {
        let is_filled_in = |c: char| c.is_ascii_digit();
        for part in message.split(is_filled_in).map(str::trim) {
            let is_unit = part.len() < 2;
            assert!(is_unit || sources.contains(part), "{message:?}: {part:?}");
        }
    }
}

#[test]
fn example_configurations_are_valid() {
    let mut examples = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "toml") {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(block.as_bytes()).unwrap();
            let errors = Reading::of_file(file.path()).errors;
            assert!(errors.is_empty(), "{}: {errors:?}\n{block}", path.display());
            examples += 1;
        }
    }
    assert!(examples > 5, "the examples are found");
}

#[test]
fn environment_variables_are_keys() {
    let samples = [
        "docker-compose.yml",
        "docker-compose.ports.yml",
        "docker-compose.turn.yml",
        "docker-compose.cluster.yml",
        "config/helm/nats.yml",
        "config/helm/distributary/values.yaml",
        "config/helm/distributary/templates/_environment.tpl",
        "config/kubernetes/distributary.yml",
        "config/systemd/distributary.service",
    ];
    let samples = samples.map(|name| {
        let path = root().join(name);
        (path.clone(), fs::read_to_string(&path).unwrap())
    });
    let mut named = 0;
    for (path, text) in pages().into_iter().chain(samples) {
        let is_end = |c: char| !(c.is_ascii_uppercase() || c == '_');
        for rest in text.split("DISTRIBUTARY_").skip(1) {
            let name = rest.split(is_end).next().unwrap();
            if name.is_empty() {
                // The prefix of all of them.
                continue;
            }
            let variable = (format!("DISTRIBUTARY_{name}"), String::new());
            // A key that does not accept the empty text exists all the same.
            let applied = environment::apply(Config::default(), [variable].into_iter());
            let unknown = applied.unknown;
            assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
            named += 1;
        }
    }
    assert!(named > 3, "the variables are found");
}

#[test]
fn named_keys_exist() {
    let reference = fs::read_to_string(root().join("config/distributary.toml")).unwrap();
    let is_key = |name: &str| {
        let mut lines = reference
            .lines()
            .map(|line| line.trim_start_matches(['#', ' ']));
        lines.any(|line| line.starts_with(&format!("{name} =")))
    };
    for (path, text) in pages() {
        // Inline code, such as `max = 5`.
        for line in text.lines().filter(|line| !line.starts_with("    ")) {
            for code in line.split('`').skip(1).step_by(2) {
                let assigned = code.split_once(" = ").map(|(left, _)| left);
                let Some(name) = assigned.and_then(|left| left.split(' ').next_back()) else {
                    continue;
                };
                assert!(is_key(name), "{}: {code}", path.display());
            }
        }
    }
}

#[test]
fn kubernetes_runs_the_image_of_this_version() {
    let chart = root().join("config/helm/distributary/Chart.yaml");
    let chart = fs::read_to_string(chart).unwrap();
    for key in ["version", "appVersion"] {
        let line = format!("\n{key}: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(chart.contains(&line), "{line}");
    }
    let manifest = root().join("config/kubernetes/distributary.yml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let image = concat!(
        "image: distributary:",
        env!("CARGO_PKG_VERSION"),
        "-ffmpeg\n"
    );
    assert!(manifest.contains(image), "{image}");
}
