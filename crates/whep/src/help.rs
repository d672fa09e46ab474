//! Pages for people who open an address that is meant for programs, or a wrong one, in a browser.
//! Programs get the response as it is.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::relative_root::root_of;

const PAGE: &str = include_str!("../../../web/help.html");

/// The policy of the page: it has no script.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'";

/// An explanation of a response for people. Handlers add it to the extensions of a response.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub(crate) title: String,
    pub(crate) text: String,
    /// A page that helps: its path below the root, percent-encoded, and what it is.
    pub(crate) link: Option<(String, &'static str)>,
}

/// The text of the link to the root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home(pub(crate) &'static str);

/// Replaces a response by a page if it has an [`Explanation`] and a browser asks for a page.
pub(crate) async fn explain(State(home): State<Home>, request: Request, next: Next) -> Response {
    let is_page = wants_page(request.method(), request.headers());
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let Some(explanation) = response.extensions_mut().remove::<Explanation>() else {
        return response;
    };
    let vary = HeaderValue::from_static("Accept");
    if is_page {
        let page = explanation.page(&uri, home);
        let (status, headers) = (response.status(), response.headers());
        response = shown(status, headers, page);
    }
    response.headers_mut().append(header::VARY, vary);
    response
}

/// Returns whether a request comes from a browser that will show the response. Programs accept
/// everything, or what they expect.
fn wants_page(method: &Method, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    matches!(*method, Method::GET | Method::HEAD)
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Returns the page as a response, with what the original one says besides its content.
fn shown(status: StatusCode, original: &HeaderMap, page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut response = (status, headers, page).into_response();
    for name in [
        header::RETRY_AFTER,
        header::ALLOW,
        header::VARY,
        header::WWW_AUTHENTICATE,
    ] {
        for value in original.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

impl Explanation {
    /// Describes an error.
    pub(crate) fn of_problem(status: StatusCode, detail: &str) -> Self {
        let title = match status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::CONFLICT => "The stream is not live",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Access denied",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::METHOD_NOT_ALLOWED => "This address is for programs",
            StatusCode::BAD_REQUEST => "The request is not valid",
            _ => "The request failed",
        };
        Self {
            title: title.to_owned(),
            text: detail.to_owned(),
            link: None,
        }
    }

    fn page(&self, uri: &Uri, Home(home): Home) -> String {
        let root = root_of(uri.path());
        let link = self.link.as_ref().map_or(String::new(), |(path, text)| {
            format!("<a href=\"{root}{}\">{text}</a> ", escaped(path))
        });
        let links = format!("{link}<a href=\"{root}\">{home}</a>");
        // Texts that contain a placeholder are filled in last.
        PAGE.replace("{root}", &root)
            .replace("{links}", &links)
            .replace("{title}", &escaped(&self.title))
            .replace("{text}", &escaped(&self.text))
    }
}

/// Escapes a text for HTML, and the braces of placeholders.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '{' => escaped.push_str("&#123;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_links_are_relative() {
        let explanation = Explanation {
            title: "a <b> {text}".to_owned(),
            text: "\"x\" & {root}".to_owned(),
            link: Some(("live/a%20b".to_owned(), "Watch")),
        };
        let uri = Uri::from_static("/whep/live/test");
        let page = explanation.page(&uri, Home("Home"));
        assert!(page.contains("<h1>a &lt;b&gt; &#123;text}</h1>"), "{page}");
        assert!(page.contains("&quot;x&quot; &amp; &#123;root}"), "{page}");
        assert!(
            page.contains("<a href=\"../../live/a%20b\">Watch</a>"),
            "{page}"
        );
        assert!(page.contains("<a href=\"../../\">Home</a>"), "{page}");
    }

    #[test]
    fn page_keeps_the_headers_that_say_what_to_do() {
        let mut original = HeaderMap::new();
        for name in ["www-authenticate", "allow", "retry-after", "content-length"] {
            original.insert(name, HeaderValue::from_static("7"));
        }
        let page = shown(StatusCode::UNAUTHORIZED, &original, "page".to_owned());
        for name in ["www-authenticate", "allow", "retry-after"] {
            assert_eq!(page.headers()[name], "7", "{name}");
        }
        assert_ne!(
            page.headers().get("content-length"),
            Some(&HeaderValue::from(7))
        );
    }

    #[test]
    fn only_browsers_that_show_the_response_get_a_page() {
        let wants = |method: Method, accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            wants_page(&method, &headers)
        };
        assert!(wants(
            Method::GET,
            "text/html,application/xhtml+xml,*/*;q=0.8"
        ));
        assert!(!wants(Method::GET, "*/*"));
        assert!(!wants(Method::GET, "application/json"));
        assert!(!wants(Method::POST, "text/html"));
        assert!(!wants_page(&Method::GET, &HeaderMap::new()));
    }
}
