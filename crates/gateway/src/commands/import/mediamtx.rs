//! The settings of MediaMTX.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use toml::Value;

use super::converted::Converted;

/// Protocols of MediaMTX that the gateway does not have, by the prefix of their settings.
const OTHER_PROTOCOLS: [(&str, &str); 6] = [
    ("rtsp", "there is no RTSP"),
    ("rtp", "there is no RTSP"),
    ("multicast", "there is no RTSP"),
    ("hls", "there is no HLS"),
    ("srt", "there is no SRT"),
    ("moq", "there is no MoQ"),
];

/// Settings that belong to another one, which converts them.
const PARTS: [&str; 10] = [
    "webrtc",
    "rtmp",
    "rtmpsAddress",
    "rtmpServerKey",
    "rtmpServerCert",
    "webrtcServerKey",
    "webrtcServerCert",
    "webrtcIPsFromInterfaces",
    "authMethod",
    "metrics",
];

/// Converts a file.
pub(super) fn convert(text: &str) -> Result<Converted, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    let mut converted = Converted::default();
    let root = documents.first().and_then(Yaml::as_mapping);
    let Some(root) = root else {
        return Ok(converted);
    };
    let settings = Settings(documents.first());
    for (key, value) in root {
        if let Some(key) = key.as_str() {
            settings.convert(key, value, &mut converted);
        }
    }
    Ok(converted)
}

/// The settings of a file.
struct Settings<'a, 'i>(Option<&'a Yaml<'i>>);

impl Settings<'_, '_> {
    fn convert(&self, key: &str, value: &Yaml<'_>, to: &mut Converted) {
        let text = scalar(value);
        match key {
            "logLevel" => to.set("log", text),
            "readTimeout" => time(key, &text, "publishers.read_timeout", to),
            "writeTimeout" => time(key, &text, "requests.write_timeout", to),
            "rtmpAddress" => to.set("rtmp", address(&text)),
            "rtmpEncryption" => self.rtmps(&text, to),
            "webrtcAddress" => self.http(&text, to),
            "webrtcEncryption" => self.https(&text, to),
            "webrtcAllowOrigin" => to.set("whep.allowed_origins", vec![text]),
            "webrtcAllowOrigins" => to.set("whep.allowed_origins", list(value)),
            "webrtcTrustedProxies" => to.set("requests.trusted_proxies", list(value)),
            "webrtcLocalUDPAddress" if !text.is_empty() => to.set("webrtc", address(&text)),
            "webrtcLocalTCPAddress" => to.set("viewers.tcp", !text.is_empty()),
            "webrtcIPsFromInterfacesList" => to.set("interfaces", list(value)),
            "webrtcAdditionalHosts" => self.advertise(value, to),
            "webrtcICEServers2" => ice_servers(value, to),
            "metricsAddress" if is_yes(&self.text("metrics")) => to.set("admin", address(&text)),
            "authHTTPAddress" if self.text("authMethod") == "http" => webhook(&text, to),
            "authJWTJWKS" if self.text("authMethod") == "jwt" => {
                to.set("auth.publish", "jwt");
                to.set("auth.play", "jwt");
                to.set(
                    "auth.jwt",
                    toml::Table::from_iter([("jwks".to_owned(), text.into())]),
                );
                to.leave(
                    "authJWTClaimKey",
                    "tokens need the claims stream and action; see stream_claim under [auth.jwt]",
                );
            }
            "authInternalUsers" if self.is_internal() => users(value, to),
            "pathDefaults" => path_defaults(value, to),
            "paths" => paths(value, to),
            _ => self.leave(key, &text, to),
        }
    }

    fn leave(&self, key: &str, text: &str, to: &mut Converted) {
        if PARTS.contains(&key) {
            return;
        }
        let mut others = OTHER_PROTOCOLS.into_iter();
        match others.find(|(prefix, _)| key.starts_with(prefix)) {
            // One line for each protocol, unless it is off.
            Some((prefix, reason)) if key == prefix => {
                if !is_no(text) {
                    to.leave(key, reason);
                }
            }
            Some(_) => {}
            None => to.leave(key, "there is no such setting"),
        }
    }

