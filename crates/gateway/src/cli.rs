//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use clap_complete::Shell;
use distributary_auth::HttpUrl;
use distributary_net::{ListenAddress, OptionalAddress};
use serde::Serialize;
use toml::Table;

use crate::commands::import::Server;
use crate::config::environment::{self, UnknownVariable};
use crate::config::reading::Reading;
use crate::config::{Config, ConfigErrors};
use crate::logging::LogFormat;
use crate::versions;

/// WebRTC egress gateway: one publisher in over RTMP, thousands of viewers out over WebRTC (WHEP).
///
/// Without any option it listens on the default ports of all interfaces. Options override the
/// configuration file and DISTRIBUTARY_... in the environment.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "distributary",
    version,
    long_version = versions::long(),
    args_conflicts_with_subcommands = true
)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "these texts are the help, and [::] is an address in it"
)]
pub struct Cli {
    /// Read the configuration from this file
    ///
    /// "distributary config" prints a file with every key, its default and its explanation.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Flags that are keys of the configuration.
    #[command(flatten)]
    pub flags: Flags,

    /// Also publish the built-in test clip as live/demo
    #[arg(long)]
    pub demo: bool,

    /// Print a QR code of the address at which others watch
    #[arg(long)]
    pub qr: bool,

    /// A command other than serving.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// Flags that override the keys of the same name.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "these texts are the help, and [::] is an address in it"
)]
pub struct Flags {
    /// Listen here for RTMP publishers [default: [::]:1935]
    ///
    /// host:port over TCP, or a port of all interfaces. [::] accepts IPv4 too. With port 0 the
    /// system chooses one, which is printed at startup.
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<ListenAddress>,

    /// Listen here for HTTP: WHEP, the API and the page [default: [::]:8080]
    ///
    /// host:port over TCP, or a port of all interfaces. [::] accepts IPv4 too. With port 0 the
    /// system chooses one, which is printed at startup.
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<ListenAddress>,

    /// Send and receive WebRTC media here [default: [::]:8189]
    ///
    /// host:port over UDP, or a port of all interfaces; it serves all viewers. [::] accepts IPv4
    /// too. With port 0 the system chooses one, which is printed at startup.
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webrtc: Option<ListenAddress>,

    /// Listen here for the admin API and for Prometheus [default: 127.0.0.1:8180]
    ///
    /// host:port or a port, over TCP; an empty text turns it off. An address that other machines
    /// can reach needs the key admin_token, or DISTRIBUTARY_ADMIN_TOKEN in the environment.
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<OptionalAddress>,

    /// Tell viewers to send to this host; may be given more than once
    ///
    /// An IP address, or a name that is resolved at startup. Needed behind NAT and in containers
    /// with published ports: the address at which viewers reach this machine. Without it every
    /// address of every network interface is announced.
    #[arg(long, value_name = "HOST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,

    /// Log this much: error, warn, info, debug or trace [default: info]
    ///
    /// Levels by module are possible too: warn,distributary_rtmp=debug
    #[arg(long, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,

    /// Write the log as text or as json, one object per line [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

/// A command other than serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Report everything that would prevent a start
    ///
    /// Checks the file, DISTRIBUTARY_... in the environment and the flags, as a start would use
    /// them: values, certificates and other files, ports that collide, an open admin API. It binds
    /// no port and resolves no name. Exits with 1 after an error, not after a warning.
    Check {
        /// The configuration file
        file: Option<PathBuf>,
        /// Flags as at the start.
        #[command(flatten)]
        flags: Flags,
    },
    /// Check whether a running gateway accepts viewers
    ///
    /// Exits with 1 when it drains, responds otherwise or cannot be reached.
    Health {
        /// Its HTTP listen address [default: that of the configuration]
        address: Option<ListenAddress>,
        /// Read its HTTP listen address from this file
        #[arg(long, value_name = "FILE", conflicts_with = "address")]
        config: Option<PathBuf>,
        /// Its URL from here, such as `https://gateway.example`
        #[arg(long, conflicts_with_all = ["address", "config"])]
        url: Option<HttpUrl>,
        /// Also trust the certificates of this PEM file: that of the gateway, or of its issuer
        #[arg(long, value_name = "FILE", requires = "url")]
        ca: Option<PathBuf>,
        /// Trust every certificate
        #[arg(long, requires = "url", conflicts_with = "ca")]
        insecure: bool,
    },
    /// Find out why viewers do not connect, and what to do
    ///
    /// Examines addresses, ports, reachability by STUN, clock, limits, ffmpeg and certificates. Asks
    /// the running gateway on this machine; without one, examines the machine itself. Exits with 1
    /// after an error, not after a warning.
    Doctor {
        /// The configuration file of the gateway
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The URL of the admin API, such as `http://127.0.0.1:8180` [default: that of the configuration]
        #[arg(long)]
        url: Option<HttpUrl>,
    },
    /// Print the configuration file with every key, its default and its explanation
    Config,
    /// Convert the configuration of MediaMTX, SRS or nginx-rtmp
    ///
    /// Prints a configuration file with what has a counterpart, and the rest as comments and on
    /// standard error.
    Import {
        /// mediamtx.yml, srs.conf or nginx.conf
        file: PathBuf,
        /// The server [default: by the name and the content of the file]
        #[arg(long, value_name = "SERVER")]
        from: Option<Server>,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
}

impl Cli {
    /// Reads the configuration: the file if there is one, overridden by the environment, overridden
    /// by the flags.
    pub fn read(&self) -> Reading {
        let named = std::env::var_os(environment::CONFIG_FILE).map(PathBuf::from);
        let file = self.config.as_ref().or(named.as_ref());
        let reading = file.map_or_else(Reading::default, |path| Reading::of_file(path));
        let mut reading = reading.with_environment(variables());
        reading.config = self.flags.over(reading.config);
        reading
    }

