//! The HTTP rules, each on the router without a socket.

mod cors;
mod endpoint;
mod front;
mod pages;
mod session;
