//! The messages of one strand of a stream, from its owner to this node.
//!
//! The live messages are subscribed to first, then the owner is asked for an answer: the frames since
//! the last keyframe. The live messages that arrive meanwhile are held until the answer is complete.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_media::MediaTime;
use distributary_names::StreamName;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::answer;
use crate::config::Label;
use crate::context::Context;
use crate::control::{Control, Join, Keep, Kept};
use crate::held::Held;
use crate::keeps::{Keeps, Watch};
use crate::message::Part;
use crate::strand::Strand;
use crate::subscription::Subscription;

/// Maximum silence within an answer, and before the first message of that of a stream that is live.
const ANSWER_SILENCE: Duration = Duration::from_secs(1);

/// Maximum silence before the answer of a rendition that may have to be made first.
const RENDITION_SILENCE: Duration = Duration::from_secs(10);

/// Timeout of a whole answer after its first message.
const WHOLE_ANSWER: Duration = Duration::from_secs(5);

/// A timer that fires later than this shows that this node stood still, or its machine. The node then reads
/// for as long what came meanwhile, once, before it judges the silence of another one.
const STANDSTILL: Duration = Duration::from_millis(100);

/// Maximum bytes of an answer. An owner sends less.
const MAX_ANSWER: usize = 2 * answer::MAX_ANSWER;

/// One strand of a stream of another node.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: StreamName,
    pub(crate) strand: Strand,
    pub(crate) owner: Label,
    pub(crate) epoch: u64,
}

/// A message of the owner.
#[derive(Debug)]
pub(crate) enum Received {
    /// The next message of the answer.
    Answer(Part),
    /// The next live message, after the answer.
    Live(Bytes),
}

/// The end of a reception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceptionEnd {
    /// No server is connected.
    Away,
    /// The answer does not come, or cannot be used.
    NoAnswer,
    /// Nothing comes any more.
    Silent,
    /// The node shuts down.
    Shutdown,
}

/// The messages of one strand of a stream, from its owner to this node. The owner is told that it is
/// watched until this is dropped.
pub(crate) struct Reception {
    context: Arc<Context>,
    source: Source,
    live: Subscription,
    held: Held,
    /// The answer, until it is complete.
    answer: Option<Answering>,
    /// The owner has answered before: it has the strand.
    is_known: bool,
    /// Completes when the silence may be too long. It is moved then, and not with each message.
    silence: Pin<Box<Sleep>>,
    /// A standstill of this node has lengthened the silence.
    is_excused: bool,
    _watch: Watch,
}

/// An answer that is awaited.
struct Answering {
    messages: Subscription,
    /// Bytes received.
    received: usize,
    /// Time at which the next message has to be there.
    until: Instant,
    /// Time at which all of it has to be there, from its first message on.
    deadline: Option<Instant>,
}

impl Reception {
    /// Subscribes to a strand, and asks its owner to join.
    pub(crate) async fn open(
        context: &Arc<Context>,
        keeps: &Arc<Keeps>,
        source: Source,
    ) -> Result<Self, ReceptionEnd> {
        let Source {
            name,
            strand,
            owner,
            epoch,
        } = &source;
        let subject = context.subjects.media(owner, *epoch, name, *strand);
        let live = context.link.subscribe(&subject).await;
        let mut reception = Self {
            live: live.ok_or(ReceptionEnd::Away)?,
            context: Arc::clone(context),
            held: Held::default(),
            answer: None,
            is_known: false,
            silence: Box::pin(sleep(context.silence)),
            is_excused: false,
            _watch: keeps.keep(name, *strand, owner, *epoch),
            source,
        };
        reception.join().await?;
        Ok(reception)
    }

    /// Asks to join, again after the first time: the answer brings what was lost.
    pub(crate) async fn join(&mut self) -> Result<(), ReceptionEnd> {
        let link = &self.context.link;
        let inbox = link.inbox();
        let messages = link.subscribe(&inbox).await.ok_or(ReceptionEnd::Away)?;
        let join = Join {
            node: self.context.node.clone(),
            stream: self.source.name.clone(),
            epoch: self.source.epoch,
            strand: self.source.strand,
        };
        let subject = self.context.subjects.join(&self.source.owner);
        if !link.request(&subject, &inbox, join.to_json()).await {
            return Err(ReceptionEnd::Away);
        }
        let patience = match self.source.strand {
            Strand::Rendition(_) if !self.is_known => RENDITION_SILENCE,
            _ => ANSWER_SILENCE,
        };
        self.answer = Some(Answering {
            messages,
            received: 0,
            until: Instant::now() + patience,
            deadline: None,
        });
        Ok(())
    }

