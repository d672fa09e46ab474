//! End-to-end behaviour of the gateway, with real clients.
