//! ICE restarts in a loop, of one session, over several connections from one address.

use distributary_webrtc::ice::Credentials;
use tokio::task::JoinSet;

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::watcher::Watcher;

/// Connections at a time.
const CONNECTIONS: usize = 8;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let watcher = Watcher::watch(context, 0, &context.target().stream).await?;
    let mut loops = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (context, session) = (context.clone(), watcher.session.path.clone());
        loops.spawn(async move {
            if restart(&context, &session).await.is_err() {
                context.add("connections closed", 1.0);
            }
        });
    }
    context.rest().await;
    Ok(())
}

async fn restart(context: &Context, session: &str) -> Result<(), AttackError> {
    let line = format!("PATCH {session}");
    let headers = "Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: *\r\n";
    let mut http = HttpPeer::connect(context, 0).await?;
    loop {
        let ice = Credentials::generate().map_err(|_| AttackError::Random)?;
        let body = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n",
            ice.ufrag(),
            ice.password()
        );
        let response = http.request(context, &line, headers, &body).await?;
        match response.status {
            200 => context.add("restarts", 1.0),
            429 => context.add("told to wait (429)", 1.0),
            _ => context.add("refused", 1.0),
        }
    }
}
