//! The examples of `docs/api-examples.md` work as they are written.

use std::path::Path;
use std::process::{Command, Output};

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/api-examples.md");

/// A command of the page, and what the page shows as its output.
struct Example<'a> {
    command: &'a str,
    /// Language of the output's block, and the output.
    output: Option<(&'a str, &'a str)>,
}

/// Returns the examples in their order.
fn examples() -> Vec<Example<'static>> {
    let mut examples: Vec<Example<'_>> = Vec::new();
    for block in PAGE.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').expect("a block has lines");
        if language == "sh" {
            let command = text.trim_end();
            let output = None;
            examples.push(Example { command, output });
        } else {
            let example = examples.last_mut().expect("an output follows a command");
            example.output = Some((language, text.trim_end()));
        }
    }
    examples
}

/// Runs a command as it is written, on the ports of this gateway.
fn run(command: &str, gateway: &Gateway, ids: &Ids, folder: &Path) -> Output {
    let mut command = command
        .replace("127.0.0.1:8080", &gateway.http.to_string())
        .replace("127.0.0.1:8180", &gateway.admin.to_string())
        .replace("SESSION", &ids.session)
        .replace("VIEWER", &ids.viewer);
    if command.contains("curl -N") {
        // This one does not end by itself.
        command = command.replace("curl -N", "curl -N --max-time 3");
    }
    Command::new("sh")
        .args([
            "-c",
            &command.replace("curl ", "curl --silent --show-error "),
        ])
        .current_dir(folder)
        .output()
        .expect("a shell can be run")
}

/// Values for `SESSION` and `VIEWER` in the page.
struct Ids {
    session: String,
    viewer: String,
}

/// Members that are `null` for a viewer over RTMP, as the one of this test.
const UNKNOWN_OVER_RTMP: &[&str] = &[".viewers[0].round_trip_ms", ".viewers[0].loss_percent"];

/// Asserts that each member of `shown` is in `got`, with a value of the same kind.
fn assert_contains(got: &Value, shown: &Value, at: &str) {
    match (got, shown) {
        (_, Value::Null) => {}
        (Value::Null, _) if UNKNOWN_OVER_RTMP.iter().any(|name| at.ends_with(name)) => {}
        (Value::Object(got), Value::Object(shown)) => {
            for (name, shown) in shown {
                let got = got.get(name);
                let got = got.unwrap_or_else(|| panic!("{at}.{name} is not in the response"));
                assert_contains(got, shown, &format!("{at}.{name}"));
            }
        }
        (Value::Array(got), Value::Array(shown)) => {
            for shown in shown {
                let got = got.first().unwrap_or_else(|| panic!("{at} is empty"));
                assert_contains(got, shown, &format!("{at}[0]"));
            }
        }
        (got, shown) => {
            let is_same = std::mem::discriminant(got) == std::mem::discriminant(shown);
            assert!(is_same, "{at}: {shown} is shown, {got} came");
        }
    }
}

/// Asserts that a response has the status and the headers that the page shows.
fn assert_response(got: &str, shown: &str) {
    let mut shown = shown.lines();
    let status = shown.next().unwrap_or_default();
    assert!(got.starts_with(status), "{status} is shown, came: {got}");
    for name in shown.filter_map(|line| line.split(':').next()) {
        let header = format!("\n{name}:");
        assert!(
            got.contains(&header),
            "{name} is not in the response: {got}"
        );
    }
}

#[tokio::test]
async fn examples_work_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    eventually("the GOP is known", async || {
        let stream = gateway.ask("/api/streams/live/test");
        stream["video"]["gop"].is_object().then_some(())
    })
    .await;
    let mut player = Command::new("ffmpeg");
    player.args(["-nostdin", "-loglevel", "error", "-i"]);
    player.arg(gateway.rtmp_url("live/test"));
    let _player = Process::start("ffmpeg", {
        player.args(["-c", "copy", "-f", "null", "-"]);
        player
    });
    let viewer = eventually("a viewer is listed", async || {
        let viewers = gateway.ask("/api/viewers");
        Some(viewers["viewers"][0]["id"].as_str()?.to_owned())
    })
    .await;
    let session = String::new();
    let mut ids = Ids { session, viewer };

    let examples = examples();
    assert!(examples.len() > 10, "the examples are found");
    for Example { command, output } in examples {
        let result = run(command, &gateway, &ids, folder.path());
        let got = String::from_utf8_lossy(&result.stdout);
        let is_endless = command.contains("curl -N");
        assert!(
            result.status.success() || is_endless,
            "{command}: {result:?}"
        );
        match output {
            Some(("json", shown)) => {
                let shown: Value = serde_json::from_str(shown).expect(command);
                let got: Value = serde_json::from_str(&got).expect(command);
                assert_contains(&got, &shown, command);
            }
            Some(("http", shown)) => assert_response(&got, shown),
            Some((_, shown)) => assert!(got.contains(shown), "{command}: {got}"),
            None => {}
        }
        let location = got
            .lines()
            .find_map(|line| line.strip_prefix("location: /session/"));
        if let Some(id) = location.filter(|id| !id.contains('/')) {
            ids.session = id.trim_end().to_owned();
        }
    }
}
