//! Asks another program over HTTP; a 2xx response allows access.

use std::time::Duration;

use bytes::Bytes;
use distributary_config::Section;
use http::Uri;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::access::{AccessRequest, Action, Denied};
use crate::client::HttpClient;
use crate::http_url::HttpUrl;

/// The format of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object: `action`, `ip`, `app`, `stream`, `query`, `token`, `user_agent`.
    #[default]
    Json,
    /// The form that nginx-rtmp sends to `on_publish` and `on_play`: `call`, `addr`, `app`, `name`,
    /// `flashver`, and the unchanged query parameters.
    Form,
}

/// The section `[auth.webhook]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
#[reload]
pub struct WebhookConfig {
    /// URL of POST requests for publishers.
    pub publish_url: HttpUrl,
    /// URL of POST requests for viewers.
    pub play_url: HttpUrl,
    /// The format of a request.
    pub format: Format,
    /// Timeout of the response. Without a response access is denied.
    #[serde(with = "distributary_config::time")]
    pub timeout: Duration,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            publish_url: HttpUrl::default(),
            play_url: HttpUrl::default(),
            format: Format::default(),
            timeout: Duration::from_secs(3),
        }
    }
}

/// The JSON body of a request.
#[derive(Serialize)]
struct Question<'a> {
    action: Action,
    ip: String,
    app: &'a str,
    stream: &'a str,
    query: &'a str,
    /// The token of the `Authorization` header.
    token: Option<&'a str>,
    user_agent: Option<&'a str>,
}

/// A webhook.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    url: Uri,
    format: Format,
    client: HttpClient,
}

impl Webhook {
    pub(crate) fn new(url: Uri, format: Format, timeout: Duration) -> Self {
        Self {
            client: HttpClient::new(timeout),
            url,
            format,
        }
    }

    pub(crate) async fn check(&self, request: &AccessRequest<'_>) -> Result<(), Denied> {
        let (content_type, body) = match self.format {
            Format::Json => ("application/json", json(request)),
            Format::Form => ("application/x-www-form-urlencoded", form(request)),
        };
        match self.client.post(&self.url, content_type, body).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) if status.is_server_error() => {
                tracing::warn!(%status, "the webhook failed, so access is denied");
                Err(Denied::Unavailable)
            }
            Ok(_) if request.credentials().is_empty() => Err(Denied::Missing),
            Ok(_) => Err(Denied::Forbidden("this is not allowed")),
            Err(error) => {
                tracing::warn!(%error, "the webhook failed, so access is denied");
                Err(Denied::Unavailable)
            }
        }
    }
}

fn json(request: &AccessRequest<'_>) -> Bytes {
    let (app, stream) = request.stream.parts();
    let question = Question {
        action: request.action,
        ip: request.ip.to_string(),
        app,
        stream,
        query: request.query,
        token: request.bearer,
        user_agent: request.client,
    };
    // Strings are always JSON.
    serde_json::to_vec(&question).unwrap_or_default().into()
}

