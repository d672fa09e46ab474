//! The HTTP front door: WHEP, the API and the web pages.
//!
//! ```text
//! POST   /whep/{app}/{stream}    offer in, answer out: 201 with the Location of the session
//! DELETE /session/{id}           ends the session
//! GET    /api/live               what is live, for the page
//! GET    /healthz, /readyz       whether it runs, and whether it takes viewers
//! GET    /                       the page; /{app}/{stream} is the player of one stream
//! ```
//!
//! [`router`] is all this as one [`axum::Router`], without a socket; [`HttpServer`] drives it over
//! TCP. The media never comes here: a session is handed to the engine of `distributary_egress`, and
//! what is left is its unguessable id.
//!
//! [`admin`] is for whoever runs the gateway, on a listener of its own.
//!
//! WHEP follows draft-ietf-wish-whep, which rests on WHIP (RFC 9725). Errors are problem details
//! (RFC 9457).

mod access;
pub mod admin;
mod admission;
mod advice;
mod aliases;
mod config;
mod cors;
mod endpoint;
mod events;
mod expiry;
mod health;
mod ice_server;
mod legacy;
mod limits;
mod live;
mod name;
mod offer;
mod pages;
mod path;
mod player;
mod problem;
mod public_path;
mod redirect;
mod refusal;
mod router;
mod server;
mod session;

pub use access::Access;
pub use admission::{Admission, Drain};
pub use axum::Router;
pub use config::{FrontConfig, Offline, RequestsConfig, Settings, WhepConfig};
pub use cors::{AllowedOrigins, OriginError};
pub use ice_server::{IceServer, IceServerError, TurnCredentials};
pub use offer::{MAX_OFFER_LEN, OFFER_TIMEOUT};
pub use public_path::{PublicPath, PublicPathError};
pub use redirect::{Redirect, RedirectError};
pub use router::{FrontDoor, ServerInfo, router};
pub use server::{HttpConfig, HttpError, HttpServer};
