//! Events for players: the server-sent events extension of WHEP
//! (draft-ietf-wish-whep, "WebRTC-HTTP Egress Protocol Core Extensions").
//!
//! ```text
//! POST   /session/{id}/events            chooses events: 201 with the Location of an event stream
//! GET    /session/{id}/events/{number}   the events, as they happen (text/event-stream)
//! DELETE /session/{id}/events/{number}   ends it
//! ```
//!
//! The answer to the offer announces it in a `Link` header.

mod feed;
pub(crate) mod kind;
mod layers;
mod streams;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use distributary_egress::engine::Engine;
use distributary_egress::session::{SessionId, SessionWatch};
use distributary_hub::Hub;
use distributary_names::StreamName;
use distributary_net::Permit;
use futures_util::stream;
use tokio::sync::watch;

use crate::access::Viewer;
use crate::admission::Drain;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::links;
use crate::offer::{is_of_type, read_text};
use crate::other_nodes::Nodes;
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::refusal::unknown_session;
use crate::session::PathSession;
use crate::session_segment;
use feed::{Feed, Situation};
use kind::{Event, EventSet};
use layers::Layers;
use streams::EventStream;

pub(crate) use streams::EventStreams;

const JSON: &str = "application/json";

/// Seconds after which a player should retry when too many players listen.
const FULL_RETRY_SECONDS: u32 = 10;

const METHODS: &str = "OPTIONS, POST";
const STREAM_METHODS: &str = "DELETE, GET, HEAD, OPTIONS";

/// Returns the routes of `/session/{id}/events`.
pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    post(create).options(async || cors::options(METHODS))
}

/// Returns the routes of `/session/{id}/events/{number}`.
pub(crate) fn stream_methods() -> MethodRouter<FrontDoor> {
    get(listen)
        .delete(remove)
        .options(async || cors::options(STREAM_METHODS))
}

/// Creates an event stream for the events that the body lists, or for all.
async fn create(
    State(front): State<FrontDoor>,
    Extension(events): Extension<EventStreams>,
    PathSession(id): PathSession,
    public: PublicPath,
    request: Request,
) -> Result<Response, Problem> {
    let mut watched = front.engine.watch(&id).ok_or_else(unknown_session)?;
    let wanted = wanted(request).await?;
    let is_live = is_live(&front, watched.stream());
    let Some((number, is_first)) = events.create(id, wanted, is_live) else {
        let detail = "The session has reached its maximum number of event streams.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
    };
    if is_first {
        tokio::spawn(async move {
            watched.ended().await;
            events.forget(&id);
        });
    }
    let location = format!(
        "{}/events/{number}",
        links::session_url(&front, &public, &id)
    );
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Returns the events that a request lists.
async fn wanted(request: Request) -> Result<EventSet, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let is_json = is_of_type(request.headers(), JSON);
    let body = read_text(request).await?;
    if body.trim().is_empty() {
        return Ok(EventSet::all());
    }
    if !is_json {
        let detail = format!("A list of events has the Content-Type {JSON}.");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let names: Vec<String> = serde_json::from_str(&body).map_err(|error| {
        bad(format!(
            "A list of the names of events was expected: {error}."
        ))
    })?;
    EventSet::named(&names).map_err(|name| {
        let all = EventSet::all();
        bad(format!("There is no event {name:?}; there are {all}."))
    })
}

/// The event stream that a path names.
struct PathStream(SessionId, u32);

impl<S: Send + Sync> FromRequestParts<S> for PathStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((id, number)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| unknown())?;
        let (id, _) = session_segment::parse(&id).ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        Ok(Self(id, number))
    }
}

async fn remove(
    Extension(events): Extension<EventStreams>,
    PathStream(id, number): PathStream,
) -> Result<StatusCode, Problem> {
    if events.remove(&id, number) {
        Ok(StatusCode::OK)
    } else {
        Err(unknown())
    }
}

