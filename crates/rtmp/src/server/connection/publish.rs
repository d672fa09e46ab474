//! Publishing of streams over a connection.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use distributary_auth::Action;
use distributary_hub::{
    Dismissal, JournalKind, PublishError, Publisher, Standing, Standings, WhenTaken,
};
use distributary_names::StreamName;
use distributary_net::{Full, Permit, limited};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tracing::{Span, error_span, info, warn};

use super::ServerConnection;
use super::advice::AdviceSender;
use super::end::End;
use super::published::{News, Notice, Published};
use super::requester::Requester;
use crate::clock::now;
use crate::proto::session::PublishRequest;
use crate::server::config::OnDuplicate;
use crate::server::context::ServerContext;
use crate::server::holders::{HolderEntry, Identity, LastActivity};
use crate::server::ingest::Ingest;

/// Maximum number of messages to a publisher about its standing: many never read what they are
/// sent.
const MAX_STANDINGS: u32 = 16;

/// The right to publish a name.
struct Grant {
    publisher: Publisher,
    holder: HolderEntry,
    gives_way: oneshot::Receiver<()>,
}

/// The reason for a refusal: a code for the client, and a description.
type Rejection = (&'static str, String);

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// Grants or refuses a name.
    pub(super) async fn decide(&mut self, request: PublishRequest) -> Result<(), End> {
        let (stream_id, target) = (request.stream_id, request.target);
        let span = if self.published.is_empty() {
            Span::current().record("stream", target.name.as_str());
            Span::none()
        } else {
            error_span!("also", stream = target.name.as_str())
        };
        let identity = Identity {
            ip: self.peer.ip(),
            query: target.query,
        };
        let name = target.name.clone();
        let requester = self.requester();
        let last_received = self.last_received.clone();
        let grant = async {
            requester.authorize_publish(&target.name, &identity).await?;
            requester.claim(&target.name, identity, last_received).await
        };
        match Self::wait_for(
            &mut self.socket,
            &mut self.input,
            &self.last_received,
            grant,
        )
        .await?
        {
            Ok(grant) => {
                let standing = grant.publisher.standings().current();
                let published = span.in_scope(|| self.begin(stream_id, grant, span.clone()));
                self.published.insert(stream_id, published);
                self.session.accept_publish();
                if standing != Standing::Active {
                    self.tell_standing(stream_id, standing);
                }
                Ok(())
            }
            Err((code, reason)) => {
                let _entered = span.enter();
                warn!(reason, "publisher refused");
                self.note_refusal(Some(&name), &reason);
                self.session.reject_publish(code, &reason);
                self.end_if_unused(End::Refused)
            }
        }
    }

    fn begin(&self, stream_id: u32, grant: Grant, span: Span) -> Published {
        if grant.publisher.is_active() {
            info!("publishing");
        }
        let now = now();
        let standings = grant.publisher.standings();
        let watch = watch(
            stream_id,
            standings,
            grant.gives_way,
            self.notices.0.clone(),
        );
        Published {
            watcher: tokio::spawn(watch),
            ingest: Ingest::new(
                self.context.hub.clone(),
                grant.publisher,
                Some(self.peer),
                now,
            ),
            first_frame: self
                .context
                .config
                .publishers
                .publish_timeout
                .map(|limit| now + limit),
            span,
            holder: grant.holder,
            advice: AdviceSender::new(now),
            standings_left: MAX_STANDINGS,
        }
    }

    /// Handles news about a published stream.
    pub(super) fn handle_notice(&mut self, notice: Notice) -> Result<(), End> {
        let stream_id = notice.stream_id;
        match notice.news {
            News::Standing(standing) => {
                self.tell_standing(stream_id, standing);
                Ok(())
            }
            News::Dismissed { description, end } => self.end_publish(stream_id, description, end),
        }
    }

    /// Logs the standing of a publisher, and tells it.
    fn tell_standing(&mut self, stream_id: u32, standing: Standing) {
        let published = self.published.get_mut(&stream_id);
        if let Some(text) = published.and_then(|published| published.note_standing(standing)) {
            self.session.tell_standing(stream_id, text);
        }
    }

    /// Ends the streams whose first frame has not arrived in time.
    pub(super) fn end_without_frames(&mut self, now: Instant) -> Result<(), End> {
        let Some(limit) = self.context.config.publishers.publish_timeout else {
            return Ok(());
        };
        let is_due = |published: &Published| published.first_frame.is_some_and(|due| due <= now);
        let due: Vec<_> = self
            .published
            .iter()
            .filter_map(|(id, published)| is_due(published).then_some(*id))
            .collect();
        for stream_id in due {
            let end = End::NoFrame(limit);
            let description = format!("The stream is given up: {end}.");
            self.end_publish(stream_id, &description, end)?;
        }
        Ok(())
    }

    /// Ends one published stream, and the connection if it has no other.
    pub(super) fn end_publish(
        &mut self,
        stream_id: u32,
        description: &str,
        end: End,
    ) -> Result<(), End> {
        self.session.end_publish(stream_id, description);
        if !self.session.is_active() {
            return Err(end);
        }
        if let Some(published) = self.published.remove(&stream_id) {
            published.end(&end);
        }
        Ok(())
    }

    /// Records in the journal that the client was refused.
    pub(super) fn note_refusal(&self, stream: Option<&StreamName>, reason: &dyn Display) {
        let journal = self.context.hub.journal();
        let address = Some(self.peer.ip());
        journal.record(JournalKind::Refused, stream, address, reason, now());
    }

    pub(super) fn requester(&self) -> Requester {
        Requester {
            context: Arc::clone(&self.context),
            peer: self.peer,
            client: self.client.clone(),
        }
    }
}

