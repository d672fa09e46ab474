//! Simulations of the gateway, its publishers, its viewers and their networks, by seed.

pub mod check;
pub mod client;
pub mod content;
mod gateway;
pub mod network;
pub mod publisher;
pub mod random;
pub mod scenario;
mod seat;
pub mod trace;
mod world;

pub use world::{Failure, Summary, run};
