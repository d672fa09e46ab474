//! A gateway with a live stream, on its machine.

use std::path::Path;

use distributary_tests::client;
use distributary_tests::gateway::Gateway;
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;

use crate::network::{Family, INGEST, Network};

/// Name of the stream.
const STREAM: &str = "live/join";

/// A gateway, and the publisher of its stream. Both end with it.
pub(crate) struct Live {
    pub(crate) gateway: Gateway,
    _publisher: Process,
}

impl Live {
    /// Starts a gateway with these further arguments, publishes a clip to it in a loop, and waits until it
    /// is there.
    pub(crate) async fn start(
        network: &Network,
        family: Family,
        program: &str,
        arguments: &[&str],
        clip: &Path,
    ) -> Self {
        let address = family.gateway();
        let mut command = network.at_gateway(program);
        command.args(["--rtmp", &format!("{INGEST}:1935")]);
        command.args(["--http", &format!("{address}:8080")]);
        command.args(["--webrtc", &format!("{address}:8189")]);
        command.args(["--admin", "127.0.0.1:8180", "--log", "warn"]);
        command.args(arguments);
        let live = Self {
            gateway: Gateway::of(Process::start("distributary", command)),
            _publisher: publish(network, clip),
        };
        live.wait().await;
        live
    }

    /// Returns the URL of a path at the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.gateway.http)
    }

    /// Returns the URL of the page of the stream.
    pub(crate) fn page(&self) -> String {
        self.url(STREAM)
    }

    /// Returns the URL at which the stream is watched by WHEP.
    pub(crate) fn whep(&self) -> String {
        self.url(&format!("whep/{STREAM}"))
    }

    async fn wait(&self) {
        eventually("the stream is live", async || {
            let live = client::request(self.gateway.http, "GET", "/api/live", &[], b"").json();
            let stream = live["streams"].as_array()?.first()?.clone();
            (!stream["video"].is_null() && !stream["audio"].is_null()).then_some(())
        })
        .await;
    }
}

/// Publishes a clip in a loop.
fn publish(network: &Network, clip: &Path) -> Process {
    let mut publisher = network.at_publisher("ffmpeg");
    publisher.args(["-hide_banner", "-loglevel", "error", "-nostats", "-nostdin"]);
    publisher.args(["-re", "-stream_loop", "-1", "-i"]);
    publisher.arg(clip).args(["-c", "copy", "-f", "flv"]);
    publisher.arg(format!("rtmp://{INGEST}:1935/{STREAM}"));
    Process::start("ffmpeg", publisher)
}
