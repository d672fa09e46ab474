//! `distributary doctor`: asks a running gateway to examine its machine, or examines it alone.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use distributary_auth::HttpUrl;
use distributary_auth::client::{ClientError, HttpClient};
use distributary_whep::admin::{Finding, Level};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::config::Config;
use crate::doctor::examine_alone;

/// Timeout of the request: the gateway waits for answers to its own checks, and for ffmpeg.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The findings, and who made them.
#[derive(Debug)]
pub struct Report {
    /// The running gateway that was asked; the reason why none was.
    source: Result<Uri, String>,
    findings: Vec<Finding>,
}

/// The gateway was reached and did not examine its machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoctorError {
    /// The request cannot be made.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The URL is empty or too long.
    #[error("--url: expected the URL of the admin API, such as http://127.0.0.1:8180")]
    Url,
    /// The token is missing or wrong.
    #[error(
        "{0} requires the admin token: name the gateway's configuration with --config FILE, or set \
         DISTRIBUTARY_ADMIN_TOKEN"
    )]
    Token(Uri),
    /// The response is no list of findings.
    #[error("{0} responds {1} and no findings: is it the admin API of a gateway of this version?")]
    Answer(Uri, StatusCode),
    /// The gateway that was named cannot be reached.
    #[error("{0} cannot be asked: {1}")]
    Unreachable(Uri, Box<ClientError>),
}

/// Asks the gateway whose admin API is at `url`, or that of the configuration if one runs.
/// Otherwise examines this machine for a gateway with this configuration.
///
/// # Errors
/// When a gateway responds and does not examine its machine, or `url` cannot be reached.
pub fn run(config: &Config, url: Option<&HttpUrl>) -> Result<Report, DoctorError> {
    let asked = match url {
        Some(url) => Some(url.uri().ok_or(DoctorError::Url)?.to_string()),
        None => local(config)?,
    };
    let Some(base) = asked else {
        let reason = "the admin API is off";
        return Ok(alone(config, reason.to_owned()));
    };
    let uri = format!("{}/api/doctor", base.trim_end_matches('/'));
    let uri: Uri = uri.parse().map_err(|_| DoctorError::Url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let client = HttpClient::new(TIMEOUT);
    match runtime.block_on(client.get_with_bearer(&uri, &config.admin_token)) {
        Ok((StatusCode::OK, body)) => {
            let list = serde_json::from_slice::<List>(&body);
            let list = list.map_err(|_| DoctorError::Answer(uri.clone(), StatusCode::OK))?;
            Ok(Report {
                source: Ok(uri),
                findings: list.findings,
            })
        }
        Ok((StatusCode::UNAUTHORIZED, _)) => Err(DoctorError::Token(uri)),
        Ok((status, _)) => Err(DoctorError::Answer(uri, status)),
        Err(error) if url.is_some() => Err(DoctorError::Unreachable(uri, Box::new(error))),
        Err(error) => Ok(alone(config, error.to_string())),
    }
}

/// The response of the admin API.
#[derive(Deserialize)]
struct List {
    findings: Vec<Finding>,
}

/// Examines this machine without a gateway, for this reason.
fn alone(config: &Config, reason: String) -> Report {
    Report {
        source: Err(reason),
        findings: examine_alone(config),
    }
}

/// Returns the URL of the admin API on this machine; `None` if it is off.
fn local(config: &Config) -> Result<Option<String>, DoctorError> {
    let Some(address) = &config.admin.0 else {
        return Ok(None);
    };
    let address = address.resolve()?;
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            Ipv4Addr::LOCALHOST.into()
        }
        ip => ip,
    };
    Ok(Some(format!(
        "http://{}",
        SocketAddr::new(ip, address.port())
    )))
}

impl Report {
    /// Returns whether something does not work.
    pub fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    fn count(&self, level: Level) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    }
}

/// Writes the findings, and their numbers.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Ok(uri) => writeln!(f, "Asked the running gateway: {uri}\n")?,
            Err(reason) => writeln!(f, "No running gateway was asked ({reason}).\n")?,
        }
        for finding in &self.findings {
            // The gateway may be another program.
            let text = finding.to_string();
            f.write_str(&text.replace(|c: char| c.is_control() && c != '\n', " "))?;
        }
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        writeln!(f, "\nerrors: {errors}, warnings: {warnings}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Serves one request with `body`, and returns the port. The request must have the token.
    fn gateway(status: &'static str, body: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let lines: Vec<_> = lines
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            assert_eq!(lines[0], "GET /api/doctor HTTP/1.1");
            assert!(lines.contains(&"authorization: Bearer secret".to_owned()));
            let len = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}"
            )
            .unwrap();
        });
        port
    }

    fn config(port: u16) -> Config {
        toml::from_str(&format!("admin = {port}\nadmin_token = \"secret\"\n")).unwrap()
    }

    #[test]
    fn running_gateway_is_asked() {
        let port = gateway(
            "200 OK",
            r#"{"findings":[
                {"check":"ports","level":"ok","text":"bound","advice":null},
                {"check":"addresses","level":"warning","text":"none","advice":"Set advertise."}
            ]}"#,
        );
        let report = run(&config(port), None).unwrap();
        assert!(!report.has_errors());
        assert_eq!(
            report.to_string(),
            format!(
                "Asked the running gateway: http://127.0.0.1:{port}/api/doctor\n\n\
                 ok       ports         bound\n\
                 warning  addresses     none\n\
                 \x20                       Set advertise.\n\
                 \nerrors: 0, warnings: 1\n"
            )
        );
    }

    #[test]
    fn gateway_that_refuses_is_an_error() {
        let port = gateway("401 Unauthorized", "{}");
        let error = run(&config(port), None).unwrap_err().to_string();
        assert!(error.contains("requires the admin token"), "{error}");
        let port = gateway("404 Not Found", "{}");
        let error = run(&config(port), None).unwrap_err().to_string();
        assert!(error.contains("responds 404 Not Found"), "{error}");
    }

    #[test]
    fn machine_is_examined_if_no_gateway_runs() {
        let text = "rtmp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\nadmin = \"\"\n\
                    transcode.command = \"\"\n";
        let report = run(&toml::from_str(text).unwrap(), None).unwrap();
        let text = report.to_string();
        assert!(
            text.starts_with("No running gateway was asked (the admin API is off).\n"),
            "{text}"
        );
        for check in [
            "addresses",
            "ports",
            "clock",
            "open files",
            "buffers",
            "ffmpeg",
            "certificates",
        ] {
            assert!(
                report.findings.iter().any(|finding| finding.check == check),
                "{check}"
            );
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );

        // A URL that was given has to be reachable.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let error = run(&Config::default(), Some(&url.parse().unwrap()));
        assert!(matches!(error, Err(DoctorError::Unreachable(..))));
    }
}