/// Passes on how the standing of a publisher changes, until it is dismissed or has to give way.
async fn watch(
    stream_id: u32,
    mut standings: Standings,
    mut gives_way: oneshot::Receiver<()>,
    notices: mpsc::Sender<Notice>,
) {
    loop {
        let news = tokio::select! {
            standing = standings.next() => match standing {
                Standing::Dismissed(Dismissal::Replaced) => News::Dismissed {
                    description: "Another publisher has taken the stream over.",
                    end: End::Replaced,
                },
                Standing::Dismissed(Dismissal::Evicted) => News::Dismissed {
                    description: "No frame arrived for long while it stood by, and another publisher \
                                  stands by in its place.",
                    end: End::Evicted,
                },
                Standing::Dismissed(Dismissal::Removed) => News::Dismissed {
                    description: "The server has ended the stream.",
                    end: End::Removed,
                },
                standing => News::Standing(standing),
            },
            // It fails, and must not be polled again, once another publisher has the name alone.
            Ok(()) = &mut gives_way, if !gives_way.is_terminated() => News::Dismissed {
                description: "No frame arrived for long, and the limit of publishers is reached.",
                end: End::GaveWay,
            },
        };
        let is_last = matches!(news, News::Dismissed { .. });
        // Fails if the connection has ended.
        if notices.send(Notice { stream_id, news }).await.is_err() || is_last {
            return;
        }
    }
}

impl Requester {
    async fn authorize_publish(
        &self,
        name: &StreamName,
        identity: &Identity,
    ) -> Result<(), Rejection> {
        let allowed = self.authorize(Action::Publish, name, &identity.query);
        // A publisher continues after its token has expired: encoders cannot get another one.
        allowed.await.map(drop).map_err(|denied| {
            (
                "NetStream.Publish.Denied",
                format!("{name} cannot be published: {denied}."),
            )
        })
    }

