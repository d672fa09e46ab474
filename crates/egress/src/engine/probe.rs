//! A probe of the UDP port: a check that the engine answers without a session.

use std::io;
use std::sync::Arc;

use distributary_webrtc::ice::Credentials;
use distributary_webrtc::stun::{Class, IceRole, MessageWriter, Method, TransactionId};

use crate::state::EngineState;

/// A STUN check whose answer shows that the UDP port is reachable. The engine answers it with an
/// error (RFC 8489 section 6.3.4), as a check with a wrong password, while this exists.
pub struct Probe {
    shared: Arc<EngineState>,
    ufrag: Box<str>,
    check: Vec<u8>,
}

pub(super) fn probe(shared: &Arc<EngineState>) -> io::Result<Probe> {
    let (ours, other) = Credentials::generate()
        .and_then(|ours| Ok((ours, Credentials::generate()?)))
        .map_err(io::Error::other)?;
    let ufrag: Box<str> = ours.ufrag().into();
    let mut check = Vec::new();
    MessageWriter::new(
        &mut check,
        Class::Request,
        Method::BINDING,
        TransactionId(rand::random()),
    )
    .username(&format!("{ufrag}:{ufrag}"))
    .ice_role(IceRole::Controlling(1))
    .message_integrity(other.password().as_bytes())
    .finish();
    shared.registry.add_probe(ours);
    Ok(Probe {
        shared: Arc::clone(shared),
        ufrag,
        check,
    })
}

impl Probe {
    /// Returns the datagram to send.
    pub fn check(&self) -> &[u8] {
        &self.check
    }

    /// Returns whether a datagram is the answer to the check: it has the same transaction id (RFC
    /// 8489 section 5).
    pub fn is_answer(&self, datagram: &[u8]) -> bool {
        const ID: std::ops::Range<usize> = 4..20;
        let id = datagram.get(ID);
        id.is_some() && id == self.check.get(ID) && datagram.first() == Some(&1)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.registry.remove_probe(&self.ufrag);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Engine, EngineConfig};
    use distributary_hub::{Hub, HubConfig};
    use tokio::net::UdpSocket;
    use tokio::time::{Duration, timeout};

    #[tokio::test(flavor = "multi_thread")]
    async fn check_is_answered_while_the_probe_exists() {
        let config = EngineConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, Hub::new(HubConfig::default())).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let probe = engine.probe().unwrap();
        let mut bytes = [0; 1500];
        socket
            .send_to(probe.check(), engine.local_addr())
            .await
            .unwrap();
        let (len, from) = timeout(Duration::from_secs(30), socket.recv_from(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(from, engine.local_addr());
        assert!(probe.is_answer(&bytes[..len]));
        assert!(!probe.is_answer(probe.check()) && !probe.is_answer(&bytes[..12]));
        assert!(!engine.probe().unwrap().is_answer(&bytes[..len]));
        assert_eq!(engine.sessions(), 0);

        // Afterwards, a check is answered only for the new probe: both go to the same shard, in
        // order.
        let check = probe.check().to_vec();
        drop(probe);
        let next = engine.probe().unwrap();
        for check in [&check[..], next.check()] {
            socket.send_to(check, engine.local_addr()).await.unwrap();
        }
        let (len, _) = timeout(Duration::from_secs(30), socket.recv_from(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert!(next.is_answer(&bytes[..len]));
        tokio::task::spawn_blocking(move || engine.shutdown())
            .await
            .unwrap();
    }
}
