//! The settings of nginx's RTMP module.

use toml::Table;

use super::blocks::Directive;
use super::converted::Converted;

/// Converts a file. Everything outside of the block `rtmp` is not of this module.
pub(super) fn convert(directives: &[Directive]) -> Converted {
    let mut converted = Converted::default();
    let rtmp = directives
        .iter()
        .filter(|directive| directive.name == "rtmp");
    let mut hooks = Table::new();
    for directive in rtmp.flat_map(|rtmp| &rtmp.block) {
        match directive.name.as_str() {
            "server" => server(directive, &mut hooks, &mut converted),
            _ => setting(directive, "rtmp", &mut converted),
        }
    }
    if !hooks.is_empty() {
        hooks.insert("format".to_owned(), "form".into());
        converted.set("auth.webhook", hooks);
    }
    converted
}

fn server(block: &Directive, hooks: &mut Table, to: &mut Converted) {
    for directive in &block.block {
        match directive.name.as_str() {
            "listen" => to.set("rtmp", directive.value()),
            "application" => application(directive, hooks, to),
            "on_publish" | "on_play" => hook(directive, "server", hooks, to),
            _ => setting(directive, "server", to),
        }
    }
}

fn application(block: &Directive, hooks: &mut Table, to: &mut Converted) {
    let app = block.value();
    for directive in &block.block {
        match directive.name.as_str() {
            "pull" => pull(app, directive, to),
            "on_publish" | "on_play" => hook(directive, app, hooks, to),
            _ => setting(directive, app, to),
        }
    }
}

/// Converts a setting that can be at every level.
fn setting(directive: &Directive, place: &str, to: &mut Converted) {
    let value = directive.value();
    let name = format!("{place}: {}", directive.name);
    match directive.name.as_str() {
        "live" | "chunk_size" | "timeout" | "ping" | "ping_timeout" | "buflen" => {}
        "max_streams" => number(value, "publishers.max_chunk_streams", &name, to),
        "max_connections" => number(value, "publishers.max_connections", &name, to),
        "max_message" => match size(value) {
            Some(size) => to.set("publishers.max_message_size", size),
            None => to.leave(name, "expected a size"),
        },
        "drop_idle_publisher" => match time(value) {
            Some(time) => to.set("publishers.read_timeout", time),
            None => to.leave(name, "expected a time"),
        },
        "hls" | "dash" | "record" if matches!(value, "off" | "") => {}
        "hls" | "dash" => to.leave(name, "there is no HLS and no DASH"),
        "record" => to.leave(name, "there is no recording"),
        other if other.starts_with("hls_") || other.starts_with("dash_") => {}
        other if other.starts_with("record_") => {}
        "allow" | "deny" => to.leave(name, "there is no list of addresses; see [auth]"),
        "push" => to.leave(
            name,
            "streams are not pushed; pull them from here over RTMP",
        ),
        _ => to.leave(name, "there is no such setting"),
    }
}

fn number(value: &str, path: &str, name: &str, to: &mut Converted) {
    match value.parse::<i64>() {
        Ok(number) => to.set(path, number),
        Err(_) => to.leave(name, "expected a number"),
    }
}

fn pull(app: &str, directive: &Directive, to: &mut Converted) {
    let options = directive.arguments.iter().skip(1);
    let name = options
        .filter_map(|option| option.strip_prefix("name="))
        .next();
    let streams = format!("{app}/{}", name.unwrap_or("*"));
    let from = directive.value();
    let from = if from.contains("://") {
        from.to_owned()
    } else {
        format!("rtmp://{from}")
    };
    // Without an application in the URL, it is that of the block.
    let path = from.trim_start_matches("rtmp://").trim_end_matches('/');
    let from = match path.matches('/').count() {
        0 => format!("rtmp://{path}/{streams}"),
        1 if name.is_some() => format!("rtmp://{path}/{}", name.unwrap_or_default()),
        _ => from,
    };
    to.push("pull", [("match", streams.into()), ("from", from.into())]);
}

/// Converts a request to another program. There is one URL for all applications.
fn hook(directive: &Directive, place: &str, hooks: &mut Table, to: &mut Converted) {
    let (method, url) = match directive.name.as_str() {
        "on_publish" => ("auth.publish", "publish_url"),
        _ => ("auth.play", "play_url"),
    };
    to.set(method, "webhook");
    let value = directive.value();
    let first = hooks.entry(url).or_insert_with(|| value.into());
    if first.as_str() != Some(value) {
        to.leave(
            format!("{place}: {} {value}", directive.name),
            "one URL is asked about all applications",
        );
    }
}

/// Returns a size of nginx (`1M`, `512k`, bytes) with the unit of the gateway.
fn size(text: &str) -> Option<String> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], "KiB"),
        (at, 'm' | 'M') => (&text[..at], "MiB"),
        (at, 'g' | 'G') => (&text[..at], "GiB"),
        _ => (text, "B"),
    };
    number
        .parse::<u64>()
        .ok()
        .map(|number| format!("{number}{unit}"))
}

/// Returns a time of nginx (`10s`, `5m`, seconds) with the unit of the gateway.
fn time(text: &str) -> Option<String> {
    let with_unit = match text.parse::<u64>() {
        Ok(seconds) => format!("{seconds}s"),
        Err(_) => text.to_owned(),
    };
    distributary_config::time::parse(&with_unit)
        .ok()
        .map(|_| with_unit)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::parse;
    use super::*;
    use crate::Config;

    #[test]
    fn settings_with_a_counterpart_are_converted_and_the_others_named() {
        let directives = parse(
            "worker_processes auto;\nevents { worker_connections 1024; }\n\
             rtmp {\n  server {\n    listen 1935;\n    chunk_size 4096;\n    max_message 1M;\n    \
             drop_idle_publisher 10s;\n    application live {\n      live on;\n      record off;\n      \
             allow publish 127.0.0.1;\n      hls on;\n      hls_path /tmp/hls;\n      \
             on_publish http://127.0.0.1:9000/on_publish;\n      push rtmp://other/live;\n    }\n    \
             application big {\n      pull rtmp://origin/live;\n      pull origin name=a;\n      \
             on_publish http://127.0.0.1:9000/other;\n    }\n  }\n}\n\
             http { server { listen 80; } }\n",
        )
        .unwrap();
        let converted = convert(&directives);
        let config: Config = toml::from_str(&converted.to_string()).unwrap();
        let expected: Config = toml::from_str(
            r#"
            rtmp = 1935
            [publishers]
            max_message_size = "1MiB"
            read_timeout = "10s"
            [auth]
            publish = "webhook"
            webhook.publish_url = "http://127.0.0.1:9000/on_publish"
            webhook.format = "form"
            [[pull]]
            match = "big/*"
            from = "rtmp://origin/live"
            [[pull]]
            match = "big/a"
            from = "rtmp://origin/big/a"
            "#,
        )
        .unwrap();
        assert_eq!(config, expected, "{converted}");
        assert_eq!(
            converted.left(),
            [
                "live: allow: there is no list of addresses; see [auth]",
                "live: hls: there is no HLS and no DASH",
                "live: push: streams are not pushed; pull them from here over RTMP",
                "big: on_publish http://127.0.0.1:9000/other: one URL is asked about all applications",
            ]
        );
    }
}
