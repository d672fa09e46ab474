//! JSON Web Tokens (RFC 7519).
//!
//! Two claims with configurable names say what a token is for:
//!
//! ```json
//! { "exp": 1790000000, "stream": "live/*", "action": ["play"] }
//! ```
//!
//! `stream` is a pattern of names or a list of them, `action` is `publish`, `play` or a list. `exp`
//! is required; `nbf`, `iss` and `aud` are checked if they are present or configured.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use distributary_config::Section;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use crate::access::LEEWAY;
use crate::access::{AccessRequest, Denied, Grant};
use crate::http_url::HttpUrl;
pub use crate::key_set::JwtError;
use crate::key_set::{Key, KeySource, Keys};

/// Maximum length of a token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// The section `[auth.jwt]`: keys that verify tokens, and required claims.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct JwtConfig {
    /// Secret of HS256. Exactly one of this, `public_key` and `jwks` is set.
    pub secret: String,
    /// PEM file with the public key of RS256 or ES256.
    pub public_key: String,
    /// File or URL of a JSON Web Key Set.
    pub jwks: String,
    /// The claim with the streams.
    pub stream_claim: String,
    /// The claim with the actions.
    pub action_claim: String,
    /// Required issuer of the token (`iss`); empty for any.
    pub issuer: String,
    /// Required audience of the token (`aud`); empty for any.
    pub audience: String,
    /// Lets a session continue after the token that it was opened with has expired.
    pub session_outlives_token: bool,
}

impl JwtConfig {
    fn keys(&self) -> Result<KeySource, JwtError> {
        Ok(match (&*self.secret, &*self.public_key, &*self.jwks) {
            ("", "", "") => return Err(JwtError::NoSource),
            (secret, "", "") => KeySource::Secret(secret.to_owned()),
            ("", path, "") => KeySource::PublicKey(path.into()),
            ("", "", url) if url.contains("://") => {
                let parsed: HttpUrl = url.parse().map_err(JwtError::Url)?;
                parsed
                    .uri()
                    .cloned()
                    .map_or_else(|| KeySource::KeySetFile(url.into()), KeySource::KeySetUrl)
            }
            ("", "", path) => KeySource::KeySetFile(path.into()),
            _ => return Err(JwtError::SeveralSources),
        })
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            secret: String::new(),
            public_key: String::new(),
            jwks: String::new(),
            stream_claim: "stream".to_owned(),
            action_claim: "action".to_owned(),
            issuer: String::new(),
            audience: String::new(),
            session_outlives_token: false,
        }
    }
}

/// Omits the secret.
impl fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtConfig")
            .field("public_key", &self.public_key)
            .field("jwks", &self.jwks)
            .finish_non_exhaustive()
    }
}

/// Verifies tokens.
pub(crate) struct Jwt {
    config: JwtConfig,
    keys: Keys,
}

impl Jwt {
    /// Reads the keys, unless they come from a URL.
    pub(crate) fn new(config: JwtConfig) -> Result<Self, JwtError> {
        let keys = Keys::new(&config.keys()?)?;
        Ok(Self { config, keys })
    }

    /// Fetches the keys if they come from a URL.
    pub(crate) async fn prepare(&self) {
        self.keys.prepare().await;
    }

    /// Grants access for a valid token; of several tokens any may be the valid one.
    pub(crate) async fn check(
        &self,
        request: &AccessRequest<'_>,
        now: SystemTime,
    ) -> Result<Grant, Denied> {
        let mut denied = Denied::Missing;
        for token in request.credentials() {
            match self.check_token(&token, request, now).await {
                Ok(grant) => return Ok(grant),
                Err(other) if weight(&other) > weight(&denied) => denied = other,
                Err(_) => {}
            }
        }
        Err(denied)
    }

