//! Playing of a stream over a connection.

use std::fmt::Display;

use distributary_auth::Action;
use distributary_names::StreamName;
use distributary_net::limited;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{info, warn};

use super::ServerConnection;
use super::end::End;
use super::requester::Requester;
use crate::clock::now;
use crate::proto::name::Target;
use crate::proto::session::PlayRequest;
use crate::server::playback::{Over, Playback};

/// The reason why a stream cannot be played: a code for the client, and a description.
type Rejection = (&'static str, String);

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// Grants or refuses a request to play. A stream that is not live is requested from its
    /// provider.
    pub(super) async fn decide_play(&mut self, request: PlayRequest) -> Result<(), End> {
        let target = request.target;
        if self.published.is_empty() {
            tracing::Span::current().record("stream", target.name.as_str());
        }
        let requester = self.requester();
        let playback = requester.play(&target);
        match Self::wait_for(
            &mut self.socket,
            &mut self.input,
            &self.last_received,
            playback,
        )
        .await?
        {
            Ok(playback) => {
                info!(viewer = %playback.id(), "playing");
                self.session.accept_play();
                playback.describe(&mut self.session);
                self.playback = Some(playback);
                Ok(())
            }
            Err((code, description)) => {
                warn!(reason = description, "player refused");
                self.note_refusal(Some(&target.name), &description);
                self.session.reject_play(code, &description);
                self.end_if_unused(End::Refused)
            }
        }
    }

    /// Sends the player its next event, once all earlier ones are sent.
    pub(super) fn feed_player(&mut self) {
        let Some(playback) = &mut self.playback else {
            return;
        };
        while self.socket.is_idle() && playback.send_next(&mut self.session) {
            while let Some(bytes) = self.session.poll_output() {
                self.socket.send(bytes);
            }
        }
    }

    /// Notifies a player of the end of its stream, once everything is sent.
    pub(super) fn end_of_play(&mut self) -> Result<(), End> {
        let over = self.playback.as_ref().and_then(Playback::over);
        let Some(over) = over.filter(|_| self.socket.is_idle()) else {
            return Ok(());
        };
        let description = match over {
            Over::Stream => "The stream has ended.",
            Over::Token => "The token has expired.",
            Over::Removed => "An administrator has ended this player.",
        };
        self.session.end_play(description);
        // Streams published over the same connection continue.
        self.end_if_unused(over.into())?;
        if let Some(playback) = self.playback.take() {
            playback.end(&End::from(over));
        }
        Ok(())
    }
}

impl Requester {
    async fn play(&self, target: &Target) -> Result<Playback, Rejection> {
        let name = &target.name;
        let allowed = self.authorize(Action::Play, name, &target.query);
        let until = allowed.await.map_err(|denied| denied_play(name, &denied))?;
        let hub = &self.context.hub;
        let permit = hub.viewers().admit(name, limited(self.peer.ip()));
        let permit = permit.map_err(|full| denied_play(name, &full))?;
        let not_found = |error: &dyn Display| {
            let description = format!("{name} is not live: {error}.");
            ("NetStream.Play.StreamNotFound", description)
        };
        let live = hub.ensure_live_for(name, Some(self.peer.ip())).await;
        live.map_err(|error| not_found(&error))?;
        // An administrator may have blocked the player while it waited.
        let blocks = self.context.config.auth.blocks();
        let allowed = blocks.check_viewer(self.peer.ip(), now());
        allowed.map_err(|denied| denied_play(name, &denied))?;
        Playback::begin(hub, name, self.peer, permit, until)
            .ok_or_else(|| not_found(&"nobody publishes it"))
    }
}

fn denied_play(name: &StreamName, reason: &dyn Display) -> Rejection {
    let description = format!("{name} cannot be played: {reason}.");
    ("NetStream.Play.Failed", description)
}
