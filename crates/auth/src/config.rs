//! The section `[auth]` of the configuration.

use distributary_config::Section;
use serde::{Deserialize, Serialize};

use crate::jwt::JwtConfig;
use crate::keys::KeyRule;
use crate::webhook::WebhookConfig;

/// The configuration of access control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct AuthConfig {
    /// Authorization method for publishers.
    pub publish: Method,
    /// Authorization method for viewers, over WHEP and RTMP.
    pub play: Method,
    /// Keys for [`Method::Keys`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyRule>,
    /// Settings of [`Method::Jwt`].
    #[section]
    pub jwt: JwtConfig,
    /// Settings of [`Method::Webhook`].
    #[section]
    pub webhook: WebhookConfig,
}

/// An authorization method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Allows every client.
    #[default]
    Open,
    /// Allows clients with a key of the configuration.
    Keys,
    /// Allows clients with a JSON Web Token.
    Jwt,
    /// Asks a webhook.
    Webhook,
}