/// Sends the events as they happen, until the player leaves or the session ends.
async fn listen(
    State(front): State<FrontDoor>,
    Extension(streams): Extension<EventStreams>,
    PathStream(id, number): PathStream,
    viewer: Viewer,
) -> Result<Response, Problem> {
    let events = streams.get(&id, number).ok_or_else(unknown)?;
    let session = front.engine.watch(&id).ok_or_else(unknown)?;
    let permit = streams.permit(viewer.counts_as()).map_err(|full| {
        let detail = format!("Too many players listen for events: {full}.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(FULL_RETRY_SECONDS)
    })?;
    let listener = Listener::new(
        &front,
        events,
        id,
        session,
        front.access.expiry().of(&id),
        permit,
    );
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        let event = sse::Event::default()
            .event(event.kind.name())
            .data(event.data.to_string());
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// A player that listens to events. Dropping it ends the listening.
struct Listener {
    feed: Feed,
    events: Arc<EventStream>,
    hub: Hub,
    engine: Engine,
    id: SessionId,
    session: SessionWatch,
    liveness: watch::Receiver<bool>,
    drain: watch::Receiver<Option<Drain>>,
    nodes: Nodes,
    /// Expiry of the session's token.
    expires: Option<Instant>,
    /// Closes when another listener replaces this one.
    replaced: watch::Receiver<()>,
    has_ended: bool,
    _permit: Permit,
}

impl Listener {
    fn new(
        front: &FrontDoor,
        events: Arc<EventStream>,
        id: SessionId,
        session: SessionWatch,
        expires: Option<tokio::time::Instant>,
        permit: Permit,
    ) -> Self {
        let is_active = events.is_active.load(Ordering::Relaxed);
        let grace = front.config.current().offline_grace;
        // The session keeps the stream. If both have just ended, a channel without a sender says
        // that the stream is not live.
        let liveness = front.hub.stream(session.stream());
        let liveness = liveness.map_or(watch::channel(false).1, |stream| stream.liveness());
        Self {
            feed: Feed::new(events.wanted, is_active, grace, clock()),
            replaced: events.listen(),
            events,
            hub: front.hub.clone(),
            engine: front.engine.clone(),
            id,
            session,
            liveness,
            drain: front.admission.watch(),
            nodes: front.nodes.clone(),
            expires: expires.map(tokio::time::Instant::into_std),
            has_ended: false,
            _permit: permit,
        }
    }

    /// Returns the next event; `None` after the last.
    async fn next(&mut self) -> Option<Event> {
        while !self.has_ended {
            let situation = self.situation();
            let event = self.feed.poll_event(&situation, clock());
            self.events
                .is_active
                .store(self.feed.is_active(), Ordering::Relaxed);
            if event.is_some() {
                return event;
            }
            let deadline = self.deadline();
            tokio::select! {
                () = self.session.ended() => {
                    self.has_ended = true;
                    return self.feed.finish(&self.situation());
                }
                Err(_) = self.replaced.changed() => return None,
                Ok(()) = self.liveness.changed() => {}
                Ok(()) = self.drain.changed() => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
        None
    }

    /// Returns the time of the next poll if nothing changes before.
    fn deadline(&self) -> Instant {
        let expiry = self.expires.filter(|at| *at > clock());
        let feed = self.feed.deadline();
        expiry.map_or(feed, |expiry| expiry.min(feed))
    }

    fn situation(&self) -> Situation {
        let stream = self.hub.stream(self.session.stream());
        Situation {
            is_live: *self.liveness.borrow(),
            has_ended: stream.is_some_and(|stream| stream.has_ended()),
            viewers: self.hub.viewers().count_of(self.session.stream()),
            drain: self.drain(),
            is_expiring: self.expires.is_some_and(|at| at <= clock()),
            layers: self.layers(),
        }
    }

    /// Returns the drain, with the endpoint at another gateway of the cluster unless the operator has
    /// named one.
    fn drain(&self) -> Option<Drain> {
        let mut drain = self.drain.borrow().clone()?;
        if drain.reconnect.is_none() {
            let mut alternates = self.nodes.alternates(self.session.stream()).into_iter();
            drain.reconnect = alternates.next().map(Into::into);
        }
        Some(drain)
    }

    /// Returns the renditions of the stream, and the one that the viewer gets.
    fn layers(&self) -> Layers {
        let renditions = self.hub.renditions(self.session.stream(), clock());
        Layers::new(&renditions, self.engine.rendition_of(&self.id))
    }
}

fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn is_live(front: &FrontDoor, name: &StreamName) -> bool {
    let stream = front.hub.stream(name);
    stream.is_some_and(|stream| stream.is_live())
}

fn unknown() -> Problem {
    let detail = "There is no such event stream; its session may have ended.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}
