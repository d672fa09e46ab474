//! The built-in clip, published in a loop through the gateway's own RTMP ingest: a stream to see and
//! hear with nothing else installed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use distributary_media::flv::{FlvFileError, FlvReader, FlvTag, TagKind};
use distributary_rtmp::client::{self, ClientError, StreamUrl};
use distributary_rtmp::{FlashProgram, Swf};
use tokio::time::Instant;

/// Made by `cargo xtask demo-clip`.
const CLIP: &[u8] = include_bytes!("../assets/demo.flv");

/// Length of the clip: 336 pictures at 30 per second, and 525 blocks of 1024 samples at 48 kHz. One
/// round follows another without a seam in the timestamps.
const CLIP_MILLIS: u32 = 11_200;

/// Pause before the next attempt when the ingest does not take the stream.
const RETRY: Duration = Duration::from_secs(2);

const APP: &str = "live";
const STREAM: &str = "demo";

/// Publishes the clip as `live/demo` to the gateway's RTMP address until it is dropped. `key` is what the
/// gateway lets in from itself, `swf` what it makes its clients prove.
pub async fn run(rtmp: SocketAddr, key: String, swf: Option<Swf>) {
    let address = reachable(rtmp);
    let stream = format!("{STREAM}?key={key}");
    loop {
        let error = match tags() {
            Ok(tags) => publish(address, &stream, swf, &tags).await,
            Err(error) => {
                tracing::error!(%error, "the built-in clip cannot be read");
                return;
            }
        };
        tracing::warn!(%error, "the demo is not published; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Publishes round after round, each tag at its time. Returns why that ended.
async fn publish(
    address: SocketAddr,
    stream: &str,
    swf: Option<Swf>,
    tags: &[FlvTag],
) -> ClientError {
    let url = match StreamUrl::new(&address.to_string(), APP, stream) {
        Ok(url) if swf.is_some() => {
            let untold = String::new();
            url.as_flash(FlashProgram { url: untold, swf })
        }
        Ok(url) => url,
        Err(error) => return error.into(),
    };
    let mut publisher = match client::publish_to(&url).await {
        Ok(publisher) => publisher,
        Err(error) => return error,
    };
    let start = Instant::now();
    let mut rounds = 0u64;
    loop {
        for tag in tags {
            let millis = rounds * u64::from(CLIP_MILLIS) + u64::from(tag.timestamp_millis);
            tokio::time::sleep_until(start + Duration::from_millis(millis)).await;
            // RTMP counts modulo 2^32.
            let (timestamp, body) = (millis as u32, tag.body.clone());
            let sent = match tag.kind {
                TagKind::Video => publisher.send_video(timestamp, body).await,
                TagKind::Audio => publisher.send_audio(timestamp, body).await,
                TagKind::Script => Ok(()),
            };
            if let Err(error) = sent {
                return error;
            }
        }
        rounds += 1;
    }
}

fn tags() -> Result<Vec<FlvTag>, FlvFileError> {
    FlvReader::new(Bytes::from_static(CLIP))?.collect()
}

/// An address under which the ingest is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_as_long_as_the_loop_takes_it_to_be() {
        let tags = tags().unwrap();
        let last = |kind: TagKind| {
            let times = tags.iter().filter(|tag| tag.kind == kind);
            times.map(|tag| tag.timestamp_millis).max().unwrap()
        };
        // The last picture is shown for 33 ms, the last block is heard for 21 ms.
        let clip = CLIP_MILLIS;
        assert!(
            (clip - 35..clip).contains(&last(TagKind::Video)),
            "{}",
            last(TagKind::Video)
        );
        assert!(
            (clip - 23..clip).contains(&last(TagKind::Audio)),
            "{}",
            last(TagKind::Audio)
        );
        assert!(tags.is_sorted_by_key(|tag| tag.timestamp_millis));
    }

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1935"), "127.0.0.1:1935");
        assert_eq!(reached("[::]:1935"), "[::1]:1935");
        assert_eq!(reached("192.0.2.1:1935"), "192.0.2.1:1935");
    }
}
