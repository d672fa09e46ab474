//! HTTP: WHEP, the APIs, events, metrics and the web pages.
//!
//! ```text
//! POST   /whep/{app}/{stream}    offer in, answer out: 201 with the Location of the session
//! DELETE /session/{id}           ends the session
//! POST   /session/{id}/layer     selects a rendition
//! GET    /api/live               the live streams, for the front page
//! GET    /healthz, /readyz       liveness and readiness
//! GET    /                       the front page; /{app}/{stream} is the player page of a stream
//! ```
//!
//! [`router`] is all of this as one [`axum::Router`], without a socket. [`HttpServer`] serves it
//! over TCP. Media does not pass here: the engine of `distributary_egress` runs the sessions, and
//! this crate refers to them by their unguessable ids.
//!
//! [`admin`] is the API for operators, on its own listener.
//!
//! WHEP follows draft-ietf-wish-whep, which is based on WHIP (RFC 9725). Errors are problem details
//! (RFC 9457).

mod access;
pub mod admin;
mod admission;
mod aliases;
mod allowed_origins;
mod closing;
mod config;
mod cors;
mod elsewhere;
mod endpoint;
mod events;
mod expiry;
mod fallback;
mod forwarded;
mod forwarded_prefix;
mod front_door;
mod health;
mod help;
mod ice_report;
mod ice_server;
mod keyframe;
mod layer;
mod legacy;
mod limits;
mod links;
mod live;
mod name;
mod offer;
mod other_nodes;
mod pages;
mod path;
mod player;
mod prepared;
mod problem;
mod public_path;
mod query;
mod rate_limit;
mod redirect;
mod refusal;
mod refusals;
mod relative_root;
mod router;
mod server;
mod session;
mod session_segment;
mod viewer_client;

pub use access::Access;
pub use admission::{Admission, Drain};
pub use allowed_origins::{AllowedOrigins, OriginError};
pub use axum::Router;
pub use config::{FrontConfig, Offline, RequestsConfig, Settings, WhepConfig};
pub use elsewhere::answer_forwarded;
pub use front_door::{FrontDoor, ServerInfo};
pub use ice_server::{IceServer, IceServerError, TurnCredentials};
pub use offer::{MAX_OFFER_LEN, OFFER_TIMEOUT};
pub use other_nodes::{Nodes, NotForwarded, OtherNodes, RedirectReason};
pub use public_path::{PublicPath, PublicPathError};
pub use redirect::{Redirect, RedirectError};
pub use refusals::Refusals;
pub use router::router;
pub use server::{HttpConfig, HttpError, HttpServer};
