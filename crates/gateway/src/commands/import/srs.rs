//! The settings of SRS.

use super::blocks::Directive;
use super::converted::Converted;

/// Settings of the process, which need no counterpart.
const PROCESS: [&str; 6] = [
    "daemon",
    "pid",
    "srs_log_tank",
    "srs_log_file",
    "ff_log_dir",
    "work_dir",
];

/// Converts a file.
pub(super) fn convert(directives: &[Directive]) -> Converted {
    let mut converted = Converted::default();
    let to = &mut converted;
    for directive in directives {
        let value = directive.value();
        match directive.name.as_str() {
            "listen" => to.set("rtmp", value),
            "max_connections" => number(directive, "publishers.max_connections", to),
            "srs_log_level" | "srs_log_level_v2" => log(value, to),
            "rtmp" => rtmp(directive, to),
            "http_api" => listener(directive, "http", to),
            "http_server" if is_enabled(directive) => to.leave(
                "http_server",
                "pages, WHEP and the API are on one address, that of http_api",
            ),
            "http_server" => {}
            "exporter" => listener(directive, "admin", to),
            "rtc_server" => rtc(directive, to),
            "vhost" => vhost(directive, to),
            name if PROCESS.contains(&name) => {}
            name => to.leave(name, "there is no such setting"),
        }
    }
    converted
}

fn is_enabled(directive: &Directive) -> bool {
    directive.get("enabled").is_none_or(Directive::is_on)
}

fn number(directive: &Directive, path: &str, to: &mut Converted) {
    match directive.value().parse::<i64>() {
        Ok(number) => to.set(path, number),
        Err(_) => to.leave(&directive.name, "expected a number"),
    }
}

fn log(level: &str, to: &mut Converted) {
    match level {
        "error" | "warn" | "info" | "trace" | "debug" => to.set("log", level),
        "verbose" => to.set("log", "trace"),
        other => to.leave(format!("srs_log_level {other}"), "there is no such level"),
    }
}

/// Converts the block of RTMP, which newer versions have in place of `listen`.
fn rtmp(directive: &Directive, to: &mut Converted) {
    if let Some(listen) = directive.get("listen") {
        to.set("rtmp", listen.value());
    }
}

fn listener(directive: &Directive, path: &str, to: &mut Converted) {
    if !is_enabled(directive) {
        return;
    }
    if let Some(listen) = directive.get("listen") {
        to.set(path, listen.value());
    }
    if directive.get("https").is_some_and(is_enabled) {
        to.leave(
            format!("{}.https", directive.name),
            "set listen, certificate and key under [https]",
        );
    }
}

fn rtc(directive: &Directive, to: &mut Converted) {
    for setting in &directive.block {
        let value = setting.value();
        match setting.name.as_str() {
            "listen" => to.set("webrtc", value),
            "candidate" if value == "*" => {}
            "candidate" if value.starts_with('$') => to.leave(
                format!("rtc_server.candidate {value}"),
                "set DISTRIBUTARY_ADVERTISE in the environment",
            ),
            "candidate" => to.set("advertise", vec![value.to_owned()]),
            "tcp" => to.set("viewers.tcp", is_enabled(setting)),
            "enabled" | "protocol" => {}
            name => to.leave(format!("rtc_server.{name}"), "there is no such setting"),
        }
    }
}

fn vhost(directive: &Directive, to: &mut Converted) {
    for setting in &directive.block {
        match setting.name.as_str() {
            "rtc" | "enabled" | "tcp_nodelay" | "min_latency" | "gop_cache" | "play" => {}
            "publish" => publish(setting, to),
            "http_hooks" if is_enabled(setting) => hooks(setting, to),
            "cluster" => cluster(setting, to),
            "hls" | "dash" | "dvr" | "http_remux" | "http_hooks" if !is_enabled(setting) => {}
            "hls" | "dash" => to.leave(vhost_of(setting), "there is no HLS and no DASH"),
            "http_remux" => to.leave(vhost_of(setting), "there is no HTTP-FLV"),
            "dvr" => to.leave(vhost_of(setting), "there is no recording"),
            _ => to.leave(vhost_of(setting), "there is no such setting"),
        }
    }
}

fn vhost_of(setting: &Directive) -> String {
    format!("vhost.{}", setting.name)
}