    /// Returns the configuration if nothing is wrong with its sources.
    ///
    /// # Errors
    /// Returns every error of the file and the environment.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        self.read().result()
    }
}

/// Warns of environment variables that look like keys and are none.
pub fn warn_of_unknown(variables: &[UnknownVariable]) {
    for UnknownVariable { name, nearest } in variables {
        tracing::warn!(
            variable = name,
            nearest,
            "this environment variable is not a configuration key and is ignored"
        );
    }
}

impl Flags {
    /// Returns `config` with the given flags in place of its keys.
    fn over(&self, config: Config) -> Config {
        let merged = || {
            let mut table = Table::try_from(&config)?;
            table.extend(Table::try_from(self)?);
            let config = table.try_into::<Config>();
            Ok::<_, Box<dyn std::error::Error>>(config?)
        };
        // A flag has the type of its key, so the merged table is a valid configuration.
        merged().unwrap_or(config)
    }
}

/// Returns the environment. Variables that are not UTF-8 are skipped.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use distributary_config::KeyPath;

    fn parse(arguments: &[&str]) -> Cli {
        let program = std::iter::once("distributary");
        Cli::try_parse_from(program.chain(arguments.iter().copied())).unwrap()
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_the_defaults() {
        let help = Cli::command().render_help().to_string();
        let config = Config::default();
        for default in [
            config.rtmp.to_string(),
            config.http.to_string(),
            config.webrtc.to_string(),
            config.admin.to_string(),
            config.log,
        ] {
            assert!(help.contains(&format!("[default: {default}]")), "{help}");
        }
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "rtmp = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\nadvertise = [\"192.0.2.1\"]\n",
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        let config = parse(&["--config", path, "--rtmp", "127.0.0.1:3", "--log", "debug"])
            .config()
            .unwrap();
        assert_eq!(config.rtmp.to_string(), "127.0.0.1:3");
        assert_eq!(config.http.to_string(), "127.0.0.1:2");
        assert_eq!(config.webrtc, Config::default().webrtc);
        assert_eq!(config.advertise, ["192.0.2.1"]);
        assert_eq!(config.log, "debug");

        let config = parse(&["--config", path, "--advertise", "a", "--advertise", "b"]);
        assert_eq!(config.config().unwrap().advertise, ["a", "b"]);
    }

    #[test]
    fn every_flag_sets_the_key_of_its_name() {
        let known: Vec<_> = Config::keys().iter().map(KeyPath::dotted).collect();
        let flags = Flags::augment_args(clap::Command::new("distributary"));
        for flag in flags.get_arguments() {
            let name = flag.get_id().as_str();
            assert!(known.contains(&name.to_owned()), "{name}");
            let value = match name {
                "log_format" => "json",
                "log" => "warn",
                "advertise" => "192.0.2.1",
                _ => "127.0.0.1:9",
            };
            let option = format!("--{}", flag.get_long().unwrap());
            let table = |config| Table::try_from(config).unwrap();
            let before = table(Config::default());
            let config = parse(&[&option, value]).flags.over(Config::default());
            let after = table(config);
            let changed = after.iter().filter(|(key, value)| before[*key] != **value);
            let changed: Vec<_> = changed.map(|(key, _)| key).collect();
            assert_eq!(changed, [name]);
        }
    }

    #[test]
    fn port_alone_is_an_address() {
        let config = parse(&["--http", "81", "--admin", ":82"]).config().unwrap();
        assert_eq!(config.http.to_string(), "[::]:81");
        assert_eq!(config.admin.to_string(), "[::]:82");
    }

    #[test]
    fn invalid_address_is_reported_with_its_flag() {
        let result = Cli::try_parse_from(["distributary", "--http", "x"]);
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("--http") && error.contains("instead of \"x\""),
            "{error}"
        );
    }
}
