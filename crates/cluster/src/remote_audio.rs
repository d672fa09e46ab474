//! The audio of a stream of another node as published, for the RTMP players of this one.

use std::time::Duration;

use distributary_media::{AudioFrame, Frame, MediaTime};
use tokio::time::{MissedTickBehavior, interval};

use crate::branch::{Branch, BranchEvent};
use crate::trunk::Trunk;

/// Interval at which it is checked whether somebody still listens.
const CHECK: Duration = Duration::from_secs(1);

/// Delivers the audio of a stream as published while somebody listens, until the stream ends here.
pub(crate) async fn deliver(mut branch: Branch) {
    let mut newest = None;
    while listener(&mut branch).await {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = branch.next() => match event {
                    BranchEvent::Frame(Frame::Audio(audio), _, trunk) => {
                        push(audio, &trunk, &mut newest);
                    }
                    BranchEvent::Over => return,
                    _ => {}
                },
                _ = check.tick() => if !is_heard(&branch) {
                    break;
                },
            }
        }
        branch.leave();
    }
}

/// Waits until somebody listens. Returns `false` if the stream has ended here.
async fn listener(branch: &mut Branch) -> bool {
    while !is_heard(branch) {
        // Subscribed to before the next look: no listener is missed.
        let subscribers = branch.trunk().map(|trunk| trunk.stream.subscribers());
        let Some(mut subscribers) = subscribers else {
            if branch.changed().await.is_err() {
                return false;
            }
            continue;
        };
        if is_heard(branch) {
            return true;
        }
        tokio::select! {
            changed = branch.changed() => if changed.is_err() {
                return false;
            },
            _ = subscribers.changed() => {}
        }
    }
    true
}

/// Returns whether somebody listens to audio that the owner has in another form.
fn is_heard(branch: &Branch) -> bool {
    let trunk = branch.trunk();
    trunk
        .is_some_and(|trunk| trunk.further.published_audio && trunk.stream.has_published_listener())
}

/// Delivers a frame, unless it is not later than the ones before.
fn push(mut audio: AudioFrame, trunk: &Trunk, newest: &mut Option<MediaTime>) {
    audio.pts = trunk.time_here(audio.pts);
    if newest.is_none_or(|newest| audio.pts > newest) {
        *newest = Some(audio.pts);
        trunk.stream.push_as_published(audio);
    }
}
