//! JSON Web Tokens (RFC 7519).
//!
//! A token says what it is for in two claims, whose names can be chosen:
//!
//! ```json
//! { "exp": 1790000000, "stream": "live/*", "action": ["play"] }
//! ```
//!
//! `stream` is a pattern of names or a list of them, `action` is `publish`, `play` or a list. `exp` is
//! needed; `nbf`, `iss` and `aud` count where they are there or asked for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::access::{AccessRequest, Denied};
use crate::client::HttpClient;

/// Clocks of two machines may differ by this much.
const LEEWAY: u64 = 30;

/// Longest token that is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// How long a key set that was fetched is used.
const KEY_SET_LIFETIME: Duration = Duration::from_secs(300);

/// A key set is not fetched more often than this, whatever tokens name.
const KEY_SET_PAUSE: Duration = Duration::from_secs(10);

/// How long a server may take to send its key set.
const KEY_SET_TIMEOUT: Duration = Duration::from_secs(5);

/// What tokens are verified with, and what they must say.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The keys.
    pub keys: KeySource,
    /// The claim with the streams.
    pub stream_claim: String,
    /// The claim with the actions.
    pub action_claim: String,
    /// Who must have issued the token (`iss`); empty for anybody.
    pub issuer: String,
    /// Whom it must be for (`aud`); empty for anybody.
    pub audience: String,
}

/// Where the keys come from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A secret that both sides know: HS256.
    Secret(String),
    /// A PEM file with a public key: RS256 or ES256.
    PublicKey(PathBuf),
    /// A file with a JSON Web Key Set (RFC 7517 section 5).
    KeySetFile(PathBuf),
    /// The URL of one, which is fetched again now and then, and when a token names a key that is new.
    KeySetUrl(Uri),
}

/// Why tokens cannot be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file has no key that can be used.
    #[error("{}: no RSA or P-256 public key in PEM", .0.display())]
    NotAKey(PathBuf),
    /// A file is no key set.
    #[error("{}: not a JSON Web Key Set: {source}", path.display())]
    NotAKeySet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There is nothing to verify with.
    #[error("{0}: no key for HS256, RS256 or ES256")]
    NoKey(String),
}

/// A key and what it is for.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Verifies tokens.
pub(crate) struct Jwt {
    config: JwtConfig,
    keys: Mutex<Arc<Vec<Key>>>,
    /// Where keys are fetched from.
    remote: Option<Remote>,
}

struct Remote {
    url: Uri,
    client: HttpClient,
    /// When it was last tried; fetching holds the lock, so that one fetch serves all who wait.
    fetched: tokio::sync::Mutex<Option<Instant>>,
}

impl Jwt {
    /// Reads the keys, unless they are to be fetched.
    pub(crate) fn new(config: JwtConfig) -> Result<Self, JwtError> {
        let (keys, remote) = match &config.keys {
            KeySource::Secret(secret) => (vec![Key::secret(secret)], None),
            KeySource::PublicKey(path) => (vec![Key::pem(path)?], None),
            KeySource::KeySetFile(path) => (key_set_file(path)?, None),
            KeySource::KeySetUrl(url) => (Vec::new(), Some(Remote::new(url.clone()))),
        };
        Ok(Self {
            config,
            keys: Mutex::new(Arc::new(keys)),
            remote,
        })
    }

    pub(crate) async fn check(
        &self,
        request: &AccessRequest<'_>,
        now: SystemTime,
    ) -> Result<(), Denied> {
        let token = request.credential().ok_or(Denied::Missing)?;
        if token.len() > MAX_TOKEN {
            return Err(Denied::Invalid("the token is too long"));
        }
        let header =
            decode_header(&token).map_err(|_| Denied::Invalid("this is no JSON Web Token"))?;
        let key = self.key(header.kid.as_deref(), header.alg).await?;
        let claims = self.verify(&token, &key)?;
        check_times(&claims, now)?;
        self.check_claims(&claims, request)
    }

