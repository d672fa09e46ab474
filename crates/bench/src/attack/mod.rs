//! Attacks on a gateway by one hostile client, or a few, over loopback.
//!
//! ```text
//! hostile (the program) ──► Attack::run ──► one module per attack
//!                                             │
//!        target, context     the addresses, the clock and the stats of one attack
//!        pace                bytes per second, of all connections together
//!        rtmp, http          connections that send arbitrary bytes
//!        session, association, watcher   WHEP sessions: by hand, or of a viewer that behaves
//!        amf, media, sctp, records       builders of hostile bytes
//! ```
//!
//! Each attack is bounded in time, bytes and connections, and ends by itself. It reports the bytes
//! sent, the bytes received and its observations; the harm is measured from outside (`cargo xtask
//! attack`).
#![allow(
    clippy::disallowed_methods,
    reason = "drivers: each attack keeps its own time"
)]

mod amf;
mod association;
mod context;
mod error;
mod http;
mod media;
mod pace;
mod records;
mod rtmp;
mod sctp;
mod session;
mod target;
mod watcher;

mod aac_headers;
mod amf_aggregate;
mod amf_before_connect;
mod big_video;
mod event_streams;
mod forged_address;
mod forged_handshake;
mod half_handshakes;
mod http_pipeline;
mod idle_names;
mod idle_players;
mod junk_records;
mod metadata;
mod patch_flood;
mod pinned_slices;
mod pull_flood;
mod sctp_sack;
mod silent_tcp;
mod tiny_timestamps;

use clap::ValueEnum;

use context::Context;

pub use error::AttackError;
pub use target::{Outcome, Target};

/// The attacks, by the names they have on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Aggregate messages full of data messages that unfold by references
    AmfAggregate,
    /// Data messages that unfold by references, before `connect`
    AmfBeforeConnect,
    /// Frames of a few bytes that come in messages of 4 MiB
    PinnedSlices,
    /// Frames whose timestamps are 1 ms apart, faster than real time
    TinyTimestamps,
    /// A changed AAC configuration before each audio frame
    AacHeaders,
    /// A nominating check from an address that never answers
    ForgedAddress,
    /// A ClientHello from an address that never answers
    ForgedHandshake,
    /// SCTP DATA chunks with every second TSN missing
    SctpSack,
    /// Pipelined requests whose responses are not read
    HttpPipeline,
    /// Sessions of streams that are pulled from a silent origin
    PullFlood,
    /// RTMP players that do not read
    IdlePlayers,
    /// Event streams, made and ended in a loop
    EventStreams,
    /// Metadata that unfolds by references, of many publishers
    Metadata,
    /// ICE restarts in a loop
    PatchFlood,
    /// A stream of 8192x4320 with B-frames
    BigVideo,
    /// Names held by publishers without media
    IdleNames,
    /// DTLS handshakes that end after the ClientHello
    HalfHandshakes,
    /// Silent TCP connections to all ports
    SilentTcp,
    /// Plaintext records of the wrong kind during a handshake
    JunkRecords,
}

impl Attack {
    /// Returns the name, as on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Attacks the target for as long as it says.
    ///
    /// # Errors
    /// If the attack cannot start. Later errors are in the outcome.
    pub fn run(self, target: Target) -> Result<Outcome, AttackError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let context = Context::new(target)?;
            let ended = context.until_the_end(self.attack(&context)).await;
            Ok(context.outcome(&self.name(), ended))
        })
    }

    async fn attack(self, context: &Context) -> Result<(), AttackError> {
        match self {
            Self::AmfAggregate => amf_aggregate::run(context).await,
            Self::AmfBeforeConnect => amf_before_connect::run(context).await,
            Self::PinnedSlices => pinned_slices::run(context).await,
            Self::TinyTimestamps => tiny_timestamps::run(context).await,
            Self::AacHeaders => aac_headers::run(context).await,
            Self::ForgedAddress => forged_address::run(context).await,
            Self::ForgedHandshake => forged_handshake::run(context).await,
            Self::SctpSack => sctp_sack::run(context).await,
            Self::HttpPipeline => http_pipeline::run(context).await,
            Self::PullFlood => pull_flood::run(context).await,
            Self::IdlePlayers => idle_players::run(context).await,
            Self::EventStreams => event_streams::run(context).await,
            Self::Metadata => metadata::run(context).await,
            Self::PatchFlood => patch_flood::run(context).await,
            Self::BigVideo => big_video::run(context).await,
            Self::IdleNames => idle_names::run(context).await,
            Self::HalfHandshakes => half_handshakes::run(context).await,
            Self::SilentTcp => silent_tcp::run(context).await,
            Self::JunkRecords => junk_records::run(context).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attacks_are_unique() {
        let mut names: Vec<_> = Attack::value_variants()
            .iter()
            .map(|attack| attack.name())
            .collect();
        assert!(
            names.contains(&"amf-before-connect".to_owned()),
            "{names:?}"
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Attack::value_variants().len());
    }
}
