//! The programs that the checks need beyond the Rust toolchain: found, or installed, or named.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::npm::NpmError;
use crate::programs::ProgramError;

/// Something that must be installed, and the Debian packages that have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    name: &'static str,
    probe: Probe,
    packages: &'static [&'static str],
    purpose: &'static str,
}

/// The way to find out whether a tool is installed.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    /// A program of the tool's name is in the path.
    Program,
    /// This command succeeds.
    Command(&'static [&'static str]),
}

impl Tool {
    /// Creates a program that a package of the same name or another has.
    const fn program(
        name: &'static str,
        packages: &'static [&'static str],
        purpose: &'static str,
    ) -> Self {
        Self {
            name,
            probe: Probe::Program,
            packages,
            purpose,
        }
    }

    const fn probed(
        name: &'static str,
        command: &'static [&'static str],
        packages: &'static [&'static str],
        purpose: &'static str,
    ) -> Self {
        Self {
            name,
            probe: Probe::Command(command),
            packages,
            purpose,
        }
    }

    fn is_there(&self) -> bool {
        match self.probe {
            Probe::Program => is_in_path(self.name),
            Probe::Command(command) => succeeds(command),
        }
    }
}

/// Needed to build the workspace.
pub(crate) const BUILD: &[Tool] = &[
    Tool::program("cc", &["gcc"], "builds OpenSSL"),
    Tool::program("make", &["make"], "builds OpenSSL"),
    Tool::program("perl", &["perl"], "builds OpenSSL"),
    Tool::program("c++", &["g++"], "builds libFuzzer"),
];

/// Needed to make packages.
pub(crate) const PACKAGING: &[Tool] = &[
    Tool::program("strip", &["binutils"], "strips the program"),
    Tool::program(
        "dpkg-shlibdeps",
        &["dpkg-dev"],
        "finds the libraries that a package needs",
    ),
    Tool::program("tar", &["tar"], "packs the archive"),
    Tool::program("gzip", &["gzip"], "compresses the archive"),
];

/// Needed to make clips, to publish and to play.
pub(crate) const FFMPEG: &[Tool] = &[Tool::program(
    "ffmpeg",
    &["ffmpeg"],
    "makes clips, publishes and plays RTMP",
)];

/// Needed to watch in the browser that the tests know best.
pub(crate) const CHROMIUM: &[Tool] = &[
    Tool::program("chromium", &["chromium"], "watches"),
    Tool::program("chromedriver", &["chromium-driver"], "drives Chromium"),
];

/// The other clients, and servers, of the tests.
pub(crate) const CLIENTS: &[Tool] = &[
    Tool::program("firefox-esr", &["firefox-esr"], "listens"),
    Tool::program("node", &["nodejs"], "runs libdatachannel"),
    Tool::program(
        "npm",
        &["npm"],
        "installs libdatachannel and fetches players",
    ),
    Tool::program(
        "python3",
        &["python3"],
        "shakes hands as another RTMP implementation",
    ),
    Tool::probed(
        "Python's venv",
        &["python3", "-c", "import venv, ensurepip"],
        &["python3-venv"],
        "keeps the programs from PyPI",
    ),
    Tool::program(
        "openssl",
        &["openssl"],
        "makes certificates for RTMPS, and shakes hands by DTLS",
    ),
    Tool::program("gnutls-cli", &["gnutls-bin"], "shakes hands by DTLS"),
    Tool::program(
        "gst-launch-1.0",
        &["gstreamer1.0-tools"],
        "publishes over RTMP",
    ),
    Tool::probed(
        "GStreamer's FLV and RTMP",
        &["gst-inspect-1.0", "--exists", "rtmp2sink"],
        &["gstreamer1.0-plugins-good", "gstreamer1.0-plugins-bad"],
        "publishes over RTMP",
    ),
    Tool::probed(
        "GStreamer's WebRTC",
        &["gst-inspect-1.0", "--exists", "webrtcbin"],
        &["gstreamer1.0-plugins-bad"],
        "watches",
    ),
    Tool::probed(
        "GStreamer's H264 decoder",
        &["gst-inspect-1.0", "--exists", "avdec_h264"],
        &["gstreamer1.0-libav"],
        "watches",
    ),
    Tool::probed(
        "libnice for GStreamer",
        &["gst-inspect-1.0", "nicesink"],
        &["gstreamer1.0-nice"],
        "connects GStreamer to the gateway",
    ),
    Tool::probed(
        "GStreamer's bindings for Python",
        &[
            "/usr/bin/python3",
            "-c",
            "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('GstSdp', '1.0')",
        ],
        &["python3-gi", "gir1.2-gst-plugins-bad-1.0"],
        "writes the player of GStreamer",
    ),
    Tool::probed(
        "librtmp.h",
        &["sh", "-c", "echo '#include <librtmp/rtmp.h>' | cc -E -"],
        &["librtmp-dev"],
        "publishes over RTMP and RTMPE",
    ),
    Tool::program("rtmpdump", &["rtmpdump"], "plays RTMP"),
    Tool::probed(
        "nginx with RTMP",
        &[
            "sh",
            "-c",
            "command -v nginx && test -e /usr/lib/nginx/modules/ngx_rtmp_module.so",
        ],
        &["nginx-light", "libnginx-mod-rtmp"],
        "is the origin of a pulled stream, and a proxy before the gateway",
    ),
    Tool::program(
        "docker-compose",
        &["docker-compose"],
        "checks the sample for containers",
    ),
];

