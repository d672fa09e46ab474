//! Exchanges with the other nodes the names of the streams that each has.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::clock::now;
use crate::context::Context;
use crate::control::{Control, ListedStream, MAX_KEPT, Roster};
use crate::roster::Rosters;
use crate::subscription::{is_from, next};

/// Interval at which a node names its streams.
const ROSTER_INTERVAL: Duration = Duration::from_secs(2);

/// Names the streams of this node to the others, and learns theirs.
pub(crate) async fn run(context: &Context, rosters: &Mutex<Rosters>) {
    let mut others = context
        .link
        .subscribe_at_start(&context.subjects.all_rosters())
        .await;
    let mut interval = interval(ROSTER_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {
                let subject = context.subjects.roster(&context.node);
                for roster in own(context) {
                    context.link.publish(&subject, roster.to_json()).await;
                }
                lock(rosters).expire(now());
            }
            message = next(&mut others) => {
                if let Some(roster) = context.read::<Roster>(&message)
                    && is_from(&message, &roster.node)
                    && roster.node != context.node
                {
                    lock(rosters).handle(roster, now());
                }
            }
        }
    }
}

/// Returns the messages that name the live streams of this node.
fn own(context: &Context) -> Vec<Roster> {
    let live = context.hub.streams().into_iter();
    let live: Vec<ListedStream> = live
        .filter(|stream| stream.is_live())
        .map(|stream| ListedStream {
            stream: stream.name().clone(),
            owner: stream.node().is_none(),
        })
        .collect();
    let messages = live.chunks(MAX_KEPT).map(|streams| Roster {
        node: context.node.clone(),
        streams: streams.to_vec(),
    });
    messages.collect()
}

fn lock(rosters: &Mutex<Rosters>) -> MutexGuard<'_, Rosters> {
    rosters.lock().unwrap_or_else(PoisonError::into_inner)
}
