//! Error responses: problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_names::StreamName;
use serde::Serialize;

use crate::help::Explanation;

/// An error response, `application/problem+json`.
///
/// Its type is `about:blank`: the status code is the kind of problem, and `detail` says what went
/// wrong this time (RFC 9457 section 4.2.1).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    stream: Option<String>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            stream: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the same problem with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds the name of the stream as the extension member `stream`.
    pub(crate) fn about(mut self, stream: &StreamName) -> Self {
        self.stream = Some(stream.to_string());
        self
    }

    /// Tells the client when to retry (RFC 9110 section 10.2.3).
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header to the response.
    pub(crate) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The members of the document (RFC 9457 section 3.1), and two extension members.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    /// The detail once more, under the name that players of MediaMTX read.
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            error: &self.detail,
            stream: self.stream.as_deref(),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        let explanation = Explanation::of_problem(self.status, &self.detail);
        response.extensions_mut().insert(explanation);
        response
    }
}
