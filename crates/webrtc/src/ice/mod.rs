//! ICE as a lite agent speaks it (RFC 8445), with consent (RFC 7675).
//!
//! A gateway has an address that everybody can reach, so it needs no checks of its own: it gives
//! out host candidates, answers the checks of the peer, and learns from them where the peer is.
//!
//! The parts that a lite agent does not need, and why:
//!
//! | Specification | Rule | Here |
//! |---|---|---|
//! | RFC 8445 5.1.1 | gather server-reflexive and relayed candidates | host candidates only: the address is public, or configured |
//! | 5.1.2 | priorities of candidates | all are of one type: UDP before TCP (RFC 6544 section 4.2), then the order of configuration |
//! | 5.1.3, 5.1.4 | eliminate redundant candidates, keep candidates alive | each address is announced once, and costs nothing to keep |
//! | 6.1.1 | determine the role | always controlled: a full peer controls, and two lite agents have nobody to check |
//! | 6.1.2 | form pairs and check lists, freeze them | none: pairs come into being when a check arrives (7.3.2) |
//! | 6.1.4, 14 | pace checks (Ta, RTO) | one at most for each that came |
//! | 7.2 | send checks | only back to where a valid check came from, to learn whether the peer is there; remote candidates, their names and ports are not even looked at |
//! | 7.3.1.1 | switch roles by tie-breaker | a lite agent cannot control: a peer that believes to be controlled gets 487 and switches, whatever the tie-breakers are |
//! | 7.3.1.2 | answer checks that come before the peer's description | cannot happen: the offer comes first |
//! | 7.3.1.3, 7.3.1.4 | peer-reflexive candidates, triggered checks | the source of a valid check is where the peer says it is; the check back forms no pair |
//! | 8.1 | nominate | only the peer nominates (8.2: the lite agent follows). It may do so again at any time, which is how a viewer changes networks |
//! | 8.3 | free candidates that are not used | there is one socket for everybody |
//! | 9 | ICE restart | [`IceLite::restart`]: only the peer begins one, by PATCH (RFC 9725 section 4.3.3); both generations of credentials are good until it is complete |
//! | 11 | send keepalives | not sent: media flows, and the peer's own checks keep bindings open. Binding indications of the peer are taken and have no effect |
//! | RFC 8489 9.1.3 | 400 and 401 for requests that are not authentic | only for requests that name the session, so that strangers cannot probe for sessions |
//! | RFC 8421 | many interfaces and both families of addresses | all are announced in the order of configuration; the peer chooses among those it can reach |
//! | RFC 7675 | send consent checks | the peer's checks are the consent: none for [`CONSENT_TIMEOUT`] means that it is gone |
//! | RFC 8838 | trickle | trickled candidates are not needed, and all of ours are in the answer |
//! | RFC 6544 | active and simultaneous-open TCP candidates | passive only: the peer connects to us |
//!
//! One extension is supported: libwebrtc's short connectivity check (GOOG_PING), with peers that
//! announce it.

mod agent;
mod credentials;
mod pair;
mod path;
#[cfg(test)]
mod tests;

pub use agent::{CONSENT_TIMEOUT, Check, DropReason, FIRST_CHECK_TIMEOUT, IceLite, IceOutcome};
pub use credentials::{Credentials, InvalidCredentials};
pub use pair::{CandidatePair, Transport};
pub use path::AMPLIFICATION_LIMIT;
