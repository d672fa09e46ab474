//! The section `[cluster]` of the configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::rustls::pki_types::pem::{self, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use distributary_config::{Section, time};
use serde::{Deserialize, Serialize};

use crate::public_url::is_public_url;
use crate::share::Share;

/// Maximum length of the name of a cluster, a node or a zone, in bytes.
const MAX_LABEL_LEN: usize = 63;

/// The section `[cluster]`. The cluster is off unless `nats` has a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// URLs of NATS servers, such as `nats://10.0.0.1:4222`; empty for no cluster.
    pub nats: Vec<String>,
    /// Name of the cluster. Gateways with the same name and the same NATS servers share streams.
    pub name: Label,
    /// Name of this node, which no other node has; empty for the name of the host.
    pub node: String,
    /// Zone of this node, such as a data center.
    pub zone: Label,
    /// URL under which players reach the HTTP listener of this node; empty if it has none.
    pub public_url: String,
    /// User at the NATS servers.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Token at the NATS servers, in place of user and password.
    pub token: String,
    /// PEM file with the authorities that the NATS servers' certificates are checked against; empty
    /// for those of the system.
    pub ca: PathBuf,
    /// PEM file with the certificate that this node shows to the NATS servers.
    pub certificate: PathBuf,
    /// PEM file with the key of `certificate`.
    pub key: PathBuf,
    /// Load from which new viewers are redirected to other nodes of the zone: the share of the CPU time
    /// or of the maximum number of viewers, whichever is higher. 1 is never.
    pub redirect_at: Share,
    /// Policy for publishers while the arbiter of stream names does not answer.
    pub without_arbiter: WithoutArbiter,
    /// Silence of a stream's owner after which an edge asks again for the owner.
    #[serde(with = "time")]
    pub silence: Duration,
}

/// The policy for publishers while the arbiter of stream names does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutArbiter {
    /// Publishers are accepted. If two publish one name, the arbiter decides when it is back.
    #[default]
    Allow,
    /// Publishers are refused.
    Refuse,
}

/// A short name that can stand in a subject of NATS: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// A text is not a [`Label`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {MAX_LABEL_LEN} letters, digits, \"-\" and \"_\", such as studio-1, instead of {0:?}"
)]
pub struct LabelError(String);

impl Label {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_valid = (1..=MAX_LABEL_LEN).contains(&text.len()) && text.bytes().all(is_allowed);
        if is_valid {
            Ok(Self(text.into()))
        } else {
            Err(LabelError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

distributary_config::serde_as_text!(Label);

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            nats: Vec::new(),
            name: Label("distributary".into()),
            node: String::new(),
            zone: Label("default".into()),
            public_url: String::new(),
            user: String::new(),
            password: String::new(),
            token: String::new(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            redirect_at: Share::percent(90),
            without_arbiter: WithoutArbiter::default(),
            silence: Duration::from_millis(600),
        }
    }
}

impl ClusterConfig {
    /// Returns whether the cluster is configured.
    pub fn is_enabled(&self) -> bool {
        !self.nats.is_empty()
    }

    /// Returns the name of this node.
    ///
    /// # Errors
    /// Returns [`ConfigFault::Node`] if the configured name, or that of the host, is not a
    /// [`Label`].
    pub fn node(&self) -> Result<Label, ConfigFault> {
        if self.node.is_empty() {
            let host = host_name();
            // The domain says nothing that the host's own name does not say within a cluster.
            let short = host.split('.').next().unwrap_or_default();
            short.parse().map_err(ConfigFault::Host)
        } else {
            self.node.parse().map_err(ConfigFault::Node)
        }
    }

    /// Returns what works only in part.
    pub fn warnings(&self) -> Vec<String> {
        let is_missing = self.is_enabled() && self.public_url.is_empty();
        let warning = "[cluster] public_url is not set: viewers of other nodes are not sent to this node when \
                       theirs fails, drains or is overloaded; set it to the URL at which players reach this node";
        is_missing.then(|| warning.to_owned()).into_iter().collect()
    }

    /// Returns every reason why the section cannot be used.
    pub fn check(&self) -> Vec<ConfigFault> {
        if !self.is_enabled() {
            return Vec::new();
        }
        let mut faults: Vec<_> = self.node().err().into_iter().collect();
        for url in &self.nats {
            faults.extend(url_fault(url));
        }
        if self.user.is_empty() != self.password.is_empty() {
            faults.push(ConfigFault::Password);
        }
        if !self.token.is_empty() && !self.user.is_empty() {
            faults.push(ConfigFault::TokenAndUser);
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            faults.push(ConfigFault::Certificate);
        }
        for (key, file) in [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ] {
            if !file.as_os_str().is_empty()
                && let Err(reason) = read_pem(key, file)
            {
                let file = file.clone();
                faults.push(ConfigFault::File { key, file, reason });
            }
        }
        if !self.public_url.is_empty() && !is_public_url(&self.public_url) {
            faults.push(ConfigFault::PublicUrl(self.public_url.clone()));
        }
        if self.silence < MIN_SILENCE {
            faults.push(ConfigFault::Silence(self.silence));
        }
        faults
    }
}

/// Returns the reason why the URL of a server cannot be used. It never has the credentials in it.
fn url_fault(url: &str) -> Option<ConfigFault> {
    if url.contains('@') {
        return Some(ConfigFault::UrlUser);
    }
    let parsed = url.parse::<async_nats::ServerAddr>();
    parsed.is_err().then(|| ConfigFault::Url(url.to_owned()))
}

/// Reads the PEM file of a key of the configuration. `Err` if it has nothing of the kind.
fn read_pem(key: &str, file: &Path) -> Result<(), String> {
    let result = if key == "key" {
        PrivateKeyDer::from_pem_file(file).map(drop)
    } else {
        CertificateDer::pem_file_iter(file).and_then(|certificates| {
            let read = certificates.collect::<Result<Vec<_>, _>>()?;
            read.first().map(drop).ok_or(pem::Error::NoItemsFound)
        })
    };
    result.map_err(|error| match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "the file has no PEM block of this kind".to_owned(),
        error => error.to_string(),
    })
}