    /// The key that a token names, or the only one there is for its algorithm.
    async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Key, Denied> {
        if let Some(remote) = &self.remote {
            let is_known = || find(&self.current(), id, algorithm).is_some();
            if let Some(keys) = remote.refresh(is_known).await? {
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
        }
        find(&self.current(), id, algorithm)
            .cloned()
            .ok_or(Denied::Invalid("the token is signed with an unknown key"))
    }

    fn current(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The claims of a token whose signature, issuer and audience are right.
    fn verify(&self, token: &str, key: &Key) -> Result<Map<String, Value>, Denied> {
        // The algorithm is that of the key, never one that the token chooses (RFC 8725 section 3.1).
        let mut validation = Validation::new(key.algorithm);
        // Times are checked against a clock that can be driven.
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
            let pattern = pattern.parse::<distributary_hub::StreamPattern>();
            pattern.is_ok_and(|pattern| pattern.matches(request.stream).is_some())
        });
        if !for_stream {
            return Err(Denied::Forbidden("the token is not for this stream"));
        }
        Ok(())
    }
}

impl Remote {
    fn new(url: Uri) -> Self {
        Self {
            url,
            client: HttpClient::new(KEY_SET_TIMEOUT),
            fetched: tokio::sync::Mutex::new(None),
        }
    }

    /// Fetches the key set when it is old, or lacks the key that is needed.
    async fn refresh(&self, is_known: impl Fn() -> bool) -> Result<Option<Vec<Key>>, Denied> {
        let mut fetched = self.fetched.lock().await;
        let age = fetched.map(|fetched| fetched.elapsed());
        let is_due = match age {
            None => true,
            Some(age) => age >= KEY_SET_LIFETIME || (!is_known() && age >= KEY_SET_PAUSE),
        };
        if !is_due {
            return Ok(None);
        }
        *fetched = Some(Instant::now());
        let failed = |reason: &dyn std::fmt::Display| {
            tracing::warn!(reason = %reason, "the key set for tokens cannot be fetched");
            // Keys that are known stay good.
            if is_known() {
                Ok(None)
            } else {
                Err(Denied::Unavailable)
            }
        };
        match self.client.get(&self.url).await {
            Ok((status, body)) if status.is_success() => {
                match serde_json::from_slice::<JwkSet>(&body) {
                    Ok(set) => Ok(Some(usable(&set))),
                    Err(error) => failed(&error),
                }
            }
            Ok((status, _)) => failed(&status),
            Err(error) => failed(&error),
        }
    }
}