fn form(request: &AccessRequest<'_>) -> Bytes {
    let (app, stream) = request.stream.parts();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("call", &request.action.to_string());
    form.append_pair("addr", &request.ip.to_string());
    form.append_pair("app", app);
    form.append_pair("name", stream);
    if let Some(client) = request.client {
        form.append_pair("flashver", client);
    }
    if let Some(bearer) = request.bearer {
        form.append_pair("token", bearer);
    }
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        // The client's parameters must not override ours.
        if !["call", "addr", "app", "name", "flashver"].contains(&&*name) {
            form.append_pair(&name, &value);
        }
    }
    form.finish().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::{asking, name};
    use crate::test_server::{Answer, Server};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Starts a server that reads one request, returns it, and responds with `answer`, or never.
    async fn program(
        answer: Option<&'static str>,
    ) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut question = Vec::new();
            // The bodies of these tests end like this.
            while !question.ends_with(b"}") && !question.ends_with(b"x=1") {
                socket.read_buf(&mut question).await.unwrap();
            }
            match answer {
                Some(answer) => socket.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
            String::from_utf8(question).unwrap()
        });
        (address, task)
    }

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn webhook(address: SocketAddr, format: Format) -> Webhook {
        let url = format!("http://{address}/auth").parse().unwrap();
        Webhook::new(url, format, TIMEOUT)
    }

    #[tokio::test]
    async fn json_request_has_all_fields_and_2xx_allows() {
        let (address, task) = program(Some("HTTP/1.1 204 No Content\r\n\r\n")).await;
        let stream = name("live/eu/show");
        let request = AccessRequest {
            bearer: Some("t"),
            client: Some("OBS"),
            ..asking(Action::Publish, &stream, "key=a&x=1")
        };
        let webhook = webhook(address, Format::Json);
        assert_eq!(webhook.check(&request).await, Ok(()));
        let question = task.await.unwrap();
        assert!(
            question.starts_with("POST /auth HTTP/1.1\r\n"),
            "{question}"
        );
        let body = question.split_once("\r\n\r\n").unwrap().1;
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "action": "publish", "ip": "127.0.0.1", "app": "live/eu", "stream": "show",
                "query": "key=a&x=1", "token": "t", "user_agent": "OBS",
            })
        );
    }

    #[tokio::test]
    async fn form_request_is_that_of_nginx_rtmp_and_cannot_be_forged() {
        let (address, task) = program(Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
        let stream = name("live/test");
        let request = asking(Action::Play, &stream, "addr=9.9.9.9&key=a%26b&x=1");
        assert_eq!(webhook(address, Format::Form).check(&request).await, Ok(()));
        let question = task.await.unwrap();
        let body = question.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(
            body,
            "call=play&addr=127.0.0.1&app=live&name=test&key=a%26b&x=1"
        );
    }

    #[tokio::test]
    async fn other_responses_deny_access() {
        let stream = name("live/test");
        for (answer, query, expected) in [
            (
                "403 Forbidden",
                "key=a",
                Denied::Forbidden("this is not allowed"),
            ),
            (
                "302 Found",
                "key=a",
                Denied::Forbidden("this is not allowed"),
            ),
            ("401 Unauthorized", "", Denied::Missing),
            ("500 Internal Server Error", "key=a", Denied::Unavailable),
        ] {
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
            let (address, _task) = program(Some(answer.leak())).await;
            let request = asking(Action::Play, &stream, query);
            let denied = webhook(address, Format::Json).check(&request).await;
            assert_eq!(denied, Err(expected));
        }
    }

    #[tokio::test]
    async fn webhook_with_https_requires_a_trusted_certificate() {
        let (server, roots) = Server::start_tls(Answer::Status("204 No Content")).await;
        let stream = name("live/test");
        let request = asking(Action::Play, &stream, "key=a");
        let strange = Webhook::new(server.url("https"), Format::Json, TIMEOUT);
        assert_eq!(strange.check(&request).await, Err(Denied::Unavailable));
        assert_eq!(
            server.requests().len(),
            0,
            "an untrusted server gets no request"
        );
        let webhook = Webhook {
            client: HttpClient::trusting(roots, TIMEOUT),
            ..strange
        };
        assert_eq!(webhook.check(&request).await, Ok(()));
        assert!(server.requests()[0].contains("\"query\":\"key=a\""));
    }

    #[tokio::test]
    async fn slow_or_unreachable_webhook_denies_access() {
        let stream = name("live/test");
        let request = asking(Action::Play, &stream, "key=a");
        let (address, task) = program(None).await;
        let url = webhook(address, Format::Json).url;
        let slow = Webhook::new(url, Format::Json, Duration::from_millis(50));
        assert_eq!(slow.check(&request).await, Err(Denied::Unavailable));
        task.abort();
        let _ = task.await;
        let gone = webhook(address, Format::Json);
        assert_eq!(gone.check(&request).await, Err(Denied::Unavailable));
    }
}
