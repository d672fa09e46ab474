//! Which streams are pulled, and from where.

use std::time::Duration;

use distributary_names::{StreamName, StreamPattern};
use serde::{Deserialize, Serialize};

use crate::client::{StreamUrl, UrlError};
use crate::proto::swf::{FlashProgram, SwfError};
use crate::server::swf_source::SwfSource;

/// An entry of `[[pull]]`: streams that are fetched from another RTMP server when somebody asks for
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PullRule {
    /// The streams.
    #[serde(rename = "match")]
    pub streams: StreamPattern,
    /// The URL to pull from. A `*` in it stands for what the `*` of the pattern stood for; where
    /// the pattern has one and the URL has none, it is appended: `live/*` from `rtmp://origin/live`
    /// pulls `live/a` from `rtmp://origin/live/a`.
    pub from: String,
    /// Time after which a stream without viewers is dropped.
    #[serde(default = "default_idle_timeout", with = "distributary_config::time")]
    pub idle_timeout: Duration,
    /// URL of the Flash program that the server is told; empty for none. Where the server asks for
    /// SWF verification and `swf` is not given, the program is downloaded.
    #[serde(default)]
    pub swf_url: String,
    /// The Flash program that the gateway proves to play when the server asks.
    #[serde(default)]
    pub swf: SwfSource,
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(10)
}

/// A rule makes URLs that are not those of RTMP streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("from = {from:?}: {source}")]
pub struct PullRuleError {
    from: String,
    source: UrlError,
}

impl PullRule {
    /// A rule by which the streams of these names are pulled from the URL `from`.
    ///
    /// # Errors
    /// When the URLs it makes are not those of RTMP streams.
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
        };
        rule.check()?;
        Ok(rule)
    }

    /// Checks that the rule makes URLs of RTMP streams.
    fn check(&self) -> Result<(), PullRuleError> {
        // The `*` may be the whole name, which has two parts.
        let checked = self.url_of("a/a").map(drop);
        checked.map_err(|source| PullRuleError {
            from: self.from.clone(),
            source,
        })
    }

    /// Returns the URL from which the stream `name` is pulled; `None` if the rule is not for it.
    pub fn source(&self, name: &StreamName) -> Option<StreamUrl> {
        self.url_of(self.streams.matches(name)?).ok()
    }

    fn url_of(&self, matched: &str) -> Result<StreamUrl, UrlError> {
        if self.streams.is_wild() && !self.from.contains('*') {
            return format!("{}/{matched}", self.from.trim_end_matches('/')).parse();
        }
        self.from.replacen('*', matched, 1).parse()
    }

    /// Returns the Flash program that the gateway presents itself as; `None` for none.
    ///
    /// # Errors
    /// When the program cannot be read.
    pub(crate) fn flash(&self) -> Result<Option<FlashProgram>, SwfError> {
        let swf = self.swf.load()?;
        let url = self.swf_url.clone();
        let is_flash = swf.is_some() || !url.is_empty();
        Ok(is_flash.then_some(FlashProgram { url, swf }))
    }
}

distributary_config::serde_checked!(PullRule);

/// A rule with the Flash program that it names.
#[derive(Clone, Debug)]
pub(crate) struct LoadedRule {
    pub(crate) rule: PullRule,
    pub(crate) flash: Option<FlashProgram>,
}

impl LoadedRule {
    /// Returns where the stream `name` is pulled from; `None` if the rule is not for it.
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
    fn the_star_carries_the_name_over() {
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
    }

    #[test]
    fn a_source_that_is_no_stream_is_refused() {
        let refused = |streams: &str, from| {
            let rule = PullRule::new(streams.parse().unwrap(), from, Duration::ZERO);
            rule.unwrap_err().source
        };
        assert_eq!(refused("live/a", "rtmp://origin/live"), UrlError::NoStream);
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
