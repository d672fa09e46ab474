//! Rules for pulls: the streams, and their sources.

use std::path::PathBuf;
use std::time::Duration;

use distributary_names::{StreamName, StreamPattern};
use distributary_tls::{AuthorityError, TlsClient};
use serde::{Deserialize, Serialize};

use crate::proto::swf::{FlashProgram, SwfError};
use crate::proto::url::{StreamUrl, UrlError};
use crate::server::swf_source::SwfSource;

/// An entry of `[[pull]]`: streams that are pulled from another RTMP server on demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PullRule {
    /// The streams.
    #[serde(rename = "match")]
    pub streams: StreamPattern,
    /// The URL to pull from. A `*` in it is replaced by the text that the `*` of the pattern
    /// matches. Without a `*` in it that text is appended: `live/*` from `rtmp://origin/live` pulls
    /// `live/a` from `rtmp://origin/live/a`.
    pub from: String,
    /// Time after which a stream without viewers is dropped.
    #[serde(default = "default_idle_timeout", with = "distributary_config::time")]
    pub idle_timeout: Duration,
    /// URL of the Flash program, which is sent to the server; empty for none. The program is
    /// downloaded if the server asks for SWF verification and `swf` is not set.
    #[serde(default)]
    pub swf_url: String,
    /// The Flash program with which the gateway answers SWF verification.
    #[serde(default)]
    pub swf: SwfSource,
    /// PEM file of the authorities that are trusted for `rtmps://`; empty for those of the system.
    #[serde(default)]
    pub ca: PathBuf,
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(10)
}

/// The error of a rule whose URLs are not URLs of RTMP streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("from = {from:?}: {source}")]
pub struct PullRuleError {
    from: String,
    source: UrlError,
}

impl PullRule {
    /// Returns a rule that pulls these streams from the URL `from`.
    ///
    /// # Errors
    /// Returns [`PullRuleError`] if `from` does not lead to URLs of RTMP streams.
    pub fn new(
        streams: StreamPattern,
        from: &str,
        idle_timeout: Duration,
    ) -> Result<Self, PullRuleError> {
        let rule = Self {
            streams,
            from: from.to_owned(),
            idle_timeout,
            swf_url: String::new(),
            swf: SwfSource::default(),
            ca: PathBuf::new(),
        };
        rule.check()?;
        Ok(rule)
    }

    /// Checks that the rule leads to URLs of RTMP streams.
    fn check(&self) -> Result<(), PullRuleError> {
        // The `*` may match a whole name.
        let checked = self.url_of("a/a").map(drop);
        checked.map_err(|source| PullRuleError {
            from: self.from.clone(),
            source,
        })
    }

    /// Returns the URL to pull the stream `name` from; `None` if the rule does not match it.
    pub fn source(&self, name: &StreamName) -> Option<StreamUrl> {
        self.url_of(self.streams.matches(name)?).ok()
    }

    fn url_of(&self, matched: &str) -> Result<StreamUrl, UrlError> {
        if self.streams.is_wild() && !self.from.contains('*') {
            return format!("{}/{matched}", self.from.trim_end_matches('/')).parse();
        }
        self.from.replacen('*', matched, 1).parse()
    }

    /// Returns the TLS client with the authorities of the rule; `None` for those of the system.
    ///
    /// # Errors
    /// Returns [`AuthorityError`] if the file cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<TlsClient>, AuthorityError> {
        let is_own = !self.ca.as_os_str().is_empty();
        is_own.then(|| TlsClient::of_file(&self.ca)).transpose()
    }

    /// Returns the Flash program that the gateway presents itself as; `None` for none.
    ///
    /// # Errors
    /// Returns [`SwfError`] if the program cannot be read.
    pub(crate) fn flash(&self) -> Result<Option<FlashProgram>, SwfError> {
        let swf = self.swf.load()?;
        let url = self.swf_url.clone();
        let is_flash = swf.is_some() || !url.is_empty();
        Ok(is_flash.then_some(FlashProgram { url, swf }))
    }
}

distributary_config::serde_checked!(PullRule);

/// A rule with its files, which were read.
#[derive(Clone, Debug)]
pub(crate) struct LoadedRule {
    pub(crate) rule: PullRule,
    pub(crate) flash: Option<FlashProgram>,
    pub(crate) tls: Option<TlsClient>,
}

impl LoadedRule {
    /// Returns the source of the stream `name`; `None` if the rule does not match it.
    pub(crate) fn source(&self, name: &StreamName) -> Option<StreamUrl> {
        let url = self.rule.source(name)?;
        Some(match &self.flash {
            Some(program) => url.as_flash(program.clone()),
            None => url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(streams: &str, from: &str, name: &str) -> Option<String> {
        let rule = PullRule::new(streams.parse().unwrap(), from, Duration::ZERO).unwrap();
        let source = rule.source(&StreamName::parse(name).unwrap())?;
        Some(source.to_string())
    }

    #[test]
    fn star_of_the_source_is_replaced_by_the_matched_text() {
        let expected = Some("rtmp://origin:1935/app/show".to_owned());
        for (streams, from) in [
            ("live/*", "rtmp://origin/app"),
            ("live/*", "rtmp://origin/app/"),
            ("live/*", "rtmp://origin/app/*"),
            ("live/show", "rtmp://origin/app/show"),
        ] {
            assert_eq!(source(streams, from, "live/show"), expected, "{from}");
            assert_eq!(source(streams, from, "other/show"), None);
        }
        let key = source("live/*", "rtmp://origin:1/app/*?key=s", "live/eu/show");
        assert_eq!(key.as_deref(), Some("rtmp://origin:1/app/eu/show"));
        assert_eq!(
            source("*", "rtmp://origin", "live/show").as_deref(),
            Some("rtmp://origin:1935/live/show")
        );
        for (streams, from) in [("cam", "rtmp://origin/cam"), ("*", "rtmp://origin")] {
            assert_eq!(
                source(streams, from, "cam").as_deref(),
                Some("rtmp://origin:1935/cam")
            );
        }
    }

    #[test]
    fn source_that_is_not_a_stream_url_is_refused() {
        let refused = |streams: &str, from| {
            let rule = PullRule::new(streams.parse().unwrap(), from, Duration::ZERO);
            rule.unwrap_err().source
        };
        assert_eq!(refused("live/a", "rtmp://origin"), UrlError::NoStream);
        assert_eq!(
            refused("live/*", "http://origin/live"),
            UrlError::Scheme("http".into())
        );
    }

    #[test]
    fn entry_of_the_configuration_is_checked() {
        let read = |from: &str| {
            let entry = format!("{{\"match\": \"live/*\", \"from\": {from:?}}}");
            serde_json::from_str::<PullRule>(&entry)
        };
        let rule = read("rtmp://origin/live").unwrap();
        assert_eq!(rule.idle_timeout, Duration::from_secs(10));
        let written = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<PullRule>(&written).unwrap(), rule);
        let error = read("https://origin/live").unwrap_err().to_string();
        assert!(
            error.starts_with("from = \"https://origin/live\": "),
            "{error}"
        );
    }
}
