//! A small HTTP client: one request, one response, both limited.

mod trust;

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Default maximum size of a response body, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// The error of a request. Its text has the host, but not the path or query, which may contain a
/// secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The host cannot be reached.
    #[error("{host} cannot be reached: {}", cause(.1), host = .0)]
    Connect(String, hyper_util::client::legacy::Error),
    /// The body is too long, or the connection broke.
    #[error("the answer of {0} broke off or is longer than {1} bytes")]
    Body(String, usize),
    /// The response was not complete within the timeout.
    #[error("{0} did not answer within {1:?}")]
    Timeout(String, Duration),
    /// The request is not valid.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// Returns the root cause of an error: a refused connection, an untrusted certificate.
fn cause(error: &(dyn Error + 'static)) -> String {
    if let Some(refused) = refused_certificate(error) {
        return trust::refusal(refused);
    }
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Returns the reason why the certificate of a server was refused, if that is the error.
fn refused_certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(reason);
        }
        // The source of an I/O error is not the error in it, but the source of that one.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl ClientError {
    /// Returns whether the certificate of the server was refused.
    pub fn is_untrusted(&self) -> bool {
        matches!(self, Self::Connect(_, error) if refused_certificate(error).is_some())
    }
}

/// A client for HTTP and HTTPS. Connections are kept for the next request.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    max_answer: usize,
}

impl HttpClient {
    /// Creates a client that trusts the certificates the system trusts. `timeout` covers the
    /// request and its response.
    pub fn new(timeout: Duration) -> Self {
        let builder = HttpsConnectorBuilder::new();
        match builder.with_provider_and_native_roots(aws_lc_rs::default_provider()) {
            Ok(builder) => {
                Self::connecting(builder.https_or_http().enable_http1().build(), timeout)
            }
            Err(error) => {
                // Without system certificates plain HTTP still works.
                tracing::debug!(%error, "requests over HTTPS are not possible");
                Self::trusting(RootCertStore::empty(), timeout)
            }
        }
    }

    /// Returns a client that trusts the certificates of a PEM file: servers that show one of them, and
    /// servers whose certificate is signed by one.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub fn trusting_file(file: &Path, timeout: Duration) -> io::Result<Self> {
        Ok(Self::configured(trust::of_file(file)?, timeout))
    }

    /// Returns a client that trusts every server: for a question whose answer is no secret.
    pub fn trusting_all(timeout: Duration) -> Self {
        Self::configured(trust::any(), timeout)
    }

    /// Returns a client that trusts these certificates.
    pub(crate) fn trusting(roots: RootCertStore, timeout: Duration) -> Self {
        let provider = aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::configured(config, timeout)
    }

    fn configured(config: ClientConfig, timeout: Duration) -> Self {
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        Self::connecting(builder.https_or_http().enable_http1().build(), timeout)
    }

    fn connecting(connector: HttpsConnector<HttpConnector>, timeout: Duration) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            timeout,
            max_answer: MAX_ANSWER,
        }
    }

    /// Returns the same client, for responses of up to `max` bytes.
    #[must_use]
    pub fn with_max_answer(self, max: usize) -> Self {
        Self {
            max_answer: max,
            ..self
        }
    }

    /// Fetches `uri`. Redirects are not followed.
    ///
    /// # Errors
    /// When there is no complete response within the timeout.
    pub async fn get(&self, uri: &Uri) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder().method(Method::GET).uri(uri.clone());
        self.send(uri, request.body(Full::default())?).await
    }

    /// Fetches `uri` with a bearer token (RFC 6750 section 2.1), or without one if it is empty.
    /// Redirects are not followed.
    ///
    /// # Errors
    /// When there is no complete response within the timeout, or the token cannot be in a header.
    pub async fn get_with_bearer(
        &self,
        uri: &Uri,
        token: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut request = Request::builder().method(Method::GET).uri(uri.clone());
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(uri, request.body(Full::default())?).await
    }

    /// Sends `body` to `uri`.
    pub(crate) async fn post(
        &self,
        uri: &Uri,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(header::CONTENT_TYPE, content_type);
        self.send(uri, request.body(Full::new(body))?).await
    }

    async fn send(
        &self,
        uri: &Uri,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let host = || uri.host().unwrap_or_default().to_owned();
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| ClientError::Connect(host(), error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), self.max_answer);
            let body = body.collect().await;
            let body = body.map_err(|_| ClientError::Body(host(), self.max_answer))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| ClientError::Timeout(host(), self.timeout))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{Answer, Server};

    #[tokio::test]
    async fn error_names_its_root_cause() {
        let client = HttpClient::trusting(RootCertStore::empty(), Duration::from_secs(5));
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = format!("http://{}/a?secret", free.local_addr().unwrap());
        drop(free);
        let (strange, _) = Server::start_tls(Answer::Never).await;
        for (uri, words) in [
            (nobody.parse().unwrap(), "Connection refused"),
            (
                strange.url("https"),
                "localhost cannot be reached: no authority that this machine trusts has signed its certificate",
            ),
        ] {
            let error = client.get(&uri).await.unwrap_err();
            assert_eq!(error.is_untrusted(), uri.scheme_str() == Some("https"));
            let error = error.to_string();
            assert!(
                error.contains(words) && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
