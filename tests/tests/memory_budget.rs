//! The budget of memory: what gives way when it runs short, in which order, and what goes on.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::path::PathBuf;

use distributary_tests::client::{self, Response};
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

const OFFER: &[u8] = include_bytes!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

/// Calls of `eventually`'s closure after which another budget is tried.
const PATIENCE: u32 = 30;

/// A gateway whose budget is set while it runs.
struct Budgeted {
    gateway: Gateway,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Budgeted {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, Self::config("0B")).unwrap();
        let gateway = Gateway::start_with(&["--config", file.to_str().unwrap()]);
        Self {
            gateway,
            file,
            _folder: folder,
        }
    }

    fn config(budget: &str) -> String {
        format!("[streams]\ncache_duration = \"10m\"\n[limits]\nmemory = \"{budget}\"\n")
    }

    fn set(&self, budget: &str) {
        fs::write(&self.file, Self::config(budget)).unwrap();
        self.gateway.reload();
    }

    /// Sets a budget of which `percent` are in use, until the gateway is at this step.
    async fn press(&self, step: &str, percent: u64) {
        let mut checks = 0;
        eventually(&format!("the step {step}"), async || {
            if checks % PATIENCE == 0 {
                let server = self.gateway.ask("/api/server");
                let used = server["process"]["memory_bytes"].as_u64().unwrap();
                self.set(&format!("{}B", used * 100 / percent));
            }
            checks += 1;
            let server = self.gateway.ask("/api/server");
            (server["memory"]["pressure"] == step).then_some(())
        })
        .await;
    }

    fn offer(&self) -> Response {
        let header = [("Content-Type", "application/sdp")];
        let path = "/whep/live/first";
        self.gateway.request("POST", path, &header, OFFER)
    }

    fn frames(&self) -> u64 {
        let stream = self.gateway.stream("live/first").unwrap();
        stream["video_frames"].as_u64().unwrap()
    }

    async fn goes_on(&self) {
        let before = self.frames();
        eventually("more frames arrive", async || {
            (self.frames() > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn publishers_then_gops_then_viewers_give_way_and_running_streams_go_on() {
    let world = Budgeted::start();
    let gateway = &world.gateway;
    // Its GOP grows for a minute.
    let clip = Clip::with_gop(60 * FRAME_RATE);
    let mut publisher = Publisher::start(&clip, &gateway.rtmp_url("live/first"));
    gateway.wait_live("live/first").await;
    assert_eq!(world.offer().status, 201);

    world.press("publishers", 87).await;
    let mut refused = Publisher::start(&clip, &gateway.rtmp_url("live/second"));
    let (status, output) = refused.wait();
    assert!(!status.success(), "{output}");
    gateway.logged_until("the memory of the gateway is nearly used up");
    assert_eq!(world.offer().status, 201, "viewers are still accepted");
    world.goes_on().await;

    world.press("gops", 92).await;
    eventually("the GOP is dropped", async || {
        let stream = gateway.stream("live/first")?;
        (stream["cache"]["overflow"] == "memory").then_some(())
    })
    .await;
    world.goes_on().await;

    world.press("viewers", 120).await;
    let refused = world.offer();
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    world.goes_on().await;
    assert!(publisher.is_running());

    world.set("0B");
    eventually("memory suffices", async || {
        let server = gateway.ask("/api/server");
        let memory = &server["memory"];
        (memory["pressure"] == "none" && memory["gop_limit_bytes"].is_null()).then_some(())
    })
    .await;
    assert_eq!(world.offer().status, 201);
    let _second = Publisher::start(&clip, &gateway.rtmp_url("live/second"));
    gateway.wait_live("live/second").await;
    let answer = client::request(gateway.admin, "GET", "/metrics", &[], b"");
    let metrics = answer.text();
    for part in ["media", "ingest", "logs", "sessions", "history", "other"] {
        let line = format!("distributary_memory_bytes{{part=\"{part}\"}} ");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}