fn publish(directive: &Directive, to: &mut Converted) {
    for setting in &directive.block {
        let path = match setting.name.as_str() {
            "firstpkt_timeout" => "publishers.publish_timeout",
            "normal_timeout" => "publishers.read_timeout",
            name => {
                to.leave(format!("vhost.publish.{name}"), "there is no such setting");
                continue;
            }
        };
        match setting.value().parse::<u64>() {
            Ok(millis) => to.set(path, format!("{millis}ms")),
            Err(_) => to.leave(
                format!("vhost.publish.{}", setting.name),
                "expected a number",
            ),
        }
    }
}

fn hooks(directive: &Directive, to: &mut Converted) {
    let mut urls = toml::Table::new();
    for setting in &directive.block {
        let (method, url) = match setting.name.as_str() {
            "on_publish" => ("auth.publish", "publish_url"),
            "on_play" => ("auth.play", "play_url"),
            "enabled" => continue,
            name => {
                to.leave(
                    format!("vhost.http_hooks.{name}"),
                    "there is no such request",
                );
                continue;
            }
        };
        to.set(method, "webhook");
        urls.insert(url.to_owned(), setting.value().into());
        if setting.arguments.len() > 1 {
            let name = format!("vhost.http_hooks.{}", setting.name);
            to.leave(name, "only the first URL is asked");
        }
    }
    if !urls.is_empty() {
        to.set("auth.webhook", urls);
        to.leave(
            "vhost.http_hooks",
            "the request has other fields; see format under [auth.webhook]",
        );
    }
}

fn cluster(directive: &Directive, to: &mut Converted) {
    let mode = directive.get("mode").map_or("", Directive::value);
    let origin = directive.get("origin");
    match (mode, origin) {
        ("remote", Some(origin)) => {
            let from = format!("rtmp://{}/*", origin.value());
            to.push("pull", [("match", "*".into()), ("from", from.into())]);
            if origin.arguments.len() > 1 {
                to.leave(
                    "vhost.cluster.origin",
                    "only the first origin is pulled from",
                );
            }
        }
        _ => to.leave(
            format!("vhost.cluster.mode {mode}"),
            "there is no such mode",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::parse;
    use super::*;
    use crate::Config;

    #[test]
    fn settings_with_a_counterpart_are_converted_and_the_others_named() {
        let directives = parse(
            "# main config\n\
             listen 1935;\nmax_connections 1000;\ndaemon off;\nsrs_log_level warn;\n\
             http_api { enabled on; listen 1985; }\n\
             http_server { enabled on; listen 8080; dir ./objs; }\n\
             rtc_server { enabled on; listen 8000; candidate 192.0.2.1; tcp { enabled on; listen 8000; } }\n\
             vhost __defaultVhost__ {\n\
                 rtc { enabled on; rtmp_to_rtc on; }\n\
                 hls { enabled on; }\n\
                 publish { firstpkt_timeout 20000; mr off; }\n\
                 cluster { mode remote; origin 10.0.0.1:1935 10.0.0.2:1935; }\n\
                 http_hooks { enabled on; on_publish http://127.0.0.1:8085/publish; on_close http://a; }\n\
             }\n",
        )
        .unwrap();
        let converted = convert(&directives);
        let config: Config = toml::from_str(&converted.to_string()).unwrap();
        let expected: Config = toml::from_str(
            r#"
            log = "warn"
            rtmp = 1935
            http = 1985
            webrtc = 8000
            advertise = ["192.0.2.1"]
            [publishers]
            max_connections = 1000
            publish_timeout = "20s"
            [auth]
            publish = "webhook"
            webhook.publish_url = "http://127.0.0.1:8085/publish"
            [[pull]]
            match = "*"
            from = "rtmp://10.0.0.1:1935/*"
            "#,
        )
        .unwrap();
        assert_eq!(config, expected, "{converted}");
        assert_eq!(
            converted.left(),
            [
                "http_server: pages, WHEP and the API are on one address, that of http_api",
                "vhost.hls: there is no HLS and no DASH",
                "vhost.publish.mr: there is no such setting",
                "vhost.cluster.origin: only the first origin is pulled from",
                "vhost.http_hooks.on_close: there is no such request",
                "vhost.http_hooks: the request has other fields; see format under [auth.webhook]",
            ]
        );
    }
}
