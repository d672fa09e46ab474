//! Few open files: clients that take all they can get do not keep others from being answered.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use distributary_tests::client;
use distributary_tests::gateway::{self, Gateway};
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;

/// Files that the gateway may open. It starts with a lower soft limit.
const FILES: usize = 600;

#[tokio::test]
async fn health_is_answered_when_every_listener_is_full() {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -S -n 256; ulimit -H -n {FILES}; exec \"$0\" \"$@\"");
    command.args(["-c", &limits]).arg(gateway::binary());
    let any = "127.0.0.1:0";
    command.args([
        "--rtmp", any, "--http", any, "--webrtc", any, "--admin", any,
    ]);
    let gateway = Gateway::of(Process::start("distributary", command));
    let server = gateway.ask("/api/server");
    assert_eq!(server["process"]["max_open_files"], FILES);

    let connect =
        |address: SocketAddr| (0..FILES).map_while(move |_| TcpStream::connect(address).ok());
    let listeners = [gateway.rtmp, gateway.http, gateway.webrtc, gateway.admin];
    let _held: Vec<_> = listeners.into_iter().flat_map(connect).collect();
    for address in [gateway.http, gateway.admin] {
        for path in ["/healthz", "/readyz"] {
            eventually(path, async || {
                (client::status(address, path) == Some(200)).then_some(())
            })
            .await;
        }
    }
}
