//! The keys that verify tokens: a secret, a public key, or a JSON Web Key Set (RFC 7517) from a
//! file or a URL.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::access::Denied;
use crate::client::HttpClient;
use crate::http_url::HttpUrlError;

/// Time after which a fetched key set is fetched again.
const LIFETIME: Duration = Duration::from_secs(300);

/// Minimum interval between two fetches, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(10);

/// Timeout of fetching a key set.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The source of the keys.
pub(crate) enum KeySource {
    /// A shared secret: HS256.
    Secret(String),
    /// A PEM file with a public key: RS256 or ES256.
    PublicKey(PathBuf),
    /// A file with a JSON Web Key Set (RFC 7517 section 5).
    KeySetFile(PathBuf),
    /// The URL of a key set, which is fetched again periodically, and when a token names an unknown
    /// key.
    KeySetUrl(Uri),
}

/// The error of an unusable source of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// No source of keys is set.
    #[error("set one of secret, public_key and jwks")]
    NoSource,
    /// Several sources of keys are set.
    #[error("set only one of secret, public_key and jwks")]
    SeveralSources,
    /// The URL of the key set is not valid.
    #[error("jwks: {0}")]
    Url(HttpUrlError),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A file has no key that can be used.
    #[error("{}: no RSA or P-256 public key in PEM", .0.display())]
    NotAKey(PathBuf),
    /// A file is not a key set.
    #[error("{}: not a JSON Web Key Set: {source}", path.display())]
    NotAKeySet {
        /// The file.
        path: PathBuf,
        /// The error of parsing.
        source: serde_json::Error,
    },
    /// The source has no usable key.
    #[error("{0}: no key for HS256, RS256 or ES256")]
    NoKey(String),
}

/// A key with its id and algorithm.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The current keys.
pub(crate) struct Keys {
    known: Mutex<Arc<Vec<Key>>>,
    /// The URL that they are fetched from, if any.
    remote: Option<Remote>,
}

struct Remote {
    url: Uri,
    client: HttpClient,
    /// Held while fetching, so that one fetch serves all waiting requests.
    last: tokio::sync::Mutex<Option<Fetch>>,
}

/// The last attempt to fetch a key set.
struct Fetch {
    at: Instant,
    succeeded: bool,
}

impl Keys {
    /// Reads the keys, unless they come from a URL.
    pub(crate) fn new(source: &KeySource) -> Result<Self, JwtError> {
        Ok(match source {
            KeySource::Secret(secret) => Self::of(vec![Key::secret(secret)]),
            KeySource::PublicKey(path) => Self::of(vec![Key::pem(path)?]),
            KeySource::KeySetFile(path) => Self::of(key_set_file(path)?),
            KeySource::KeySetUrl(url) => Self::fetched(url.clone(), HttpClient::new(TIMEOUT)),
        })
    }

    fn of(keys: Vec<Key>) -> Self {
        Self {
            known: Mutex::new(Arc::new(keys)),
            remote: None,
        }
    }

    fn fetched(url: Uri, client: HttpClient) -> Self {
        Self {
            remote: Some(Remote {
                url,
                client,
                last: tokio::sync::Mutex::new(None),
            }),
            ..Self::of(Vec::new())
        }
    }

