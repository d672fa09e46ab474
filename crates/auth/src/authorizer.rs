//! The access rules in force.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use subtle::ConstantTimeEq;

use crate::access::{AccessRequest, Action, Denied, Grant};
use crate::blocks::Blocks;
use crate::config::{AuthConfig, Method};
use crate::jwt::{Jwt, JwtError};
use crate::keys::{self, KeyRule};
use crate::webhook::Webhook;

/// The error of an unusable configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The keys of tokens cannot be read.
    #[error("[auth.jwt]: {0}")]
    Jwt(#[from] JwtError),
    /// The method is keys, and no key allows the action.
    #[error("[[auth.key]]: there is no key for it: add match and keys")]
    NoKey,
    /// The method is webhook, and it has no URL.
    #[error("[auth.webhook] {0} = \"\": expected a URL such as http://127.0.0.1:9000/auth")]
    NoUrl(&'static str),
}

/// Decides which clients may publish and watch. A clone shares the rules.
#[derive(Clone)]
pub struct Authorizer {
    rules: Arc<RwLock<Arc<Rules>>>,
    own_key: Arc<str>,
    blocks: Blocks,
}

#[derive(Default)]
struct Rules {
    config: AuthConfig,
    publish: Rule,
    play: Rule,
}

/// A [`Method`] that is ready to be used.
#[derive(Default)]
enum Rule {
    #[default]
    Open,
    Keys(Vec<KeyRule>),
    Jwt(Box<Jwt>),
    Webhook(Box<Webhook>),
}

impl Authorizer {
    /// Returns an authorizer that allows everything.
    pub fn open() -> Self {
        Self {
            rules: Arc::default(),
            own_key: format!("{:032x}", rand::random::<u128>()).into(),
            blocks: Blocks::default(),
        }
    }

    /// Returns an authorizer with the rules of `config`.
    ///
    /// # Errors
    /// When the keys of tokens cannot be read.
    pub fn new(config: AuthConfig) -> Result<Self, AuthError> {
        let authorizer = Self::open();
        authorizer.replace(config)?;
        Ok(authorizer)
    }

    /// Returns every reason why rules cannot be used.
    pub fn check(config: &AuthConfig) -> Vec<AuthError> {
        let actions = [Action::Publish, Action::Play].into_iter();
        actions
            .filter_map(|action| Rule::new(config, action).err())
            .collect()
    }

    /// Replaces the rules for requests from now on.
    ///
    /// # Errors
    /// When the keys of tokens cannot be read. The old rules then stay in force.
    pub fn replace(&self, config: AuthConfig) -> Result<(), AuthError> {
        let rules = Rules {
            publish: Rule::new(&config, Action::Publish)?,
            play: Rule::new(&config, Action::Play)?,
            config,
        };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// Returns the configuration of the rules in force.
    pub fn config(&self) -> AuthConfig {
        self.rules().config.clone()
    }

    /// Fetches the key set that the rules need, if any. A failure is logged, and the fetch is
    /// retried when a token arrives.
    pub async fn prepare(&self) {
        let rules = self.rules();
        for rule in [&rules.publish, &rules.play] {
            if let Rule::Jwt(jwt) = rule {
                jwt.prepare().await;
            }
        }
    }

    /// Returns whether the action needs no credentials.
    pub fn is_open(&self, action: Action) -> bool {
        matches!(self.rules().of(action), Rule::Open)
    }

    /// Returns whether others are asked about each request of this action: a webhook.
    pub fn asks_others(&self, action: Action) -> bool {
        matches!(self.rules().of(action), Rule::Webhook(_))
    }

    /// Returns the addresses and names that are blocked, whatever the rules.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Returns the key with which this process publishes to itself, whatever the rules. It is
    /// generated at each start, and never leaves the process.
    pub fn own_key(&self) -> &str {
        &self.own_key
    }

    fn is_own(&self, request: &AccessRequest<'_>) -> bool {
        let own = |shown: Cow<'_, str>| shown.as_bytes().ct_eq(self.own_key.as_bytes()).into();
        request.action == Action::Publish && request.credentials().into_iter().any(own)
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// The reason for the denial.
    pub async fn authorize(&self, request: &AccessRequest<'_>) -> Result<Grant, Denied> {
        self.check_blocks(request)?;
        let grant = self.check_rules(request).await?;
        // A webhook or key server may have taken long to answer.
        self.check_blocks(request)?;
        Ok(grant)
    }

    fn check_blocks(&self, request: &AccessRequest<'_>) -> Result<(), Denied> {
        let now = clock();
        match request.action {
            Action::Play => self.blocks.check_viewer(request.ip, now),
            Action::Publish => self.blocks.check_publisher(request.stream, now),
        }
    }

    async fn check_rules(&self, request: &AccessRequest<'_>) -> Result<Grant, Denied> {
        let without_end = |()| Grant::default();
        match self.rules().of(request.action) {
            Rule::Open => Ok(Grant::default()),
            _ if self.is_own(request) => Ok(Grant::default()),
            Rule::Keys(rules) => keys::check(rules, request).map(without_end),
            Rule::Jwt(jwt) => jwt.check(request, now()).await,
            Rule::Webhook(webhook) => webhook.check(request).await.map(without_end),
        }
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rules {
    fn of(&self, action: Action) -> &Rule {
        match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        }
    }
}

impl Rule {
    fn new(config: &AuthConfig, action: Action) -> Result<Self, AuthError> {
        let AuthConfig { webhook, .. } = config;
        let (method, url, url_key) = match action {
            Action::Publish => (config.publish, &webhook.publish_url, "publish_url"),
            Action::Play => (config.play, &webhook.play_url, "play_url"),
        };
        Ok(match method {
            Method::Open => Self::Open,
            Method::Keys if !config.key.iter().any(|rule| rule.allows(action)) => {
                return Err(AuthError::NoKey);
            }
            Method::Keys => Self::Keys(config.key.clone()),
            Method::Jwt => Self::Jwt(Box::new(Jwt::new(config.jwt.clone())?)),
            Method::Webhook => {
                let url = url.uri().ok_or(AuthError::NoUrl(url_key))?.clone();
                let webhook = Webhook::new(url, webhook.format, webhook.timeout);
                Self::Webhook(Box::new(webhook))
            }
        })
    }
}

/// The clock by which blocks end.
#[expect(
    clippy::disallowed_methods,
    reason = "blocks apply at the moment a client asks"
)]
fn clock() -> Instant {
    Instant::now()
}

/// The wall clock, by which tokens expire.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens are looked at the moment they are shown"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer")
            .field("publish_is_open", &self.is_open(Action::Publish))
            .field("play_is_open", &self.is_open(Action::Play))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::{asking, name};
    use crate::jwt::JwtConfig;

    /// Returns rules that require a key to publish.
    fn keyed() -> AuthConfig {
        AuthConfig {
            publish: Method::Keys,
            key: vec![KeyRule {
                streams: "*".parse().unwrap(),
                publish: vec!["studio".to_owned()],
                play: Vec::new(),
            }],
            ..AuthConfig::default()
        }
    }

    #[test]
    fn each_method_requires_its_settings() {
        let error = |config| Authorizer::new(config).unwrap_err().to_string();
        let config = AuthConfig {
            play: Method::Keys,
            ..keyed()
        };
        assert!(error(config).starts_with("[[auth.key]]: "), "keys to watch");
        let config = |method| AuthConfig {
            play: method,
            ..AuthConfig::default()
        };
        assert!(error(config(Method::Jwt)).starts_with("[auth.jwt]: "));
        let webhook = error(config(Method::Webhook));
        assert!(webhook.starts_with("[auth.webhook] play_url"), "{webhook}");
    }

    #[tokio::test]
    async fn rules_can_be_replaced_while_they_are_in_use() {
        let authorizer = Authorizer::open();
        let handle = authorizer.clone();
        let stream = name("live/test");
        let request = asking(Action::Publish, &stream, "");
        assert!(handle.authorize(&request).await.is_ok());
        authorizer.replace(keyed()).unwrap();
        assert_eq!(handle.authorize(&request).await, Err(Denied::Missing));
        let query = format!("key={}", authorizer.own_key());
        let own = asking(Action::Publish, &stream, &query);
        assert!(handle.authorize(&own).await.is_ok());
        assert!(handle.is_open(Action::Play) && !handle.is_open(Action::Publish));
    }

    #[tokio::test]
    async fn blocked_publisher_is_denied_by_every_handle() {
        let authorizer = Authorizer::open();
        let handle = authorizer.clone();
        let stream = name("live/test");
        let target = crate::BlockTarget::Publisher(stream.clone());
        let hour = std::time::Duration::from_secs(3600);
        let block = authorizer.blocks().add(target, hour, clock()).unwrap();
        let request = asking(Action::Publish, &stream, "");
        let denied = handle.authorize(&request).await.unwrap_err();
        assert!(denied.to_string().contains("blocked"), "{denied}");
        authorizer.blocks().remove(block.id);
        assert!(handle.authorize(&request).await.is_ok());
    }

    #[tokio::test]
    async fn old_rules_stay_in_force_when_new_ones_cannot_be_read() {
        let authorizer = Authorizer::new(keyed()).unwrap();
        let config = AuthConfig {
            play: Method::Jwt,
            jwt: JwtConfig {
                public_key: "/nowhere/key.pem".to_owned(),
                ..JwtConfig::default()
            },
            ..AuthConfig::default()
        };
        assert!(authorizer.replace(config).is_err());
        assert!(!authorizer.is_open(Action::Publish));
    }
}
