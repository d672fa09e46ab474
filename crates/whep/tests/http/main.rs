//! The HTTP behavior, tested on the routes without a socket.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod access;
mod admin;
mod aliases;
mod cors;
mod counter_offer;
mod endpoint;
mod events;
mod front;
mod ice_servers;
mod layers;
mod load;
mod metrics;
mod operations;
mod other_nodes;
mod pages;
mod prepared;
mod public_path;
mod session;