    /// Returns the value of another setting; empty if there is none.
    fn text(&self, key: &str) -> String {
        let value = self.0.and_then(|root| root.as_mapping_get(key));
        value.map(scalar).unwrap_or_default()
    }

    fn is_internal(&self) -> bool {
        matches!(self.text("authMethod").as_str(), "" | "internal")
    }

    fn rtmps(&self, encryption: &str, to: &mut Converted) {
        if is_no(encryption) {
            return;
        }
        let listen = self.text("rtmpsAddress");
        let listen = if listen.is_empty() { ":1936" } else { &listen };
        to.set("rtmps.listen", address(listen));
        to.set("rtmps.certificate", self.text("rtmpServerCert"));
        to.set("rtmps.key", self.text("rtmpServerKey"));
        if encryption == "strict" {
            to.leave(
                "rtmpEncryption: strict",
                "RTMP without TLS stays on; set rtmp to a loopback address",
            );
        }
    }

    fn http(&self, text: &str, to: &mut Converted) {
        if is_no(&self.text("webrtcEncryption")) {
            to.set("http", address(text));
        }
    }

    fn https(&self, encryption: &str, to: &mut Converted) {
        if is_no(encryption) {
            return;
        }
        let listen = self.text("webrtcAddress");
        let listen = if listen.is_empty() { ":8889" } else { &listen };
        to.set("http", "127.0.0.1:8080");
        to.set("https.listen", address(listen));
        to.set("https.certificate", self.text("webrtcServerCert"));
        to.set("https.key", self.text("webrtcServerKey"));
    }

    fn advertise(&self, value: &Yaml<'_>, to: &mut Converted) {
        let mut hosts = list(value);
        if hosts.is_empty() {
            return;
        }
        if !is_no(&self.text("webrtcIPsFromInterfaces")) {
            hosts.insert(0, "auto".to_owned());
        }
        to.set("advertise", hosts);
    }
}

fn ice_servers(value: &Yaml<'_>, to: &mut Converted) {
    for server in items(value) {
        let text = |key: &str| server.as_mapping_get(key).map(scalar).unwrap_or_default();
        let (url, user, password) = (text("url"), text("username"), text("password"));
        if user == "AUTH_SECRET" {
            to.push(
                "ice_server",
                [("url", url.into()), ("secret", password.into())],
            );
        } else if user.is_empty() {
            to.push("ice_server", [("url", url.into())]);
        } else {
            let credentials = [("username", user.into()), ("password", password.into())];
            let [user, password] = credentials;
            to.push("ice_server", [("url", url.into()), user, password]);
        }
    }
}

fn webhook(url: &str, to: &mut Converted) {
    to.set("auth.publish", "webhook");
    to.set("auth.play", "webhook");
    let urls = ["publish_url", "play_url"].map(|key| (key.to_owned(), url.into()));
    to.set("auth.webhook", toml::Table::from_iter(urls));
    to.leave(
        "authHTTPAddress",
        "the request has other fields; see format under [auth.webhook]",
    );
}

/// Converts users with a plain password to keys: the password is the key.
fn users(value: &Yaml<'_>, to: &mut Converted) {
    for user in items(value) {
        let text = |key: &str| user.as_mapping_get(key).map(scalar).unwrap_or_default();
        let (name, password) = (text("user"), text("pass"));
        if name == "any" && password.is_empty() {
            continue;
        }
        if ["sha256:", "argon2:"]
            .iter()
            .any(|hash| password.starts_with(hash))
        {
            to.leave(
                format!("authInternalUsers: {name}"),
                "the password is hashed; a key has to be plain",
            );
            continue;
        }
        if name != "any" {
            to.leave(
                format!("authInternalUsers: {name}"),
                "keys have no user names: the password alone is the key, also as ?user=...&pass=...",
            );
        }
        let permissions = user.as_mapping_get("permissions");
        for permission in permissions.into_iter().flat_map(items) {
            let text = |key: &str| {
                permission
                    .as_mapping_get(key)
                    .map(scalar)
                    .unwrap_or_default()
            };
            let path = text("path");
            let streams = if path.is_empty() { "*" } else { &path };
            let (list, method) = match text("action").as_str() {
                "publish" => ("publish", "auth.publish"),
                "read" => ("play", "auth.play"),
                _ => continue,
            };
            if !is_pattern(streams) {
                to.leave(format!("authInternalUsers: {name}: {streams}"), NOT_A_NAME);
                continue;
            }
            to.set(method, "keys");
            let keys = Value::from(vec![password.clone()]);
            to.push("auth.key", [("match", streams.into()), (list, keys)]);
        }
    }
}

