//! The rules in force.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use subtle::ConstantTimeEq;

use crate::access::{AccessRequest, Action, Denied, Grant};
use crate::jwt::{Jwt, JwtConfig, JwtError};
use crate::keys::{self, KeyRule};
use crate::webhook::{Webhook, WebhookConfig};

/// How it is decided whether somebody may do something.
#[derive(Clone, Default)]
pub enum Method {
    /// Everybody may.
    #[default]
    Open,
    /// Who knows a key.
    Keys(Vec<KeyRule>),
    /// Who has a token.
    Jwt(JwtConfig),
    /// Whom another program lets.
    Webhook(WebhookConfig),
}

/// Who may publish, and who may watch.
#[derive(Clone, Default)]
pub struct AuthConfig {
    /// Who may publish.
    pub publish: Method,
    /// Who may watch.
    pub play: Method,
}

/// Why the rules cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The keys of tokens cannot be read.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}

/// Decides who may publish and who may watch. Cloning gives another handle to the same rules.
#[derive(Clone)]
pub struct Authorizer {
    rules: Arc<RwLock<Arc<Rules>>>,
    own_key: Arc<str>,
}

#[derive(Default)]
struct Rules {
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
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self {
            rules: Arc::default(),
            own_key: format!("{:032x}", rand::random::<u128>()).into(),
        }
    }

    /// With the rules of `config`.
    ///
    /// # Errors
    /// When the keys of tokens cannot be read.
    pub fn new(config: AuthConfig) -> Result<Self, AuthError> {
        let authorizer = Self::open();
        authorizer.replace(config)?;
        Ok(authorizer)
    }

    /// Puts other rules into force, for those who ask from now on.
    ///
    /// # Errors
    /// When the keys of tokens cannot be read: the rules stay as they are.
    pub fn replace(&self, config: AuthConfig) -> Result<(), AuthError> {
        let rules = Rules {
            publish: Rule::new(config.publish)?,
            play: Rule::new(config.play)?,
        };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// Gets ready what the rules need from elsewhere. What fails is logged, and tried again when it is needed.
    pub async fn prepare(&self) {
        let rules = self.rules();
        for rule in [&rules.publish, &rules.play] {
            if let Rule::Jwt(jwt) = rule {
                jwt.prepare().await;
            }
        }
    }

    /// Whether everybody may do it.
    pub fn is_open(&self, action: Action) -> bool {
        matches!(self.rules().of(action), Rule::Open)
    }

    /// The key by which this very process publishes to itself, whatever the rules. It is made anew at each
    /// start, and told to nobody.
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
    /// Why it is denied.
    pub async fn authorize(&self, request: &AccessRequest<'_>) -> Result<Grant, Denied> {
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
    fn new(method: Method) -> Result<Self, AuthError> {
        Ok(match method {
            Method::Open => Self::Open,
            Method::Keys(rules) => Self::Keys(rules),
            Method::Jwt(config) => Self::Jwt(Box::new(Jwt::new(config)?)),
            Method::Webhook(config) => Self::Webhook(Box::new(Webhook::new(config))),
        })
    }
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

    #[tokio::test]
    async fn rules_can_be_replaced_while_they_are_in_use() {
        let authorizer = Authorizer::open();
        let handle = authorizer.clone();
        let stream = name("live/test");
        let request = asking(Action::Publish, &stream, "");
        assert!(handle.authorize(&request).await.is_ok());
        let config = AuthConfig {
            publish: Method::Keys(Vec::new()),
            play: Method::Open,
        };
        authorizer.replace(config).unwrap();
        assert_eq!(handle.authorize(&request).await, Err(Denied::Missing));
        let query = format!("key={}", authorizer.own_key());
        let own = asking(Action::Publish, &stream, &query);
        assert!(handle.authorize(&own).await.is_ok());
        assert!(handle.is_open(Action::Play) && !handle.is_open(Action::Publish));
    }

    #[tokio::test]
    async fn rules_that_cannot_be_read_leave_those_before_in_force() {
        let authorizer = Authorizer::new(AuthConfig {
            publish: Method::Keys(Vec::new()),
            play: Method::Open,
        })
        .unwrap();
        let broken = Method::Jwt(JwtConfig {
            keys: crate::jwt::KeySource::PublicKey("/nowhere/key.pem".into()),
            stream_claim: "stream".to_owned(),
            action_claim: "action".to_owned(),
            issuer: String::new(),
            audience: String::new(),
            session_outlives_token: false,
        });
        let config = AuthConfig {
            publish: Method::Open,
            play: broken,
        };
        assert!(authorizer.replace(config).is_err());
        assert!(!authorizer.is_open(Action::Publish));
    }
}
