//! Which streams are pulled, and from where.

use std::time::Duration;

use distributary_hub::{StreamName, StreamPattern};

use crate::client::{StreamUrl, UrlError};
use crate::swf::FlashProgram;

/// Streams that are fetched from another RTMP server when somebody asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRule {
    streams: StreamPattern,
    from: String,
    flash: Option<FlashProgram>,
    /// How long a stream is kept that nobody watches any more.
    pub idle_timeout: Duration,
}

impl PullRule {
    /// The streams of these names are pulled from the URL `from`. A `*` in it stands for what the `*`
    /// of the pattern stood for; where the pattern has one and the URL has none, it is appended:
    /// `live/*` from `rtmp://origin/live` pulls `live/a` from `rtmp://origin/live/a`.
    ///
    /// # Errors
    /// When the URLs it makes are not those of RTMP streams.
    pub fn new(
        streams: StreamPattern,
        from: &str,
        idle_timeout: Duration,
    ) -> Result<Self, UrlError> {
        let mut from = from.to_owned();
        if streams.is_wild() && !from.contains('*') {
            from = format!("{}/*", from.trim_end_matches('/'));
        }
        let rule = Self {
            streams,
            from,
            flash: None,
            idle_timeout,
        };
        // The `*` may be the whole name, which has two parts.
        rule.url_of("a/a")?;
        Ok(rule)
    }

    /// The same rule, by which the gateway presents itself to the server as a Flash program.
    #[must_use]
    pub fn as_flash(self, program: FlashProgram) -> Self {
        Self {
            flash: Some(program),
            ..self
        }
    }

    /// Whence the stream of this name is pulled; `None` when it is none of these.
    pub fn source(&self, name: &StreamName) -> Option<StreamUrl> {
        self.url_of(self.streams.matches(name)?).ok()
    }

    fn url_of(&self, matched: &str) -> Result<StreamUrl, UrlError> {
        let url: StreamUrl = self.from.replacen('*', matched, 1).parse()?;
        Ok(match &self.flash {
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
            PullRule::new(streams.parse().unwrap(), from, Duration::ZERO).unwrap_err()
        };
        assert_eq!(refused("live/a", "rtmp://origin/live"), UrlError::NoStream);
        assert_eq!(
            refused("live/*", "http://origin/live"),
            UrlError::Scheme("http".into())
        );
    }
}