    /// Notes that the answer is complete: live messages follow.
    pub(crate) fn joined(&mut self) {
        (self.answer, self.is_known) = (None, true);
        let silent_at = Instant::now() + self.context.silence;
        self.silence.as_mut().reset(silent_at);
        self.is_excused = false;
    }

    /// Returns whether nothing of the answer has come yet.
    pub(crate) fn is_unanswered(&self) -> bool {
        let answer = self.answer.as_ref();
        answer.is_some_and(|answer| answer.deadline.is_none())
    }

    /// Returns the time at which the next part of the answer has to be there, if one has come.
    pub(crate) fn part_due(&self) -> Option<std::time::Instant> {
        let answer = self.answer.as_ref();
        let begun = answer.filter(|answer| answer.deadline.is_some())?;
        Some(begun.until.into_std())
    }

    /// Returns whether the answer is complete.
    pub(crate) fn has_joined(&self) -> bool {
        self.answer.is_none()
    }

    /// Returns the next message. After the answer, it has to come before `silent_at`. It may be dropped
    /// and called again.
    pub(crate) async fn next(
        &mut self,
        silent_at: std::time::Instant,
    ) -> Result<Received, ReceptionEnd> {
        let Some(answer) = &mut self.answer else {
            if let Some(message) = self.held.pop() {
                return Ok(Received::Live(message));
            }
            let silent_at = Instant::from_std(silent_at);
            loop {
                tokio::select! {
                    biased;
                    message = self.live.next() => {
                        self.is_excused = false;
                        let message = message.ok_or(ReceptionEnd::Shutdown)?;
                        return Ok(Received::Live(message.payload));
                    }
                    () = self.silence.as_mut() => {
                        let now = Instant::now();
                        let reset = if silent_at > now {
                            silent_at
                        } else if now - self.silence.deadline() > STANDSTILL && !self.is_excused {
                            self.is_excused = true;
                            now + STANDSTILL
                        } else {
                            return Err(ReceptionEnd::Silent);
                        };
                        self.silence.as_mut().reset(reset);
                    }
                }
            }
        };
        let message = loop {
            tokio::select! {
                biased;
                message = answer.messages.next() => break message,
                () = sleep_until(answer.until) => {
                    let now = Instant::now();
                    if now - answer.until <= STANDSTILL || self.is_excused {
                        return Err(ReceptionEnd::NoAnswer);
                    }
                    self.is_excused = true;
                    answer.until = now + STANDSTILL;
                }
                message = self.live.next() => {
                    let message = message.ok_or(ReceptionEnd::Shutdown)?;
                    self.held.push(message.payload);
                    // An owner that sends it has it: the answer comes soon, or is lost.
                    answer.until = answer.until.min(Instant::now() + ANSWER_SILENCE);
                }
            }
        };
        let message = message.ok_or(ReceptionEnd::Shutdown)?.payload;
        self.is_excused = false;
        answer.note(message.len());
        self.context.counters.bytes_in.add(message.len() as u64);
        // An empty one says that nobody listens at that node.
        if message.is_empty() || answer.received > MAX_ANSWER {
            return Err(ReceptionEnd::NoAnswer);
        }
        Part::decode(&message)
            .map(Received::Answer)
            .map_err(|fault| {
                self.context.note_fault(fault);
                ReceptionEnd::NoAnswer
            })
    }

    /// Requests a keyframe that is later than `after` on the owner's timeline. Returns whether the
    /// connection has taken the request.
    pub(crate) fn request_keyframe(&self, after: MediaTime) -> bool {
        let kept = Kept {
            stream: self.source.name.clone(),
            epoch: self.source.epoch,
            strand: self.source.strand,
            loss: 0,
            keyframe_after: Some(after.as_nanos()),
        };
        let keep = Keep {
            node: self.context.node.clone(),
            streams: vec![kept],
        };
        let subject = self.context.subjects.keep(&self.source.owner);
        self.context.link.try_publish(&subject, keep.to_json())
    }
}