/// Minimum of `silence`: owners send something every 200 ms, and one of these may be late.
const MIN_SILENCE: Duration = Duration::from_millis(400);

/// The section `[cluster]` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// The name of the node is not valid.
    #[error("[cluster] node: {0}")]
    Node(LabelError),
    /// The name of the host cannot be used as that of the node.
    #[error("[cluster]: the name of this host cannot name the node: {0}: set node")]
    Host(LabelError),
    /// A URL of a server is not valid.
    #[error("[cluster] nats: expected a URL such as nats://10.0.0.1:4222 instead of {0:?}")]
    Url(String),
    /// A URL of a server has a user, which would be shown with it.
    #[error(
        "[cluster] nats: give the user in the keys user and password, or token, instead of in the URL"
    )]
    UrlUser,
    /// There is a user without a password or the other way round.
    #[error("[cluster]: set both user and password, or neither")]
    Password,
    /// Two ways to authenticate.
    #[error("[cluster]: set token, or user and password, and not both")]
    TokenAndUser,
    /// There is a certificate without a key or the other way round.
    #[error("[cluster]: set both certificate and key, or neither")]
    Certificate,
    /// A file cannot be read.
    #[error("[cluster] {key} = \"{}\": {reason}", file.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// The error of the system.
        reason: String,
    },
    /// The public URL is not valid.
    #[error("[cluster] public_url: expected a URL such as https://node1.example instead of {0:?}")]
    PublicUrl(String),
    /// The silence is shorter than the time between two signs of life.
    #[error("[cluster] silence = {0:?}: expected at least {MIN_SILENCE:?}")]
    Silence(Duration),
}

fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_servers_nothing_is_checked() {
        let config = ClusterConfig {
            node: "a b".to_owned(),
            ..ClusterConfig::default()
        };
        assert!(!config.is_enabled());
        assert_eq!(config.check(), []);
    }

    #[test]
    fn every_unusable_value_is_reported() {
        let config = ClusterConfig {
            nats: vec!["nats://10.0.0.1:4222".to_owned(), "nats://[".to_owned()],
            node: "a b".to_owned(),
            user: "gateway".to_owned(),
            certificate: "/nowhere/node.pem".into(),
            public_url: "node1.example".to_owned(),
            silence: Duration::from_millis(100),
            ..ClusterConfig::default()
        };
        let faults: Vec<_> = config.check().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "[cluster] node: expected 1 to 63 letters, digits, \"-\" and \"_\", such as studio-1, \
                 instead of \"a b\"",
                "[cluster] nats: expected a URL such as nats://10.0.0.1:4222 instead of \"nats://[\"",
                "[cluster]: set both user and password, or neither",
                "[cluster]: set both certificate and key, or neither",
                "[cluster] certificate = \"/nowhere/node.pem\": No such file or directory (os error 2)",
                "[cluster] public_url: expected a URL such as https://node1.example instead of \
                 \"node1.example\"",
                "[cluster] silence = 100ms: expected at least 400ms",
            ]
        );
    }

    #[test]
    fn user_in_a_url_is_refused_and_not_shown() {
        let config = ClusterConfig {
            nats: vec!["nats://gateway:secret@10.0.0.1:4222".to_owned()],
            ..ClusterConfig::default()
        };
        let faults = config.check();
        assert_eq!(faults, [ConfigFault::UrlUser]);
        assert!(!faults[0].to_string().contains("secret"));
    }

    #[test]
    fn file_without_what_it_should_have_is_refused() {
        // A file that exists everywhere, and is not PEM.
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let config = ClusterConfig {
            nats: vec!["nats://10.0.0.1:4222".to_owned()],
            ca: file.clone(),
            certificate: file.clone(),
            key: file,
            ..ClusterConfig::default()
        };
        let faults = config.check();
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, expected) in faults.iter().zip(["ca", "certificate", "key"]) {
            assert!(matches!(fault, ConfigFault::File { key, .. } if *key == expected));
        }
    }

    #[test]
    fn node_has_the_name_of_the_host_unless_it_is_set() {
        let named = ClusterConfig {
            node: "studio-1".to_owned(),
            ..ClusterConfig::default()
        };
        assert_eq!(named.node().unwrap().as_str(), "studio-1");
        let host = host_name();
        if let Ok(node) = ClusterConfig::default().node() {
            assert!(host.starts_with(node.as_str()));
        }
    }
}
