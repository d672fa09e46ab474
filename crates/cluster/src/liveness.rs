//! Follows whether a stream of this node is live.

use std::time::Duration;

use distributary_hub::Hub;
use distributary_names::StreamName;
use tokio::sync::watch;
use tokio::time::timeout;

/// Interval at which a stream that is not live is looked up again: the hub has it only while it has
/// a publisher or viewers.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

/// Follows whether a stream of this node is live.
pub(crate) struct Liveness {
    hub: Hub,
    name: StreamName,
    /// Tells whether it is live, once the hub has it.
    stream: Option<watch::Receiver<bool>>,
}

impl Liveness {
    pub(crate) fn new(hub: Hub, name: StreamName) -> Self {
        Self {
            hub,
            name,
            stream: None,
        }
    }

    /// Completes each time a publisher begins or is replaced, and at the first call if the stream is
    /// live already. It may be dropped and called again.
    pub(crate) async fn online(&mut self) {
        loop {
            let is_live = self.stream.as_ref().is_some_and(|live| *live.borrow());
            if !is_live && self.look_up() {
                return;
            }
            match &mut self.stream {
                // The stream stays the same as long as it is live.
                Some(live) if is_live => {
                    if live.changed().await.is_err() {
                        self.stream = None;
                    } else if *live.borrow_and_update() {
                        return;
                    }
                }
                Some(live) => {
                    // A change is found by the next look.
                    let _ = timeout(LOOK_UP_INTERVAL, live.changed()).await;
                }
                None => tokio::time::sleep(LOOK_UP_INTERVAL).await,
            }
        }
    }

    /// Looks the stream up. Returns whether it is live.
    fn look_up(&mut self) -> bool {
        let stream = self.hub.stream(&self.name);
        self.stream = stream.map(|stream| stream.liveness());
        let live = self.stream.as_mut();
        live.is_some_and(|live| *live.borrow_and_update())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use distributary_hub::HubConfig;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn each_begin_of_a_stream_is_told_also_long_after_its_name_was_granted() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let mut liveness = Liveness::new(hub.clone(), name.clone());
        let early = timeout(Duration::from_secs(10), liveness.online()).await;
        assert!(early.is_err(), "nobody publishes it");
        for _ in 0..3 {
            let publisher = hub.publish(&name, now()).unwrap();
            let begun = timeout(Duration::from_secs(1), liveness.online()).await;
            assert!(begun.is_ok());
            assert!(liveness.online().now_or_never().is_none(), "once");
            drop(publisher);
            assert!(liveness.online().now_or_never().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn publisher_that_begins_right_after_another_is_told() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let mut liveness = Liveness::new(hub.clone(), name.clone());
        let first = hub.publish(&name, now()).unwrap();
        liveness.online().await;
        drop(first);
        let _second = hub.publish(&name, now()).unwrap();
        let begun = timeout(Duration::from_secs(1), liveness.online()).await;
        assert!(begun.is_ok());
    }
}