impl Key {
    fn secret(secret: &str) -> Self {
        Self {
            id: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    fn pem(path: &PathBuf) -> Result<Self, JwtError> {
        let pem = read(path)?;
        let (algorithm, key) = DecodingKey::from_rsa_pem(&pem)
            .map(|key| (Algorithm::RS256, key))
            .or_else(|_| DecodingKey::from_ec_pem(&pem).map(|key| (Algorithm::ES256, key)))
            .map_err(|_| JwtError::NotAKey(path.clone()))?;
        Ok(Self {
            id: None,
            algorithm,
            key,
        })
    }

    /// A key of a set; `None` for kinds that are not used.
    fn of(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(_) => Algorithm::ES256,
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            _ => return None,
        };
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// The key of this name and algorithm. A token without a name fits a set with one key for it.
fn find<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| key.algorithm == algorithm);
    match id {
        Some(id) => fitting.find(|key| key.id.as_deref().is_none_or(|known| known == id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

fn usable(set: &JwkSet) -> Vec<Key> {
    set.keys.iter().filter_map(Key::of).collect()
}

fn key_set_file(path: &PathBuf) -> Result<Vec<Key>, JwtError> {
    let set = serde_json::from_slice(&read(path)?).map_err(|source| JwtError::NotAKeySet {
        path: path.clone(),
        source,
    })?;
    let keys = usable(&set);
    if keys.is_empty() {
        return Err(JwtError::NoKey(path.display().to_string()));
    }
    Ok(keys)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, JwtError> {
    std::fs::read(path).map_err(|source| JwtError::Read {
        path: path.clone(),
        source,
    })
}

/// Checks `exp`, which must be there, and `nbf` (RFC 7519 sections 4.1.4 and 4.1.5).
fn check_times(claims: &Map<String, Value>, now: SystemTime) -> Result<(), Denied> {
    let seconds = |claim| claims.get(claim).and_then(Value::as_f64);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expires = seconds("exp").ok_or(Denied::Invalid("the token has no expiry (exp)"))?;
    if expires + LEEWAY as f64 <= now as f64 {
        return Err(Denied::Invalid("the token has expired"));
    }
    if seconds("nbf").is_some_and(|begins| begins > (now + LEEWAY) as f64) {
        return Err(Denied::Invalid("the token is not valid yet"));
    }
    Ok(())
}

/// A claim that is a text or a list of texts.
fn words(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = claim.and_then(Value::as_array).into_iter().flatten();
    claim.into_iter().chain(list).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action;
    use crate::access::tests::{asking, name};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;

    fn config(keys: KeySource) -> JwtConfig {
        JwtConfig {
            keys,
            stream_claim: "stream".to_owned(),
            action_claim: "action".to_owned(),
            issuer: String::new(),
            audience: String::new(),
        }
    }

    fn secret() -> JwtConfig {
        config(KeySource::Secret("secret".to_owned()))
    }

    fn token(claims: &Value) -> String {
        let key = EncodingKey::from_secret(b"secret");
        encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }

    async fn checked(config: JwtConfig, token: &str) -> Result<(), Denied> {
        let stream = name("live/test");
        let request = AccessRequest {
            bearer: Some(token),
            ..asking(Action::Play, &stream, "")
        };
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        Jwt::new(config).unwrap().check(&request, now).await
    }

    fn good() -> Value {
        json!({ "exp": NOW + 60, "stream": "live/*", "action": "play" })
    }

    #[tokio::test]
    async fn a_token_is_for_its_streams_and_its_actions() {
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
    async fn expired_early_endless_and_forged_tokens_are_refused() {
        let with = |claim: &str, value: Value| {
            let mut claims = good();
            claims[claim] = value;
            token(&claims)
        };
        let mut forged = token(&good());
        forged.truncate(forged.len() - 2);
        let other_key = EncodingKey::from_secret(b"other");
        let header = Header::new(Algorithm::HS256);
        for (token, words) in [
            (with("exp", json!(NOW - 60)), "expired"),
            (with("exp", Value::Null), "no expiry"),
            (with("nbf", json!(NOW + 60)), "not valid yet"),
            (forged, "signature"),
            (encode(&header, &good(), &other_key).unwrap(), "signature"),
            ("x".repeat(MAX_TOKEN + 1), "too long"),
            ("not.a.token".to_owned(), "no JSON Web Token"),
        ] {
            let denied = checked(secret(), &token).await.unwrap_err();
            assert!(matches!(denied, Denied::Invalid(_)), "{denied}");
            assert!(denied.to_string().contains(words), "{denied}");
        }
        let within_leeway = with("exp", json!(NOW - 10));
        assert_eq!(checked(secret(), &within_leeway).await, Ok(()));
    }

    #[tokio::test]
    async fn a_token_cannot_choose_its_algorithm() {
        // {"alg":"none"} and the claims, without a signature.
        let unsigned = format!(
            "eyJhbGciOiJub25lIn0.{}.",
            token(&good()).split('.').nth(1).unwrap()
        );
        assert!(checked(secret(), &unsigned).await.is_err());
        let (private, public) = key_pair();
        let file = file(&public);
        let of_file = || config(KeySource::PublicKey(file.path().to_owned()));
        // The public key taken for the secret of an HMAC.
        let key = EncodingKey::from_secret(public.as_bytes());
        let confused = encode(&Header::new(Algorithm::HS256), &good(), &key).unwrap();
        assert!(checked(of_file(), &confused).await.is_err());
        let key = EncodingKey::from_ec_pem(private.as_bytes()).unwrap();
        let signed = encode(&Header::new(Algorithm::ES256), &good(), &key).unwrap();
        assert_eq!(checked(of_file(), &signed).await, Ok(()));
    }

    #[tokio::test]
    async fn issuer_and_audience_count_where_they_are_asked_for() {
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
    async fn keys_of_a_set_are_found_by_name() {
        // "secret" in base64url.
        let set = json!({ "keys": [
            { "kty": "oct", "kid": "old", "k": "b3RoZXI" },
            { "kty": "oct", "kid": "new", "k": "c2VjcmV0" },
            { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        ] });
        let file = file(&set.to_string());
        let of_file = || config(KeySource::KeySetFile(file.path().to_owned()));
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

    #[test]
    fn files_without_a_key_are_named() {
        let file = file("nothing");
        for keys in [
            KeySource::PublicKey(file.path().to_owned()),
            KeySource::KeySetFile(file.path().to_owned()),
            KeySource::PublicKey("/nowhere/key.pem".into()),
        ] {
            let error = Jwt::new(config(keys)).err().unwrap().to_string();
            assert!(error.starts_with('/'), "{error}");
        }
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