fn path_defaults(value: &Yaml<'_>, to: &mut Converted) {
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let (Some(key), text) = (key.as_str(), scalar(value)) else {
            continue;
        };
        match (key, text.parse::<i64>()) {
            ("maxReaders", Ok(0)) => {}
            ("maxReaders", Ok(max)) => to.set("viewers.max_per_stream", max),
            ("overridePublisher", _) if is_yes(&text) => {
                to.set("publishers.on_duplicate", "takeover");
            }
            ("overridePublisher", _) => to.set("publishers.on_duplicate", "refuse"),
            ("source", _) if text == "publisher" => {}
            ("record", _) if is_no(&text) => {}
            ("record", _) => to.leave("pathDefaults.record", "there is no recording"),
            _ if key.starts_with("record") || key.starts_with("rpiCamera") => {}
            _ => to.leave(format!("pathDefaults.{key}"), "there is no such setting"),
        }
    }
}

const NOT_A_NAME: &str = "this is neither the name of a stream nor a pattern with one *";

/// Entries of `paths` for every path without an entry of its own.
const EVERY_OTHER: [&str; 2] = ["all", "all_others"];

fn paths(value: &Yaml<'_>, to: &mut Converted) {
    for (name, path) in value.as_mapping().into_iter().flatten() {
        let Some(name) = name.as_str() else {
            continue;
        };
        for (key, value) in path.as_mapping().into_iter().flatten() {
            let (Some(key), text) = (key.as_str(), scalar(value)) else {
                continue;
            };
            match key {
                "source" if text == "publisher" => {}
                "source" if text.starts_with("rtmp://") => {
                    if is_pattern(name) && !EVERY_OTHER.contains(&name) {
                        to.push("pull", [("match", name.into()), ("from", text.into())]);
                    } else {
                        to.leave(format!("paths.{name}.source"), NOT_A_NAME);
                    }
                }
                "source" => to.leave(
                    format!("paths.{name}.source"),
                    "streams are pulled over RTMP only",
                ),
                "sourceOnDemand" => {}
                _ => to.leave(format!("paths.{name}.{key}"), "there is no such setting"),
            }
        }
    }
}

/// Returns whether a path is a pattern of names here, too; a `~` introduces a regular expression.
fn is_pattern(text: &str) -> bool {
    !text.starts_with('~') && text.parse::<distributary_names::StreamPattern>().is_ok()
}

/// Sets a time. MediaMTX writes `10s` or `1m30s`.
fn time(key: &str, text: &str, path: &str, to: &mut Converted) {
    if distributary_config::time::parse(text).is_ok() {
        to.set(path, text);
    } else {
        to.leave(format!("{key}: {text}"), "a time has one unit, such as 90s");
    }
}

/// Returns an address: `:1935` is a port of all interfaces.
fn address(text: &str) -> String {
    text.trim_start_matches(':').to_owned()
}

fn items<'a, 'i>(value: &'a Yaml<'i>) -> impl Iterator<Item = &'a Yaml<'i>> {
    value.as_sequence().into_iter().flatten()
}

fn list(value: &Yaml<'_>) -> Vec<String> {
    items(value).map(scalar).collect()
}

/// Returns a text, number or boolean as text; empty for everything else.
fn scalar(value: &Yaml<'_>) -> String {
    match value {
        Yaml::Value(Scalar::String(text)) => text.to_string(),
        Yaml::Value(Scalar::Boolean(value)) => value.to_string(),
        Yaml::Value(Scalar::Integer(value)) => value.to_string(),
        _ => String::new(),
    }
}

fn is_yes(text: &str) -> bool {
    matches!(text, "yes" | "true" | "on")
}

