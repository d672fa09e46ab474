//! ICE as a lite agent speaks it (RFC 8445), with consent (RFC 7675).
//!
//! A gateway has an address that everybody can reach, so it needs no checks of its own: it gives out
//! host candidates, answers the checks of the peer, and learns from them where the peer is.
//!
//! What a lite agent leaves out, and why nothing is missed:
//!
//! | RFC 8445 | rule | here |
//! |---|---|---|
//! | 5.1.1 | gather server-reflexive and relayed candidates | host candidates only: the address is public, or configured |
//! | 5.1.2 | priorities of candidates | all candidates are of one type: order of configuration |
//! | 5.4, 6.1.2 | pairs, check lists, freezing | none: pairs come into being when a check arrives (7.3.2) |
//! | 6.1.1 | determine the role | always controlled: a full peer controls, and two lite agents have nobody to check |
//! | 7.2 | send checks | never; remote candidates, their names and ports are not even looked at |
//! | 7.3.1.1 | switch roles by tie-breaker | a lite agent cannot control: a peer that is controlled gets 487 and switches |
//! | 7.3.1.4 | triggered checks | none |
//! | 8.1 | nominate | only the peer nominates (8.2: the lite agent follows) |
//! | 9 | restart | a new agent with new credentials beside the old one |
//! | 11 | keepalives | not sent: media flows, and the peer's own checks keep bindings open |
//! | RFC 7675 | send consent checks | the peer's checks are the consent: none for [`CONSENT_TIMEOUT`] means that it is gone |
//! | RFC 8838 | trickle | what trickles is not needed |
//! | RFC 6544 | TCP candidates | UDP only |

mod agent;
mod credentials;

pub use agent::{
    CONSENT_TIMEOUT, CandidatePair, Check, DropReason, FIRST_CHECK_TIMEOUT, IceLite, IceOutcome,
};
pub use credentials::{Credentials, InvalidCredentials};
