//! Sessions of streams that do not exist, of names that are pulled from an origin that accepts and
//! stays silent.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::context::Context;
use super::error::AttackError;
use super::http::HttpPeer;
use super::session::Session;

/// Requests, each for a name of its own.
const REQUESTS: usize = 2300;

/// From one request to the next.
const STEP: Duration = Duration::from_millis(2);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let origin = context.target().origin;
    let origin = origin.ok_or(AttackError::Lacks("origin (--origin)"))?;
    let listener = TcpListener::bind(origin).await?;
    let (accepting, asking) = (context.clone(), context.clone());
    tokio::select! {
        ended = accept(&accepting, &listener) => ended,
        ended = ask(&asking) => ended,
    }
}

/// Accepts connections and keeps them open.
async fn accept(context: &Context, listener: &TcpListener) -> Result<(), AttackError> {
    let mut connections = Vec::new();
    loop {
        connections.push(listener.accept().await?.0);
        context.note("connections to the origin", connections.len() as f64);
    }
}

async fn ask(context: &Context) -> Result<(), AttackError> {
    let mut requests = JoinSet::new();
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..REQUESTS {
        ticks.tick().await;
        let context = context.clone();
        requests.spawn(async move {
            match one(&context, number).await {
                Ok(()) => context.add("sessions granted", 1.0),
                Err(AttackError::Status(429)) => context.add("told to wait (429)", 1.0),
                Err(_) => context.add("refused", 1.0),
            }
        });
    }
    context.rest().await;
    Ok(())
}

async fn one(context: &Context, number: usize) -> Result<(), AttackError> {
    let mut http = HttpPeer::connect(context, number).await?;
    Session::ask(context, &mut http, &format!("pull/{number}"), false).await?;
    Ok(())
}
