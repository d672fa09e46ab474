//! The admin API is what its OpenAPI document says. Schemathesis reads the document as it is served,
//! sends requests that agree with it and requests that do not, and judges the responses: no error of
//! the server, only documented statuses, types and members, and no wrong request accepted.

use std::fs;
use std::process::Command;
use std::time::Duration;

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher, play, tool_script};
use distributary_tests::gateway::Gateway;
use distributary_tests::process::{Process, Stream};
use distributary_tests::wait::eventually;
use serde_json::{Map, Value};

/// The seed of all random requests: a failure can be seen again.
const SEED: &str = "7";

/// Operations that are left out: events do not end, a gateway that drains is not ready (503), and
/// Schemathesis itself skips the document.
const NOT_TESTED: usize = 3;

/// Operations that end a publisher or a viewer, or keep them out. They have a run of their own, after
/// which the others would find nothing to describe.
const ENDING: [&str; 3] = ["endPublisher", "endViewer", "addBlock"];

/// Requests of each operation that are random, besides those that cover its parameters one by one.
/// With them, a run takes some ten seconds.
const RANDOM_REQUESTS: &str = "20";

/// Time after which a run has failed. It says nothing about speed.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn api_agrees_with_its_openapi_document() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    // The examples of the document name it.
    let url = gateway.rtmp_url("live/test");
    let mut publisher = Publisher::start(&clip, &url);
    gateway.wait_live("live/test").await;
    let mut player = play(&url);
    eventually("the player is listed", async || {
        let list = gateway.ask("/api/viewers");
        list["viewers"]
            .as_array()
            .filter(|viewers| !viewers.is_empty())
            .map(drop)
    })
    .await;

    let excluded = ENDING.map(|id| ["--exclude-operation-id", id]);
    let main = Judged::by_schemathesis(&gateway, excluded.as_flattened());
    assert!(publisher.is_running() && player.is_running());
    let streams = main.bodies("/api/streams");
    assert!(!streams.is_empty());
    assert!(
        streams.iter().all(|body| has_some(body, "streams")),
        "{streams:?}"
    );
    let viewers = main.bodies("/api/viewers");
    assert!(
        viewers.iter().any(|body| has_some(body, "viewers")),
        "{viewers:?}"
    );
    for path in ["/api/streams/live%2Ftest", "/api/history/live%2Ftest"] {
        assert!(!main.bodies(path).is_empty(), "{path}");
    }

    let included = ENDING.map(|id| ["--include-operation-id", id]);
    let ending = Judged::by_schemathesis(&gateway, included.as_flattened());
    let document = gateway.ask("/api/openapi.json");
    let paths = document["paths"].as_object().expect("an object").values();
    let operations: usize = paths.map(|path| path.as_object().map_or(0, Map::len)).sum();
    assert_eq!(main.tested + ending.tested, operations - NOT_TESTED);
}

/// Returns whether a member of the body is a list that is not empty.
fn has_some(body: &Value, list: &str) -> bool {
    body[list].as_array().is_some_and(|list| !list.is_empty())
}

/// The responses that Schemathesis has judged in one run.
struct Judged {
    /// Number of operations.
    tested: usize,
    /// The requests with their responses, as HTTP Archive 1.2.
    archive: Value,
}

impl Judged {
    /// Runs Schemathesis with these options besides the common ones.
    fn by_schemathesis(gateway: &Gateway, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let archive = folder.path().join("requests.har");
        let mut command = Command::new(tool_script("st"));
        command.current_dir(folder.path());
        command.arg("run");
        command.arg(format!("{}api/openapi.json", gateway.admin_url()));
        command.args(["--seed", SEED, "--max-examples", RANDOM_REQUESTS]);
        command.args(["--generation-database", "none", "--no-color"]);
        command.args(["--phases", "examples,coverage,fuzzing"]);
        command.args(["--request-timeout", "30", "--continue-on-failure"]);
        command.arg("--report-har-path").arg(&archive);
        command.args(["--exclude-path", "/api/events"]);
        command.args(["--exclude-operation-id", "beginDrain"]);
        command.args(options);
        let mut process = Process::start("schemathesis", command);
        let status = process.wait_within(RUN_TIMEOUT);
        let said = process.printed(Stream::Stdout);
        assert!(status.success(), "{said:#?}");
        let mut words = said
            .iter()
            .filter_map(|line| line.trim().strip_prefix("Tested: "));
        let tested = words.next().and_then(|number| number.parse().ok());
        let archive = fs::read(archive).expect("the archive is written");
        Self {
            tested: tested.unwrap_or_else(|| panic!("no number of operations: {said:#?}")),
            archive: serde_json::from_slice(&archive).expect("the archive is JSON"),
        }
    }

    /// Returns the bodies of the responses with status 200 to GET of a path.
    fn bodies(&self, path: &str) -> Vec<Value> {
        let entries = self.archive["log"]["entries"].as_array();
        let found = entries.expect("a list").iter().filter(|entry| {
            let url = entry["request"]["url"].as_str().unwrap_or_default();
            let url = url.split('?').next().unwrap_or_default();
            entry["request"]["method"] == "GET"
                && entry["response"]["status"] == 200
                && url.ends_with(path)
        });
        let texts = found.filter_map(|entry| entry["response"]["content"]["text"].as_str());
        texts
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect()
    }
}
