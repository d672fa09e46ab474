//! A node is cut off from the others, with a NATS server.

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::{Outcome, STREAM, millis, seconds};
use crate::lab::{LIMIT, Lab, Settings, Shape};
use crate::sample::Sample;

/// The publisher's node, one with viewers, and the one that is cut off.
const OWNER: usize = 0;
const EDGE: usize = 1;
const LONELY: usize = 2;

/// Cuts a node off for 30 s. An encoder publishes the same name there.
pub(super) async fn run(settings: &Settings) -> Outcome {
    let lab = Lab::start(settings, Shape::default()).await?;
    let _first = lab.encoder(OWNER, STREAM, 1, false);
    let near = lab.watch(EDGE, STREAM).await?;
    let far = lab.watch(LONELY, STREAM).await?;
    let begin = lab.now();
    lab.network.cut(LONELY)?;
    let second = lab.encoder(LONELY, STREAM, 2, true);
    sleep(seconds(30)).await;
    let mut sample = Sample::default();
    if second.granted() == 0 {
        sample.fail("the encoder at the node that is cut off was refused");
    }
    // The one that is dismissed does not come back.
    second.stop_retrying();
    let probe = Probe::connect(&lab).await?;
    lab.network.heal(LONELY)?;
    let healed = lab.now();
    let (passed, answered, settled) = tokio::join!(
        probe.messages_pass(&lab),
        arbiter_answers(&lab),
        lab.settle(&[OWNER, EDGE, LONELY], 1),
    );
    let passed = passed?;
    sample.add(
        "messages pass between the NATS servers after healing",
        None,
        [passed - healed],
    );
    sample.add(
        "the arbiter answers at the node that was cut off, after that",
        None,
        [answered?.saturating_sub(passed)],
    );
    match settled {
        Ok(settled) => {
            let took = settled.saturating_sub(healed);
            sample.add("one owner after healing", Some(seconds(1)), [took]);
            let took = settled.saturating_sub(passed);
            sample.add("one owner after messages pass", None, [took]);
        }
        Err(error) => sample.fail(error),
    }
    let gap = near.seen().longest_gap(begin, healed);
    sample.add("gap at a node of the majority", None, [gap]);
    if near
        .last()
        .is_none_or(|frame| frame.at < lab.now() - seconds(1))
    {
        sample.fail("no frames at a node of the majority");
    }
    if near.seen().first_of(2).is_some() {
        sample.fail("frames of the node that was cut off at one of the majority");
    }
    // Viewers of the node that was cut off come back to the one owner.
    while far
        .last()
        .is_none_or(|frame| frame.at < healed || frame.mark.encoder != 1)
    {
        if lab.now() > healed + LIMIT {
            sample.fail("viewers of the node that was cut off do not get the owner's frames");
            return Ok(sample);
        }
        sleep(millis(10)).await;
    }
    let after = far.seen().between(healed, lab.now());
    if let Some(first) = after.first_of(1) {
        sample.add(
            "the owner's frames at the node that was cut off",
            None,
            [first - healed],
        );
    }
    Ok(sample)
}

/// Messages from the NATS server of the node that is cut off to that of the owner. Both are connected
/// before the network heals, as the gateways are, so that what passes late shows how late the servers
/// are, and not a connection of its own.
struct Probe {
    sender: Client,
    /// Keeps the subscription.
    _receiver: Client,
    received: Subscriber,
}

impl Probe {
    /// The subject of the messages.
    const SUBJECT: &str = "lab.passes";

    async fn connect(lab: &Lab) -> Result<Self, Box<dyn Error>> {
        let [receiver, sender] = [OWNER, LONELY].map(|node| lab.nats.servers[node].url());
        let receiver = async_nats::connect(receiver).await?;
        let received = receiver.subscribe(Self::SUBJECT).await?;
        receiver.flush().await?;
        Ok(Self {
            sender: async_nats::connect(sender).await?,
            _receiver: receiver,
            received,
        })
    }

    /// Waits until a message has passed, and returns when that was. Servers connect to each other again
    /// by themselves.
    async fn messages_pass(mut self, lab: &Lab) -> Result<Duration, Box<dyn Error>> {
        let deadline = lab.now() + LIMIT;
        loop {
            self.sender
                .publish(Self::SUBJECT, Vec::new().into())
                .await?;
            self.sender.flush().await?;
            if let Ok(Some(_)) = timeout(millis(10), self.received.next()).await {
                return Ok(lab.now());
            }
            if lab.now() > deadline {
                return Err("no message passes between the NATS servers".into());
            }
        }
    }
}

/// Waits until the arbiter answers at the node that was cut off, and returns when that was.
async fn arbiter_answers(lab: &Lab) -> Result<Duration, Box<dyn Error>> {
    let deadline = lab.now() + LIMIT;
    while lab.cluster(LONELY).await["arbiter"]["reachable"] != true {
        if lab.now() > deadline {
            return Err("the arbiter does not answer".into());
        }
        sleep(millis(20)).await;
    }
    Ok(lab.now())
}