fn is_no(text: &str) -> bool {
    matches!(text, "" | "no" | "false" | "off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn settings_with_a_counterpart_are_converted_and_the_others_named() {
        let converted = convert(
            "logLevel: warn\n\
             readTimeout: 10s\n\
             writeTimeout: 1m30s\n\
             rtmpAddress: :1935\n\
             rtmpEncryption: \"optional\"\n\
             rtmpsAddress: :1936\n\
             rtmpServerKey: server.key\n\
             rtmpServerCert: server.crt\n\
             rtsp: yes\n\
             rtspAddress: :8554\n\
             hls: no\n\
             webrtcAddress: :8889\n\
             webrtcEncryption: no\n\
             webrtcAllowOrigins: ['*']\n\
             webrtcLocalUDPAddress: :8189\n\
             webrtcLocalTCPAddress: ''\n\
             webrtcAdditionalHosts: [192.0.2.1, gw.example]\n\
             webrtcICEServers2:\n\
             - url: stun:stun.example:3478\n\
             - url: turn:turn.example\n  username: AUTH_SECRET\n  password: s\n\
             metrics: yes\n\
             metricsAddress: 127.0.0.1:9998\n\
             runOnConnect: ''\n\
             authInternalUsers:\n\
             - user: any\n  pass:\n  permissions:\n  - action: read\n\
             - user: a\n  pass: secret\n  permissions:\n  - action: publish\n    path: live/*\n\
             - user: b\n  pass: sha256:xx\n\
             pathDefaults:\n  maxReaders: 5\n  overridePublisher: yes\n  record: no\n\
             paths:\n  live/a:\n    source: rtmp://origin/live/a\n  cam:\n    source: rtsp://cam\n  \
             door:\n    source: rtmp://door/door\n  ~^hall[0-9]$:\n    source: rtmp://hall/a\n  \
             all_others:\n    source: rtmp://origin/live\n",
        )
        .unwrap();
        let config: Config = toml::from_str(&converted.to_string()).unwrap();
        let expected: Config = toml::from_str(
            r#"
            log = "warn"
            rtmp = 1935
            http = 8889
            webrtc = 8189
            admin = "127.0.0.1:9998"
            advertise = ["192.0.2.1", "gw.example"]
            [rtmps]
            listen = 1936
            certificate = "server.crt"
            key = "server.key"
            [publishers]
            read_timeout = "10s"
            on_duplicate = "takeover"
            [viewers]
            tcp = false
            max_per_stream = 5
            [auth]
            publish = "keys"
            [[auth.key]]
            match = "live/*"
            publish = ["secret"]
            [[pull]]
            match = "live/a"
            from = "rtmp://origin/live/a"
            [[pull]]
            match = "door"
            from = "rtmp://door/door"
            [[ice_server]]
            url = "stun:stun.example:3478"
            [[ice_server]]
            url = "turn:turn.example"
            secret = "s"
            "#,
        )
        .unwrap();
        assert_eq!(config, expected, "{converted}");
        assert_eq!(
            converted.left(),
            [
                "writeTimeout: 1m30s: a time has one unit, such as 90s",
                "rtsp: there is no RTSP",
                "runOnConnect: there is no such setting",
                "authInternalUsers: a: keys have no user names: the password alone is the key, also as \
                 ?user=...&pass=...",
                "authInternalUsers: b: the password is hashed; a key has to be plain",
                "paths.cam.source: streams are pulled over RTMP only",
                "paths.~^hall[0-9]$.source: this is neither the name of a stream nor a pattern with one *",
                "paths.all_others.source: this is neither the name of a stream nor a pattern with one *",
            ]
        );
    }

    #[test]
    fn https_and_the_methods_of_authorization_are_converted() {
        let file = |text: &str| convert(text).unwrap().to_string();
        let https = file("webrtcEncryption: yes\nwebrtcServerKey: k\nwebrtcServerCert: c\n");
        let config: Config = toml::from_str(&https).unwrap();
        assert_eq!(config.https.listen.to_string(), "[::]:8889");
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
        for text in [
            "authMethod: http\nauthHTTPAddress: http://127.0.0.1:9000/auth\n",
            "authMethod: jwt\nauthJWTJWKS: https://id.example/keys\n",
        ] {
            assert!(
                toml::from_str::<Config>(&file(text)).is_ok(),
                "{}",
                file(text)
            );
        }
    }
}
