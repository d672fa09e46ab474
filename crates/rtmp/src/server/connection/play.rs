//! Playing of a stream over a connection.

use distributary_auth::Action;
use distributary_net::limited;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{info, warn};

use super::end::End;
use super::{Asker, Connection};
use crate::proto::name::Target;
use crate::proto::session::PlayRequest;
use crate::server::playback::{Over, Playback};

/// The reason why a stream cannot be played: a code for the client, and a description.
type Rejection = (&'static str, String);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Grants a stream that is live or can be provided, or refuses it.
    pub(super) async fn decide_play(&mut self, request: PlayRequest) -> Result<(), End> {
        let target = request.target;
        if self.published.is_empty() {
            tracing::Span::current().record("stream", target.name.as_str());
        }
        let asker = self.asker();
        let playback = asker.play(&target);
        match Self::wait_for(&mut self.socket, &mut self.input, &self.heard, playback).await? {
            Ok(playback) => {
                info!(viewer = %playback.id(), "playing");
                self.session.accept_play();
                playback.describe(&mut self.session);
                self.playback = Some(playback);
                Ok(())
            }
            Err((code, description)) => {
                warn!(reason = description, "player refused");
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

    /// Tells a player that its stream has ended, once it has all of it.
    pub(super) fn end_of_play(&mut self) -> Result<(), End> {
        let over = self.playback.as_ref().and_then(Playback::over);
        let Some(over) = over.filter(|_| self.socket.is_idle()) else {
            return Ok(());
        };
        let description = match over {
            Over::Stream => "The stream has ended.",
            Over::Token => "The token has expired.",
            Over::Removed => "Whoever runs the server has ended this player.",
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

impl Asker {
    async fn play(&self, target: &Target) -> Result<Playback, Rejection> {
        let name = &target.name;
        let allowed = self.authorize(Action::Play, name, &target.query);
        let until = allowed.await.map_err(|denied| {
            let description = format!("{name} cannot be played: {denied}.");
            ("NetStream.Play.Failed", description)
        })?;
        let viewers = self.shared.hub.viewers();
        let permit = viewers.admit(name, limited(self.peer.ip()));
        let permit = permit.map_err(|full| {
            (
                "NetStream.Play.Failed",
                format!("{name} cannot be played: {full}."),
            )
        })?;
        let not_found = |error: &dyn std::fmt::Display| {
            let description = format!("{name} is not live: {error}.");
            ("NetStream.Play.StreamNotFound", description)
        };
        let summoned = self
            .shared
            .hub
            .ensure_live_for(name, Some(self.peer.ip()))
            .await;
        summoned.map_err(|error| not_found(&error))?;
        Playback::begin(&self.shared.hub, name, (self.peer, permit), until)
            .ok_or_else(|| not_found(&"nobody publishes it"))
    }
}