    /// Takes the name and a publisher's permit.
    async fn claim(
        &self,
        name: &StreamName,
        identity: Identity,
        last_received: LastActivity,
    ) -> Result<Grant, Rejection> {
        const BAD_NAME: &str = "NetStream.Publish.BadName";
        let limit = self.context.config.publishers.publish_timeout;
        let is_stalled = |limit| self.context.holders.is_without_frame(name, limit);
        // Checked before a permit is taken, because a stalled holder of the name may free one.
        let stands_by = self.context.config.publishers.on_duplicate == OnDuplicate::Standby;
        let is_stalled = !stands_by && limit.is_some_and(is_stalled);
        let permit = self.take_permit().map_err(|full| {
            let description = match full {
                Full::Total(max) => {
                    format!("The limit of {max} publishers is reached (max under [publishers]).")
                }
                Full::Address(max) => format!(
                    "The limit of {max} publishers from one address is reached (max_per_ip under [publishers])."
                ),
            };
            (BAD_NAME, description)
        })?;
        let when_taken = match self.context.config.publishers.on_duplicate {
            OnDuplicate::Standby => WhenTaken::StandsBy,
            OnDuplicate::Takeover => WhenTaken::TakesOver,
            OnDuplicate::Refuse if is_stalled => WhenTaken::TakesOver,
            OnDuplicate::Refuse => WhenTaken::Refused,
        };
        let hub = &self.context.hub;
        let admitted = hub.admit(name, when_taken).await;
        let admitted = admitted
            .map_err(|error| (BAD_NAME, format!("{name} cannot be published: {error}.")))?;
        let publisher = if is_stalled {
            info!("a publisher without frames loses the name");
            Ok(hub.take_over(name, now()).with_permit(admitted))
        } else if stands_by {
            hub.stand_by(name, admitted, now())
        } else {
            let taken = self.take_name(name, &identity, &last_received).await;
            taken.map(|publisher| publisher.with_permit(admitted))
        };
        let publisher = publisher.map_err(|error| {
            let description = match error {
                PublishError::AlreadyLive => format!(
                    "Somebody else is publishing {name} now: stop that one or choose another name."
                ),
                error => format!("{name} cannot be published: {error}."),
            };
            (BAD_NAME, description)
        })?;
        let holders = &self.context.holders;
        let (holder, gives_way) =
            holders.enter(name.clone(), !stands_by, identity, last_received, permit);
        Ok(Grant {
            publisher,
            holder,
            gives_way,
        })
    }

    /// Takes a publisher's permit. At the limit it dismisses the publisher that has been without a
    /// frame for longest.
    fn take_permit(&self) -> Result<Permit, Full> {
        let ServerContext {
            publishers,
            holders,
            config,
            ..
        } = &*self.context;
        let ip = limited(self.peer.ip());
        match (publishers.take(ip), config.publishers.publish_timeout) {
            (Err(Full::Total(_)), Some(limit)) if holders.give_way(limit) => publishers.take(ip),
            (taken, _) => taken,
        }
    }

    async fn take_name(
        &self,
        name: &StreamName,
        identity: &Identity,
        last_received: &LastActivity,
    ) -> Result<Publisher, PublishError> {
        let ServerContext { hub, holders, .. } = &*self.context;
        if self.context.config.publishers.on_duplicate == OnDuplicate::Takeover {
            return Ok(hub.take_over(name, now()));
        }
        match hub.publish(name, now()) {
            Err(PublishError::AlreadyLive)
                if holders.is_left_by(name, identity, last_received).await =>
            {
                info!(
                    "the publisher has reconnected, and takes the name over from its silent connection"
                );
                Ok(hub.take_over(name, now()))
            }
            // The other publisher may have left in the meantime.
            Err(PublishError::AlreadyLive) => hub.publish(name, now()),
            taken => taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use distributary_hub::{Hub, HubConfig, Permit};
    use distributary_media::Frame;
    use distributary_media::test_util::video_frame;

    use super::*;

    async fn standing(notices: &mut mpsc::Receiver<Notice>) -> Standing {
        match notices.recv().await.expect("it is watched").news {
            News::Standing(standing) => standing,
            News::Dismissed { description, .. } => panic!("{description}"),
        }
    }

    #[tokio::test]
    async fn standing_is_followed_after_another_publisher_has_the_name_alone() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let first = hub.stand_by(&name, Permit::default(), now()).unwrap();
        let second = hub.stand_by(&name, Permit::default(), now()).unwrap();
        let (entry, gives_way) = oneshot::channel();
        drop(entry);
        let (sender, mut notices) = mpsc::channel(4);
        let watcher = tokio::spawn(watch(1, second.standings(), gives_way, sender));
        drop(first);
        assert_eq!(standing(&mut notices).await, Standing::Next);
        let keyframe = Frame::Video(video_frame(0, true, 10));
        second.push(keyframe, now()).unwrap();
        assert_eq!(standing(&mut notices).await, Standing::Active);
        watcher.abort();
    }
}
