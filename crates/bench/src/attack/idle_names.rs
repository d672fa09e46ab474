//! Names held by publishers that send a few bytes now and then, and no media.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::error::AttackError;
use super::rtmp::RtmpPeer;

/// Number of names: one address may have 1024 connections by default.
const NAMES: usize = 1023;

/// From one sign of life to the next: the gateway ends a publisher after 10 s of silence.
const INTERVAL: Duration = Duration::from_secs(7);

/// An unknown message of no meaning.
const SIGN_OF_LIFE: u8 = 30;

pub(super) async fn run(context: &Context) -> Result<(), AttackError> {
    let mut publishers = Vec::new();
    let begin = Instant::now();
    for number in 0..NAMES {
        // All from one address.
        match RtmpPeer::publish(context, 0, &format!("idle-{number}")).await {
            Ok(publisher) => publishers.push(publisher),
            Err(_) => context.add("names refused", 1.0),
        }
        context.note_max("names granted", publishers.len() as f64);
        if begin.elapsed() >= INTERVAL {
            break;
        }
    }
    let mut next = begin;
    loop {
        next += INTERVAL;
        let mut held = Vec::with_capacity(publishers.len());
        for mut publisher in publishers {
            let payload = Bytes::from_static(&[0; 6]);
            if publisher
                .send(context, SIGN_OF_LIFE, 0, payload)
                .await
                .is_ok()
            {
                held.push(publisher);
            }
        }
        context.note("names held at the end", held.len() as f64);
        publishers = held;
        sleep_until(next.min(Instant::now() + context.remaining())).await;
        publishers.retain(|publisher| publisher.drain(context).is_ok());
        context.note("names held at the end", publishers.len() as f64);
    }
}