impl Answering {
    /// Notes a message with this many bytes.
    fn note(&mut self, bytes: usize) {
        let now = Instant::now();
        self.received += bytes;
        let deadline = *self.deadline.get_or_insert(now + WHOLE_ANSWER);
        let until = (now + ANSWER_SILENCE).min(deadline);
        // After the deadline no time is added.
        if until > now {
            self.until = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use distributary_cluster::test_util::NatsServer;
    use distributary_hub::{Hub, HubConfig};
    use distributary_names::RenditionId;
    use futures_util::FutureExt;
    use tokio::task::JoinHandle;
    use tokio::time::{advance, pause, timeout};

    use super::*;
    use crate::clock::now;
    use crate::cluster::Cluster;

    /// The reception of a rendition whose owner does not answer.
    struct Scene {
        reception: Reception,
        _joins: Subscription,
        driver: JoinHandle<()>,
        _nats: NatsServer,
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.driver.abort();
        }
    }

    impl Scene {
        async fn new() -> Self {
            let nats = NatsServer::start();
            let hub = Hub::new(HubConfig::default());
            let (cluster, driver) = Cluster::connected(nats.url(), hub).await;
            let source = Source {
                name: StreamName::parse("live/test").unwrap(),
                strand: Strand::Rendition(RenditionId::H264),
                owner: "owner".parse().unwrap(),
                epoch: 1,
            };
            let context = cluster.context();
            let joins = context.subjects.join(&source.owner);
            let joins = context.link.subscribe(&joins).await.unwrap();
            let reception = Reception::open(context, &Arc::default(), source).await;
            Self {
                reception: reception.unwrap(),
                _joins: joins,
                driver,
                _nats: nats,
            }
        }

        /// Returns the time that is left for the answer.
        fn patience(&self) -> Duration {
            let answer = self.reception.answer.as_ref().expect("it awaits one");
            answer.until.saturating_duration_since(Instant::now())
        }

        /// Lets a live message wait to be received.
        async fn send_live(&self) {
            let link = &self.reception.context.link;
            let source = &self.reception.source;
            let subjects = &self.reception.context.subjects;
            let live = subjects.media(&source.owner, 1, &source.name, source.strand);
            let mut after = link.subscribe("after").await.unwrap();
            assert!(link.publish(&live, "x".into()).await);
            assert!(link.publish("after", "".into()).await);
            let next = timeout(Duration::from_secs(60), after.next()).await;
            assert!(next.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn owner_that_has_the_strand_answers_sooner_than_one_that_may_have_to_make_it() {
        let mut scene = Scene::new().await;
        scene.reception.join().await.unwrap();
        assert!(scene.patience() > ANSWER_SILENCE && scene.reception.is_unanswered());
        scene.reception.joined();
        assert!(!scene.reception.is_unanswered());
        scene.reception.join().await.unwrap();
        assert!(scene.patience() <= ANSWER_SILENCE);
    }

    #[tokio::test]
    async fn message_that_waits_comes_before_the_end_of_the_silence() {
        let mut scene = Scene::new().await;
        scene.reception.joined();
        // In any order they would not come first each time.
        for _ in 0..20 {
            scene.send_live().await;
            pause();
            scene.reception.silence.as_mut().reset(Instant::now());
            advance(Duration::from_millis(1)).await;
            let received = scene.reception.next(now()).await;
            assert!(matches!(received, Ok(Received::Live(_))), "{received:?}");
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn node_that_stood_still_reads_what_came_meanwhile_before_it_judges_silence() {
        let mut scene = Scene::new().await;
        pause();
        for is_answer in [true, false] {
            if !is_answer {
                scene.reception.joined();
            }
            advance(2 * RENDITION_SILENCE).await;
            let began = Instant::now();
            let received = scene.reception.next(now()).await;
            let expected = if is_answer {
                ReceptionEnd::NoAnswer
            } else {
                ReceptionEnd::Silent
            };
            assert_eq!(received.unwrap_err(), expected);
            assert!(began.elapsed() >= STANDSTILL, "{:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn node_that_is_always_late_notices_silence_all_the_same() {
        let mut scene = Scene::new().await;
        scene.reception.joined();
        pause();
        advance(2 * RENDITION_SILENCE).await;
        let mut next = pin!(scene.reception.next(now()));
        assert!(next.as_mut().now_or_never().is_none());
        advance(2 * RENDITION_SILENCE).await;
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn answer_of_an_owner_that_sends_the_strand_comes_soon() {
        let mut scene = Scene::new().await;
        scene.send_live().await;
        let next = scene.reception.next(now());
        assert!(next.now_or_never().is_none());
        assert!(scene.patience() <= ANSWER_SILENCE);
    }
}
