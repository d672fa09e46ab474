//! A stream that needs to be transcoded and takes much memory: 8192x4320 with B-frames.

use std::time::Duration;

use distributary_media::flv::{FlvReader, TagKind};
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::error::AttackError;
use super::rtmp::{RtmpPeer, VIDEO};
use super::watcher::Watcher;

const NAME: &str = "big";

/// Time that the stream is live before a viewer comes, which starts the transcoder.
const HEAD_START: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let path = context.target().clip.as_ref();
    let path = path.ok_or(AttackError::Lacks("path (--clip)"))?;
    let file = std::fs::read(path)?;
    let tags: Vec<_> = FlvReader::new(file.into())?.collect::<Result<_, _>>()?;
    let mut publisher = RtmpPeer::publish(context, 0, NAME).await?;
    let publishing = async {
        let mut begin = Instant::now();
        let mut offset = 0;
        loop {
            let mut last = 0;
            for tag in tags.iter().filter(|tag| tag.kind == TagKind::Video) {
                last = tag.timestamp_millis;
                sleep_until(begin + Duration::from_millis(last.into())).await;
                let timestamp = offset + last;
                publisher
                    .send(context, VIDEO, timestamp, tag.body.clone())
                    .await?;
                context.add("frames", 1.0);
            }
            offset += last + 40;
            begin = Instant::now();
        }
    };
    let watching = async {
        sleep_until(Instant::now() + HEAD_START).await;
        match Watcher::watch(context, 1, &format!("live/{NAME}")).await {
            Ok(mut watcher) => {
                context.note("a viewer has media", 1.0);
                watcher.go_on(context).await
            }
            Err(_) => {
                context.note("a viewer has media", 0.0);
                context.rest().await;
                Ok(())
            }
        }
    };
    tokio::select! {
        ended = publishing => ended,
        ended = watching => ended,
    }
}
