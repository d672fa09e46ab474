//! The admin API is what its OpenAPI document says. Schemathesis reads the document as it is served,
//! sends requests that agree with it and requests that do not, and judges the responses: no error of
//! the server, only documented statuses, types and members, and no wrong request accepted.

use std::process::Command;

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher, tool_script};
use distributary_tests::gateway::Gateway;
use serde_json::Map;

/// The seed of all random requests: a failure can be seen again.
const SEED: &str = "7";

/// Operations that are left out: events do not end, a gateway that drains is not ready (503), and
/// Schemathesis itself skips the document.
const NOT_TESTED: usize = 3;

/// Requests of each operation that are random, besides those that cover its parameters one by one.
/// With them, a run takes some ten seconds.
const RANDOM_REQUESTS: &str = "20";

#[tokio::test]
async fn api_agrees_with_its_openapi_document() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    // The examples of the document name it.
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(tool_script("st"));
    command.current_dir(folder.path());
    command.arg("run");
    command.arg(format!("{}api/openapi.json", gateway.admin_url()));
    command.args(["--seed", SEED, "--max-examples", RANDOM_REQUESTS]);
    command.args(["--generation-database", "none", "--no-color"]);
    command.args(["--phases", "examples,coverage,fuzzing"]);
    command.args(["--request-timeout", "30", "--continue-on-failure"]);
    command.args(["--exclude-path", "/api/events"]);
    command.args(["--exclude-operation-id", "beginDrain"]);
    let output = command.output().expect("schemathesis can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    let document = gateway.ask("/api/openapi.json");
    let paths = document["paths"].as_object().expect("an object").values();
    let operations: usize = paths.map(|path| path.as_object().map_or(0, Map::len)).sum();
    let tested = format!("Tested: {}\n", operations - NOT_TESTED);
    assert!(said.contains(&tested), "{said}");
}
