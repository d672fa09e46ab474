//! One publisher of the swarm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::flv::TagKind;
use distributary_rtmp::client::{self, ClientError, ClientPublisher};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clip::Clip;

/// The phase of the run, for the publishers to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ramp,
    Measure,
    End,
}

/// Results of one publisher in the measured interval.
#[derive(Default)]
pub(super) struct Work {
    pub(super) tags: u64,
    pub(super) bytes: u64,
    pub(super) lateness: Duration,
    /// Times that it has left and come back.
    pub(super) returns: u64,
}

/// Publishers leave for a while, and come back under their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stays {
    /// Time for which a publisher publishes. The first time of each is a part of it, so that they do
    /// not leave together.
    pub stay: Duration,
    /// Time until it comes back.
    pub away: Duration,
}

/// A publisher that was granted its name.
pub(super) struct Publisher {
    pub(super) address: SocketAddr,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) clip: Option<Arc<Clip>>,
    pub(super) phases: watch::Receiver<Phase>,
    pub(super) stays: Option<Stays>,
    /// Length of the first stay, if there are [`Stays`].
    pub(super) first_stay: Duration,
}

/// The reason why a publisher stopped.
#[derive(PartialEq, Eq)]
enum Stop {
    End,
    Leave,
}

impl Publisher {
    /// Publishes until the end of the run. It leaves by turns properly and by an end of the connection.
    pub(super) async fn run(mut self, mut client: ClientPublisher) -> Result<Work, ClientError> {
        let mut work = Work::default();
        let mut leave_at = self.stays.map(|_| Instant::now() + self.first_stay);
        loop {
            let stop = self.publish(&mut client, leave_at, &mut work).await?;
            match self.stays {
                Some(stays) if stop == Stop::Leave => {
                    if work.returns % 2 == 0 {
                        client.close().await?;
                    } else {
                        drop(client);
                    }
                    let back = Instant::now() + stays.away;
                    if self.ends_before(back).await {
                        return Ok(work);
                    }
                    client = client::publish(self.address, &self.app, &self.stream).await?;
                    work.returns += 1;
                    leave_at = Some(Instant::now() + stays.stay);
                }
                _ => {
                    client.close().await?;
                    return Ok(work);
                }
            }
        }
    }

    /// Waits, and returns whether the run has ended meanwhile.
    async fn ends_before(&mut self, deadline: Instant) -> bool {
        let end = self.phases.wait_for(|phase| *phase == Phase::End);
        // An error means that the swarm is over, too.
        timeout_at(deadline, end).await.is_ok()
    }

    /// Sends tag after tag at its time, until the end or `leave_at`.
    async fn publish(
        &mut self,
        client: &mut ClientPublisher,
        leave_at: Option<Instant>,
        work: &mut Work,
    ) -> Result<Stop, ClientError> {
        let Some(clip) = self.clip.clone() else {
            return Ok(match leave_at {
                Some(leave_at) if !self.ends_before(leave_at).await => Stop::Leave,
                Some(_) => Stop::End,
                None => {
                    let _ = self.phases.wait_for(|phase| *phase == Phase::End).await;
                    Stop::End
                }
            });
        };
        let start = Instant::now();
        for round in 0u64.. {
            for tag in &clip.tags {
                let millis = round * clip.length + u64::from(tag.timestamp_millis);
                let due = start + Duration::from_millis(millis);
                if leave_at.is_some_and(|leave_at| due >= leave_at) {
                    return Ok(Stop::Leave);
                }
                sleep_until(due).await;
                let phase = *self.phases.borrow();
                match phase {
                    Phase::End => return Ok(Stop::End),
                    Phase::Measure => {
                        work.tags += 1;
                        work.bytes += tag.body.len() as u64;
                    }
                    Phase::Ramp => {}
                }
                // RTMP counts modulo 2^32.
                let (timestamp, body) = (millis as u32, tag.body.clone());
                match tag.kind {
                    TagKind::Video => client.send_video(timestamp, body).await?,
                    TagKind::Audio => client.send_audio(timestamp, body).await?,
                    TagKind::Script => {}
                }
                if phase == Phase::Measure {
                    work.lateness = work.lateness.max(due.elapsed());
                }
            }
        }
        Ok(Stop::End)
    }
}

impl Work {
    pub(super) fn add(&mut self, other: &Self) {
        self.tags += other.tags;
        self.bytes += other.bytes;
        self.lateness = self.lateness.max(other.lateness);
        self.returns += other.returns;
    }
}
