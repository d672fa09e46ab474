//! Event streams that are made and ended in a loop, in one session, from several addresses.

use tokio::task::JoinSet;

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::watcher::Watcher;

/// Connections, each from the next address: requests are limited by address.
const CONNECTIONS: usize = 8;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut watcher = Watcher::watch(context, 0, &context.target().stream).await?;
    let mut loops = JoinSet::new();
    for source in 0..CONNECTIONS {
        let (context, session) = (context.clone(), watcher.session.path.clone());
        loops.spawn(async move {
            if make_and_end(&context, source, &session).await.is_err() {
                context.add("connections closed", 1.0);
            }
        });
    }
    watcher.go_on(context).await
}

async fn make_and_end(context: &Context, source: usize, session: &str) -> Result<(), AttackError> {
    let mut http = HttpPeer::connect(context, source).await?;
    loop {
        let line = format!("POST {session}/events");
        let response = http.request(context, &line, "", "").await?;
        match response.status {
            200..=299 => {
                context.add("streams made", 1.0);
                let stream = response.header("location").unwrap_or_default();
                let line = format!("DELETE {stream}");
                let response = http.request(context, &line, "", "").await?;
                if response.status < 300 {
                    context.add("streams ended", 1.0);
                }
            }
            429 => context.add("told to wait (429)", 1.0),
            _ => context.add("refused", 1.0),
        }
    }
}
