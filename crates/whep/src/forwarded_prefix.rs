//! The path under which the client of a request reaches the gateway.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::access::{Access, PeerAddress};
use crate::config::Settings;
use crate::public_path::PublicPath;

/// Header in which a proxy sends the path prefix that it has removed.
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// Extracts the prefix that a trusted proxy sends, or else takes the configured one. A request that
/// another gateway has forwarded brings its own.
impl<S> FromRequestParts<S> for PublicPath
where
    S: Send + Sync,
    Access: FromRef<S>,
    Settings: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // The gateway that has forwarded the request knows it.
        if let Some(path) = parts.extensions.get::<Self>() {
            return Ok(path.clone());
        }
        let peer = parts.extensions.get::<PeerAddress>();
        let mut prefixes = parts.headers.get_all(FORWARDED_PREFIX).iter().peekable();
        if prefixes.peek().is_some() && Access::from_ref(state).is_proxy(peer) {
            let prefixes = prefixes.filter_map(|value| value.to_str().ok());
            if let Some(path) = Self::of_proxies(prefixes) {
                return Ok(path);
            }
        }
        let config = Settings::from_ref(state).current();
        Ok(config.whep.public_path.clone())
    }
}