    /// Returns the key that a token names, or the only one for its algorithm.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Key, Denied> {
        self.refresh(|| find(&self.current(), id, algorithm).is_some())
            .await?;
        find(&self.current(), id, algorithm)
            .cloned()
            .ok_or(Denied::Invalid("the token is signed with an unknown key"))
    }

    /// Fetches the keys if they come from a URL, so that the first token does not wait, and a
    /// failure is logged before it.
    pub(crate) async fn prepare(&self) {
        // Retried when a token arrives.
        let _ = self.refresh(|| false).await;
    }

    async fn refresh(&self, is_known: impl Fn() -> bool) -> Result<(), Denied> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        if let Some(keys) = remote.refresh(is_known).await? {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        }
        Ok(())
    }

    fn current(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Remote {
    /// Fetches the key set if it is old, or does not have the requested key.
    async fn refresh(&self, is_known: impl Fn() -> bool) -> Result<Option<Vec<Key>>, Denied> {
        let mut last = if is_known() {
            // A token with a known key does not wait for a fetch.
            match self.last.try_lock() {
                Ok(last) => last,
                Err(_) => return Ok(None),
            }
        } else {
            self.last.lock().await
        };
        if let Some(Fetch { at, succeeded }) = *last {
            let pause = if is_known() { LIFETIME } else { PAUSE };
            if at.elapsed() < pause {
                // A failing server does not make tokens invalid.
                return if is_known() || succeeded {
                    Ok(None)
                } else {
                    Err(Denied::Unavailable)
                };
            }
        }
        let at = Instant::now();
        let fetched = self.fetch().await;
        *last = Some(Fetch {
            at,
            succeeded: fetched.is_ok(),
        });
        match fetched {
            Ok(keys) => Ok(Some(keys)),
            Err(reason) => {
                tracing::warn!(reason, "cannot fetch the key set for tokens");
                // Known keys stay valid.
                if is_known() {
                    Ok(None)
                } else {
                    Err(Denied::Unavailable)
                }
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let (status, body) = self
            .client
            .get(&self.url)
            .await
            .map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(status.to_string());
        }
        let mut keys = usable(&body).map_err(|error| error.to_string())?;
        // A secret that everybody can fetch is not accepted.
        keys.retain(|key| key.algorithm != Algorithm::HS256);
        if keys.is_empty() {
            tracing::warn!("the key set for tokens has no key for RS256 or ES256");
        }
        Ok(keys)
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

    fn pem(path: &Path) -> Result<Self, JwtError> {
        let pem = read(path)?;
        let (algorithm, key) = DecodingKey::from_rsa_pem(&pem)
            .map(|key| (Algorithm::RS256, key))
            .or_else(|_| DecodingKey::from_ec_pem(&pem).map(|key| (Algorithm::ES256, key)))
            .map_err(|_| JwtError::NotAKey(path.to_owned()))?;
        Ok(Self {
            id: None,
            algorithm,
            key,
        })
    }

    /// Returns a key of a set; `None` for other key types and other uses (RFC 7517 sections 4.2 to
    /// 4.4).
    fn of(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let (algorithm, declared) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
            _ => return None,
        };
        let is_for_signatures = common.key_algorithm.is_none_or(|alg| alg == declared)
            && common
                .public_key_use
                .as_ref()
                .is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// Returns the key with this id and algorithm. A token without a key id matches a set with one key
/// for its algorithm.
fn find<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| key.algorithm == algorithm);
    match id {
        Some(id) => fitting.find(|key| key.id.as_deref().is_none_or(|known| known == id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

/// Returns the usable keys of a set. Others are ignored (RFC 7517 section 5).
fn usable(set: &[u8]) -> Result<Vec<Key>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(set)?;
    let keys = set.keys.into_iter();
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(keys.filter_map(|key| Key::of(&key)).collect())
}

fn key_set_file(path: &Path) -> Result<Vec<Key>, JwtError> {
    let keys = usable(&read(path)?).map_err(|source| JwtError::NotAKeySet {
        path: path.to_owned(),
        source,
    })?;
    if keys.is_empty() {
        return Err(JwtError::NoKey(path.display().to_string()));
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<Vec<u8>, JwtError> {
    std::fs::read(path).map_err(|source| JwtError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::test_server::{Answer, Server};
    use jsonwebtoken::EncodingKey;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::json;

    /// Returns a signing key, and its entry in a key set with this `id`.
    pub(crate) fn signer(algorithm: Algorithm, id: &str) -> (EncodingKey, Value) {
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap()
            }
            _ => {
                let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
                EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap()
            }
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        (key, serde_json::to_value(jwk).unwrap())
    }

    fn named(id: &str) -> Value {
        signer(Algorithm::ES256, id).1
    }

    fn set(keys: &[Value]) -> Answer {
        Answer::Ok(json!({ "keys": keys }).to_string())
    }

    fn fetched(server: &Server) -> Keys {
        Keys::fetched(server.url("http"), HttpClient::new(TIMEOUT))
    }

    async fn has(keys: &Keys, id: &str) -> Result<(), Denied> {
        keys.find(Some(id), Algorithm::ES256).await.map(drop)
    }

    /// As above, for a server that does not answer in time.
    async fn has_after_timeout(server: &Server, keys: &Keys, id: &str) -> Result<(), Denied> {
        let asked = server.requests().len();
        let time_out = async {
            while server.requests().len() == asked {
                tokio::task::yield_now().await;
            }
            pass(TIMEOUT).await;
        };
        tokio::join!(has(keys, id), time_out).0
    }

    /// Advances the clock.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn unknown_key_is_fetched_at_a_limited_rate() {
        let unknown = Err(Denied::Invalid("the token is signed with an unknown key"));
        let server = Server::start(set(&[named("one")])).await;
        let keys = fetched(&server);
        assert_eq!(has(&keys, "one").await, Ok(()));
        assert_eq!(has(&keys, "one").await, Ok(()));
        assert_eq!(server.requests().len(), 1);

        server.answer(set(&[named("one"), named("two")]));
        for _ in 0..10 {
            assert_eq!(has(&keys, "two").await, unknown);
        }
        assert_eq!(server.requests().len(), 1);
        pass(PAUSE).await;
        assert_eq!(has(&keys, "two").await, Ok(()));
        assert_eq!(server.requests().len(), 2);

        // Withdrawn keys are dropped when the set is old.
        server.answer(set(&[named("two")]));
        pass(LIFETIME).await;
        assert_eq!(has(&keys, "one").await, unknown);
        assert_eq!(has(&keys, "two").await, Ok(()));
        assert_eq!(server.requests().len(), 3);
    }

    #[tokio::test]
    async fn keys_are_fetched_before_the_first_token() {
        let server = Server::start(set(&[named("one")])).await;
        let keys = fetched(&server);
        keys.prepare().await;
        assert_eq!(server.requests().len(), 1);
        assert_eq!(has(&keys, "one").await, Ok(()));
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn access_is_denied_until_the_key_server_has_answered_once() {
        let server = Server::start(Answer::Status("500 Internal Server Error")).await;
        let keys = fetched(&server);
        for broken in [
            Answer::Status("500 Internal Server Error"),
            Answer::Status("302 Found"),
            Answer::Ok("<html>".to_owned()),
            Answer::Ok(json!({ "keys": 5 }).to_string()),
            Answer::Ok(" ".repeat(1 << 20)),
        ] {
            server.answer(broken);
            pass(PAUSE).await;
            let asked = server.requests().len();
            assert_eq!(has(&keys, "one").await, Err(Denied::Unavailable));
            // No new fetch this soon, and the token is still not invalid.
            assert_eq!(has(&keys, "one").await, Err(Denied::Unavailable));
            assert_eq!(server.requests().len(), asked + 1);
        }
        server.answer(Answer::Never);
        pass(PAUSE).await;
        let denied = has_after_timeout(&server, &keys, "one").await;
        assert_eq!(denied, Err(Denied::Unavailable));
        server.answer(set(&[named("one")]));
        pass(PAUSE).await;
        assert_eq!(has(&keys, "one").await, Ok(()));
        // From then on known keys stay valid.
        server.answer(Answer::Never);
        pass(LIFETIME).await;
        assert_eq!(has_after_timeout(&server, &keys, "one").await, Ok(()));
        pass(PAUSE).await;
        let denied = has_after_timeout(&server, &keys, "two").await;
        assert_eq!(denied, Err(Denied::Unavailable));
    }

    #[tokio::test]
    async fn token_with_a_known_key_does_not_wait_for_a_slow_server() {
        let server = Server::start(set(&[named("one")])).await;
        let keys = fetched(&server);
        assert_eq!(has(&keys, "one").await, Ok(()));
        server.answer(Answer::Never);
        pass(LIFETIME).await;
        // Both are polled in turn: the first waits for the server, and the second is done before
        // it.
        let (first, second) = (has(&keys, "one"), has(&keys, "one"));
        tokio::select! {
            biased;
            _ = first => panic!("this one asks the server"),
            known = second => assert_eq!(known, Ok(())),
        }
    }

    #[test]
    fn keys_for_other_uses_are_ignored() {
        let with = |member: &str, value: Value| {
            let mut key = named("x");
            key[member] = value;
            key
        };
        let keys = json!({ "keys": [
            with("use", json!("enc")),
            with("alg", json!("ES384")),
            with("key_ops", json!(["sign"])),
            with("crv", json!("P-521")),
            with("kty", json!("XYZ")),
            { "kty": "RSA", "n": "", "e": "" },
            5,
            with("use", json!("sig")),
        ] });
        let keys = usable(keys.to_string().as_bytes()).unwrap();
        let fit = keys.iter().filter(|key| key.algorithm == Algorithm::ES256);
        assert_eq!(fit.count(), 1);
    }

    #[tokio::test]
    async fn secret_in_a_fetched_key_set_is_ignored() {
        let secret = json!({ "kty": "oct", "kid": "one", "k": "c2VjcmV0" });
        let server = Server::start(set(&[secret])).await;
        let found = fetched(&server).find(Some("one"), Algorithm::HS256).await;
        assert!(matches!(found, Err(Denied::Invalid(_))));
    }

    #[tokio::test]
    async fn key_set_is_fetched_over_https_from_a_trusted_server() {
        let (server, roots) = Server::start_tls(set(&[named("one")])).await;
        let client = HttpClient::trusting(roots, TIMEOUT);
        let keys = Keys::fetched(server.url("https"), client);
        assert_eq!(has(&keys, "one").await, Ok(()));
        let strange = Keys::fetched(server.url("https"), HttpClient::new(TIMEOUT));
        assert_eq!(has(&strange, "one").await, Err(Denied::Unavailable));
    }
}
