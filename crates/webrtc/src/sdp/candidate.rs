//! Our candidates in an answer (RFC 8839 section 5.1, RFC 8445 section 5.1, RFC 6544 section 4.5).
//!
//! A player's candidates are not read: a lite agent sends no checks of its own, and learns where
//! the player is from the player's checks (RFC 8445 section 2.5). So mDNS names, TCP candidates,
//! candidates for a second component and unknown address forms do no harm in an offer.

use std::net::SocketAddr;

/// RTP and RTCP share one port, so that there is only this component (RFC 8445 section 4).
const COMPONENT: u32 = 1;

/// Type preference of host candidates (RFC 8445 section 5.1.2.2).
const HOST_TYPE_PREFERENCE: u32 = 126;

/// Subtracted from the type preference for TCP, so that a path by UDP always wins: RFC 6544 section
/// 4.2 wants UDP before TCP where both work.
const TCP_TYPE_PENALTY: u32 = 27;

/// `direction-pref` of a passive host candidate (RFC 6544 section 4.2).
const TCP_PASSIVE_DIRECTION: u32 = 4;

/// Largest `other-pref` (RFC 6544 section 4.2).
const MAX_OTHER_PREFERENCE: u32 = 8191;

/// The transport protocol of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CandidateTransport {
    /// Datagrams.
    Udp,
    /// A TCP port that the player connects to (RFC 6544).
    TcpPassive,
}

/// An address of ours at which players reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostCandidate {
    /// Address and port. A scope id is not written.
    pub address: SocketAddr,
    /// Transport protocol.
    pub transport: CandidateTransport,
}

impl HostCandidate {
    /// Creates a candidate reached by UDP.
    pub fn udp(address: SocketAddr) -> Self {
        Self {
            address,
            transport: CandidateTransport::Udp,
        }
    }

    /// Creates a candidate for a TCP port that the player connects to.
    pub fn tcp_passive(address: SocketAddr) -> Self {
        Self {
            address,
            transport: CandidateTransport::TcpPassive,
        }
    }

    /// Returns the priority of the candidate at `index` in a list with the best first (RFC 8445
    /// section 5.1.2.1).
    fn priority(&self, index: usize) -> u32 {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let (type_preference, local_preference) = match self.transport {
            CandidateTransport::Udp => (HOST_TYPE_PREFERENCE, 65_535u32.saturating_sub(index)),
            CandidateTransport::TcpPassive => {
                let other = MAX_OTHER_PREFERENCE.saturating_sub(index);
                let local = (TCP_PASSIVE_DIRECTION << 13) + other;
                (HOST_TYPE_PREFERENCE - TCP_TYPE_PENALTY, local)
            }
        };
        (type_preference << 24) + (local_preference << 8) + (256 - COMPONENT)
    }

    /// Candidates share a foundation when base address and protocol are the same
    /// (RFC 8445 section 5.1.1.3).
    fn shares_foundation_with(&self, other: &Self) -> bool {
        self.address.ip() == other.address.ip() && self.transport == other.transport
    }
}

/// Returns the values of the `a=candidate` lines for `candidates`, which stand in order of
/// preference.
pub(super) fn attribute_values(candidates: &[HostCandidate]) -> Vec<String> {
    let line = |(index, candidate): (usize, &HostCandidate)| {
        let first = candidates
            .iter()
            .position(|other| other.shares_foundation_with(candidate));
        let foundation = first.unwrap_or(index) + 1;
        let priority = candidate.priority(index);
        let (protocol, suffix) = match candidate.transport {
            CandidateTransport::Udp => ("udp", ""),
            CandidateTransport::TcpPassive => ("tcp", " tcptype passive"),
        };
        let (ip, port) = (candidate.address.ip(), candidate.address.port());
        format!("{foundation} {COMPONENT} {protocol} {priority} {ip} {port} typ host{suffix}")
    };
    candidates.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(address: &str) -> HostCandidate {
        HostCandidate::udp(address.parse().unwrap())
    }

    #[test]
    fn first_host_candidate_has_the_greatest_priority_a_host_candidate_can_have() {
        // 2^24 * 126 + 2^8 * 65535 + 255
        assert_eq!(udp("192.0.2.1:8189").priority(0), 2_130_706_431);
        assert_eq!(
            attribute_values(&[udp("192.0.2.1:8189")]),
            ["1 1 udp 2130706431 192.0.2.1 8189 typ host"]
        );
    }

    #[test]
    fn priorities_fall_in_the_order_of_the_list_and_udp_stands_before_tcp() {
        let address = "192.0.2.1:8189".parse().unwrap();
        let tcp = HostCandidate::tcp_passive(address);
        assert!(udp("192.0.2.1:8189").priority(1) < udp("[2001:db8::1]:8189").priority(0));
        assert!(tcp.priority(0) < udp("192.0.2.1:8189").priority(60_000));
        assert!(tcp.priority(1) < tcp.priority(0));
        assert!(tcp.priority(usize::MAX) > 0);
    }

    #[test]
    fn each_base_address_and_protocol_has_a_foundation_of_its_own() {
        let address = "192.0.2.1:8189".parse().unwrap();
        let lines = attribute_values(&[
            udp("192.0.2.1:8189"),
            udp("[2001:db8::1]:8189"),
            udp("192.0.2.1:8190"),
            HostCandidate::tcp_passive(address),
        ]);
        let foundations: Vec<_> = lines
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(foundations, ["1", "2", "1", "4"]);
        assert!(lines[1].contains(" 2001:db8::1 8189 typ host"), "{lines:?}");
        assert!(
            lines[3].ends_with(" 192.0.2.1 8189 typ host tcptype passive"),
            "{lines:?}"
        );
    }
}