/// The reason why needed programs are missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// Programs are missing, and may or can not be installed from here.
    #[error("these programs are missing:\n{list}install them{hint}")]
    Missing { list: String, hint: String },
    /// A program of a package registry.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A player from npm.
    #[error(transparent)]
    Npm(#[from] NpmError),
    /// It is not known where to install.
    #[error("the build folder is not known: {0}")]
    Folder(#[from] io::Error),
    /// The package manager failed.
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
}

/// Makes sure that all of `tools` can be run, by installing their packages if `install` is set and
/// this is Debian and root.
pub(crate) fn ensure(tools: &[&Tool], install: bool) -> Result<(), ToolError> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages(&missing);
    if !(install && is_debian() && is_root()) {
        return Err(missing_error(&missing, &packages));
    }
    println!("installing {}", packages.join(" "));
    apt_get(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    apt_get(&arguments)?;
    match self::missing(tools) {
        still if still.is_empty() => Ok(()),
        still => Err(missing_error(&still, &packages)),
    }
}

fn missing<'a>(tools: &[&'a Tool]) -> Vec<&'a Tool> {
    let mut missing = Vec::new();
    for tool in tools {
        if !missing.contains(tool) && !tool.is_there() {
            missing.push(*tool);
        }
    }
    missing
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let packages = tools.iter().flat_map(|tool| tool.packages);
    let mut packages = packages.copied().collect::<Vec<_>>();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn missing_error(missing: &[&Tool], packages: &[&str]) -> ToolError {
    let line = |tool: &&Tool| format!("  {} ({})\n", tool.name, tool.purpose);
    let hint = if is_debian() {
        format!(": apt-get install {}", packages.join(" "))
    } else {
        " (on Debian they are installed by this command when it runs as root)".to_owned()
    };
    ToolError::Missing {
        list: missing.iter().map(line).collect(),
        hint,
    }
}

fn apt_get(arguments: &[&str]) -> Result<(), ToolError> {
    let error = |reason: String| ToolError::Install {
        command: format!("apt-get {}", arguments.join(" ")),
        reason,
    };
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments);
    let status = command
        .status()
        .map_err(|cause: io::Error| error(cause.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(error(status.to_string()))
    }
}

fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn succeeds(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else {
        return false;
    };
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && is_in_path("apt-get")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Tool = Tool::program("no-such-program", &["no-such-package"], "does nothing");
    const FAILING: Tool = Tool::probed("fails", &["false"], &["no-such-package"], "fails");

    #[test]
    fn error_names_a_missing_program_with_package_and_purpose() {
        let error = missing_error(&[&ABSENT], &["no-such-package"]).to_string();
        assert!(error.contains("no-such-program (does nothing)"), "{error}");
        if is_debian() {
            assert!(error.contains("apt-get install no-such-package"), "{error}");
        }
    }

    #[test]
    fn nothing_is_installed_when_it_is_not_wanted() {
        let error = ensure(&[&ABSENT, &FAILING, &ABSENT], false).unwrap_err();
        let ToolError::Missing { list, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(list.lines().count(), 2, "each named once: {list}");
    }
}