    async fn check_token(
        &self,
        token: &str,
        request: &AccessRequest<'_>,
        now: SystemTime,
    ) -> Result<Grant, Denied> {
        if token.len() > MAX_TOKEN {
            return Err(Denied::Invalid("the token is too long"));
        }
        let header =
            decode_header(token).map_err(|_| Denied::Invalid("this is not a JSON Web Token"))?;
        if header.crit.is_some() {
            // Extensions listed there must be supported (RFC 7515 section 4.1.11), and none is.
            let reason = "the token requires an extension that is not supported (crit)";
            return Err(Denied::Invalid(reason));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let claims = self.verify(token, &key)?;
        let expires = check_times(&claims, now)?;
        self.check_claims(&claims, request)?;
        Ok(Grant {
            expires: expires.filter(|_| !self.config.session_outlives_token),
        })
    }

    /// Returns the claims of a token after checking its signature, issuer and audience.
    fn verify(&self, token: &str, key: &Key) -> Result<Map<String, Value>, Denied> {
        // The algorithm is that of the key, never one that the token chooses (RFC 8725 section
        // 3.1).
        let mut validation = Validation::new(key.algorithm);
        // Times are checked against an injected clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = !self.config.audience.is_empty();
        if !self.config.audience.is_empty() {
            validation.set_audience(&[&self.config.audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !self.config.issuer.is_empty() {
            validation.set_issuer(&[&self.config.issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        decode::<Map<String, Value>>(token, &key.key, &validation)
            .map(|data| data.claims)
            .map_err(|error| {
                use jsonwebtoken::errors::ErrorKind;
                Denied::Invalid(match error.kind() {
                    ErrorKind::InvalidIssuer => "the token has another issuer",
                    ErrorKind::InvalidAudience => "the token is for another audience",
                    ErrorKind::MissingRequiredClaim(_) => "the token lacks its issuer or audience",
                    _ => "the signature of the token is not valid",
                })
            })
    }

    fn check_claims(
        &self,
        claims: &Map<String, Value>,
        request: &AccessRequest<'_>,
    ) -> Result<(), Denied> {
        let action = request.action.to_string();
        let for_action = words(claims.get(&self.config.action_claim)).any(|word| word == action);
        if !for_action {
            return Err(Denied::Forbidden("the token is not for this action"));
        }
        let mut patterns = words(claims.get(&self.config.stream_claim));
        let for_stream = patterns.any(|pattern| {
            let pattern = pattern.parse::<distributary_names::StreamPattern>();
            pattern.is_ok_and(|pattern| pattern.matches(request.stream).is_some())
        });
        if !for_stream {
            return Err(Denied::Forbidden("the token is not for this stream"));
        }
        Ok(())
    }
}

/// Orders denials by how much they tell: with several tokens, the denial of the closest one is
/// returned.
fn weight(denied: &Denied) -> u8 {
    match denied {
        Denied::Missing => 0,
        Denied::Invalid(_) => 1,
        Denied::Forbidden(_) => 2,
        Denied::Unavailable => 3,
        Denied::Blocked => 4,
    }
}

/// Checks `exp`, which is required, and `nbf` (RFC 7519 sections 4.1.4 and 4.1.5). Returns `exp`,
/// or `None` if the clock cannot represent it.
fn check_times(claims: &Map<String, Value>, now: SystemTime) -> Result<Option<SystemTime>, Denied> {
    let seconds = |claim| claims.get(claim).and_then(Value::as_f64);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = seconds("exp").ok_or(Denied::Invalid("the token has no expiry (exp)"))?;
    if expires + LEEWAY.as_secs_f64() <= now.as_secs_f64() {
        return Err(Denied::Invalid("the token has expired"));
    }
    match claims.get("nbf").map(|_| seconds("nbf")) {
        None => {}
        Some(Some(begins)) if begins <= (now + LEEWAY).as_secs_f64() => {}
        Some(Some(_)) => return Err(Denied::Invalid("the token is not valid yet")),
        Some(None) => return Err(Denied::Invalid("the token has no time in nbf")),
    }
    let since_epoch = Duration::try_from_secs_f64(expires).ok();
    Ok(since_epoch.and_then(|since| UNIX_EPOCH.checked_add(since)))
}

/// A claim that is a string or a list of strings.
fn words(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = claim.and_then(Value::as_array).into_iter().flatten();
    claim.into_iter().chain(list).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action;
    use crate::access::tests::{asking, name};
    use crate::key_set::tests::signer;
    use crate::test_server::{Answer, Server};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use serde_json::json;
    use std::path::Path;
    use std::time::Duration;

    const NOW: u64 = 1_800_000_000;

    fn secret() -> JwtConfig {
        JwtConfig {
            secret: "secret".to_owned(),
            ..JwtConfig::default()
        }
    }

    fn public_key(path: &Path) -> JwtConfig {
        JwtConfig {
            public_key: path.display().to_string(),
            ..JwtConfig::default()
        }
    }

    fn jwks(place: &impl ToString) -> JwtConfig {
        JwtConfig {
            jwks: place.to_string(),
            ..JwtConfig::default()
        }
    }

    fn token(claims: &Value) -> String {
        let key = EncodingKey::from_secret(b"secret");
        encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    async fn checked(config: JwtConfig, token: &str) -> Result<(), Denied> {
        granted(config, token, "").await.map(drop)
    }

    async fn granted(config: JwtConfig, token: &str, query: &str) -> Result<Grant, Denied> {
        let stream = name("live/test");
        let request = AccessRequest {
            bearer: Some(token),
            ..asking(Action::Play, &stream, query)
        };
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        Jwt::new(config).unwrap().check(&request, now).await
    }

    fn good() -> Value {
        json!({ "exp": NOW + 60, "stream": "live/*", "action": "play" })
    }

    #[tokio::test]
    async fn token_is_valid_for_its_streams_and_actions() {
        assert_eq!(checked(secret(), &token(&good())).await, Ok(()));
        let lists = json!({ "exp": NOW + 60, "stream": ["x/*", "live/test"], "action": ["publish", "play"] });
        assert_eq!(checked(secret(), &token(&lists)).await, Ok(()));
        for (claim, value) in [
            ("stream", json!("live/other")),
            ("stream", json!([])),
            ("stream", json!(5)),
            ("stream", Value::Null),
            ("action", json!("publish")),
            ("action", Value::Null),
        ] {
            let mut claims = good();
            claims[claim] = value;
            let denied = checked(secret(), &token(&claims)).await;
            assert!(matches!(denied, Err(Denied::Forbidden(_))), "{claims}");
        }
    }

    #[tokio::test]
    async fn session_ends_with_the_token_unless_it_may_outlive_it() {
        let expires = UNIX_EPOCH + Duration::from_secs(NOW + 60);
        let grant = granted(secret(), &token(&good()), "").await.unwrap();
        assert_eq!(grant.expires, Some(expires));
        let config = JwtConfig {
            session_outlives_token: true,
            ..secret()
        };
        let grant = granted(config, &token(&good()), "").await.unwrap();
        assert_eq!(grant.expires, None);
        let mut endless = good();
        endless["exp"] = json!(1e300);
        let grant = granted(secret(), &token(&endless), "").await.unwrap();
        assert_eq!(grant.expires, None);
    }

    #[tokio::test]
    async fn one_valid_token_suffices_and_the_closest_denial_is_returned() {
        let query = format!("jwt={}", token(&good()));
        assert!(granted(secret(), "junk", &query).await.is_ok());
        let mut other = good();
        other["stream"] = json!("live/other");
        let query = format!("key=junk&token={}", token(&other));
        for header in ["junk", ""] {
            let denied = granted(secret(), header, &query).await;
            assert!(matches!(denied, Err(Denied::Forbidden(_))), "{denied:?}");
        }
    }

    #[tokio::test]
    async fn expired_early_unlimited_and_forged_tokens_are_refused() {
        let with = |claim: &str, value: Value| {
            let mut claims = good();
            claims[claim] = value;
            token(&claims)
        };
        let mut forged = token(&good());
        forged.truncate(forged.len() - 2);
        let secret_key = EncodingKey::from_secret(b"secret");
        let other_key = EncodingKey::from_secret(b"other");
        let critical = Header {
            crit: Some(vec!["b64".to_owned()]),
            ..Header::new(Algorithm::HS256)
        };
        let header = Header::new(Algorithm::HS256);
        for (token, words) in [
            (with("exp", json!(NOW - 60)), "expired"),
            (with("exp", Value::Null), "no expiry"),
            (with("nbf", json!(NOW + 60)), "not valid yet"),
            (with("nbf", json!("never")), "no time in nbf"),
            (forged, "signature"),
            (encode(&critical, &good(), &secret_key).unwrap(), "crit"),
            (encode(&header, &good(), &other_key).unwrap(), "signature"),
            ("x".repeat(MAX_TOKEN + 1), "too long"),
            ("not.a.token".to_owned(), "not a JSON Web Token"),
        ] {
            let denied = checked(secret(), &token).await.unwrap_err();
            assert!(matches!(denied, Denied::Invalid(_)), "{denied}");
            assert!(denied.to_string().contains(words), "{denied}");
        }
        let within_leeway = with("exp", json!(NOW - 10));
        assert_eq!(checked(secret(), &within_leeway).await, Ok(()));
    }

    #[tokio::test]
    async fn token_cannot_choose_its_algorithm() {
        // {"alg":"none"} and the claims, without a signature.
        let unsigned = format!(
            "eyJhbGciOiJub25lIn0.{}.",
            token(&good()).split('.').nth(1).unwrap()
        );
        assert!(checked(secret(), &unsigned).await.is_err());
        let (private, public) = key_pair();
        let file = file(&public);
        let of_file = || public_key(file.path());
        // The public key used as the secret of an HMAC.
        let key = EncodingKey::from_secret(public.as_bytes());
        let confused = encode(&Header::new(Algorithm::HS256), &good(), &key).unwrap();
        assert!(checked(of_file(), &confused).await.is_err());
        let key = EncodingKey::from_ec_pem(private.as_bytes()).unwrap();
        let signed = encode(&Header::new(Algorithm::ES256), &good(), &key).unwrap();
        assert_eq!(checked(of_file(), &signed).await, Ok(()));
    }

    #[tokio::test]
    async fn configured_issuer_and_audience_are_checked() {
        let strict = || JwtConfig {
            issuer: "us".to_owned(),
            audience: "gateway".to_owned(),
            ..secret()
        };
        let mut claims = good();
        assert!(checked(strict(), &token(&claims)).await.is_err());
        claims["iss"] = json!("us");
        claims["aud"] = json!(["other", "gateway"]);
        assert_eq!(checked(strict(), &token(&claims)).await, Ok(()));
        claims["iss"] = json!("them");
        assert!(checked(strict(), &token(&claims)).await.is_err());
    }

    #[tokio::test]
    async fn keys_of_a_set_are_found_by_id() {
        // "secret" in base64url.
        let set = json!({ "keys": [
            { "kty": "oct", "kid": "old", "k": "b3RoZXI" },
            { "kty": "oct", "kid": "new", "k": "c2VjcmV0" },
            { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        ] });
        let file = file(&set.to_string());
        let of_file = || jwks(&file.path().display());
        let signed = |id: Option<&str>| {
            let header = Header {
                kid: id.map(str::to_owned),
                ..Header::new(Algorithm::HS256)
            };
            encode(&header, &good(), &EncodingKey::from_secret(b"secret")).unwrap()
        };
        assert_eq!(checked(of_file(), &signed(Some("new"))).await, Ok(()));
        for wrong in [Some("old"), Some("unknown"), None] {
            assert!(checked(of_file(), &signed(wrong)).await.is_err());
        }
    }

    #[tokio::test]
    async fn tokens_are_verified_with_a_fetched_key_set() {
        let (rsa, rsa_public) = signer(Algorithm::RS256, "rsa");
        let (ec, ec_public) = signer(Algorithm::ES256, "ec");
        let set = json!({ "keys": [rsa_public, ec_public] }).to_string();
        let server = Server::start(Answer::Ok(set)).await;
        let of_url = || jwks(&server.url("http"));
        let sign = |algorithm, id: &str, key: &EncodingKey, claims: &Value| {
            let header = Header {
                kid: Some(id.to_owned()),
                ..Header::new(algorithm)
            };
            encode(&header, claims, key).unwrap()
        };
        for (algorithm, id, key) in [
            (Algorithm::RS256, "rsa", &rsa),
            (Algorithm::ES256, "ec", &ec),
        ] {
            let token = sign(algorithm, id, key, &good());
            assert_eq!(checked(of_url(), &token).await, Ok(()), "{id}");
            let mut expired = good();
            expired["exp"] = json!(NOW - 60);
            let denied = checked(of_url(), &sign(algorithm, id, key, &expired)).await;
            assert_eq!(denied, Err(Denied::Invalid("the token has expired")));
        }
        // A public key is not accepted as an HMAC secret, in any form.
        let public = EncodingKey::from_secret(rsa_public["n"].as_str().unwrap().as_bytes());
        for wrong in [
            sign(Algorithm::HS256, "rsa", &public, &good()),
            // The id of one key and the algorithm of the other.
            sign(Algorithm::ES256, "rsa", &ec, &good()),
            // Another algorithm of the same kind.
            sign(Algorithm::RS512, "rsa", &rsa, &good()),
            sign(Algorithm::PS256, "rsa", &rsa, &good()),
            // The id of a known key, signed with another key.
            sign(
                Algorithm::RS256,
                "rsa",
                &signer(Algorithm::RS256, "rsa").0,
                &good(),
            ),
        ] {
            let denied = checked(of_url(), &wrong).await;
            assert!(matches!(denied, Err(Denied::Invalid(_))), "{denied:?}");
        }
    }

    #[test]
    fn error_names_a_file_without_a_key() {
        let file = file("nothing");
        for config in [
            public_key(file.path()),
            jwks(&file.path().display()),
            public_key(Path::new("/nowhere/key.pem")),
        ] {
            let error = Jwt::new(config).err().unwrap().to_string();
            assert!(error.starts_with('/'), "{error}");
        }
    }

    #[test]
    fn exactly_one_source_of_keys_is_required() {
        let error = |config| Jwt::new(config).err().map(|error| error.to_string());
        assert_eq!(error(secret()), None);
        let none = error(JwtConfig::default()).unwrap();
        assert_eq!(none, "set one of secret, public_key and jwks");
        let both = JwtConfig {
            jwks: "x".to_owned(),
            ..secret()
        };
        let both = error(both).unwrap();
        assert_eq!(both, "set only one of secret, public_key and jwks");
        let url = error(jwks(&"ftp://x")).unwrap();
        assert!(url.starts_with("jwks: expected a URL"), "{url}");
    }

    #[test]
    fn secret_is_not_printed() {
        assert!(!format!("{:?}", secret()).contains("\"secret\""));
    }

    fn key_pair() -> (String, String) {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (pair.serialize_pem(), pair.public_key_pem())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }
}
