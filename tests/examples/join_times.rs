//! Measures how long a viewer in Chromium waits for the first frame and for the live edge, for
//! several keyframe intervals.
//!
//!     cargo run -p distributary-tests --example join_times -- [JOINS]

use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use serde::Deserialize;

/// Joins `url` once and measures for four seconds.
const JOIN: &str = r"(async (url) => {
  await new Promise((go) => setTimeout(go, 1000 + 4000 * Math.random()));
  const began = performance.now();
  const name = `v${Math.round(began)}`;
  const times = [];
  const look = (video) => {
    const next = (now, frame) => {
      times.push([frame.presentationTime, frame.rtpTimestamp / 90, frame.captureTime]);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  new MutationObserver((_, observer) => {
    const video = document.getElementById(name);
    if (video) { observer.disconnect(); look(video); }
  }).observe(document.body, { childList: true });
  await watch(name, url);
  const answered = performance.now();
  await new Promise((go) => setTimeout(go, 4000));
  const stats = [...(await viewers[name].pc.getStats()).values()];
  const video = stats.find((one) => one.type === 'inbound-rtp' && one.kind === 'video');
  await leave(name);
  viewers[name].pc.close();
  viewers[name].video.remove();
  // Capture times are known for later frames only, but all timestamps have the same origin.
  const [, timestamp, captured] = times.at(-1);
  const age = ([shown, stamp]) => shown - (stamp - timestamp + captured);
  const late = times.findLastIndex((time) => !(age(time) < 150));
  const gaps = times.slice(1).map(([time], at) => time - times[at][0]);
  return {
    answer: answered - began,
    first: times[0][0] - answered,
    live: (times[late + 1]?.[0] ?? Infinity) - answered,
    gap: Math.max(...gaps),
    age: age(times.at(-1)),
    oldest: age(times[0]),
    freezes: video.freezeCount,
    lost: video.packetsLost,
  };
})";

/// One join; times in milliseconds since the request's response.
#[derive(Debug, Deserialize)]
struct Join {
    /// From the request to the answer.
    answer: f64,
    /// Until the first frame was shown.
    first: f64,
    /// Until all frames were less than 150 ms old; `None` if that never happened.
    live: Option<f64>,
    /// The longest time without a new frame.
    gap: f64,
    /// Age of the first frame, and of the last.
    oldest: f64,
    age: f64,
    freezes: u64,
    lost: i64,
}

#[tokio::main]
async fn main() {
    let joins = std::env::args()
        .nth(1)
        .map_or(8, |count| count.parse().expect("a number of joins"));
    println!(
        "| stream | keyframe every | first frame, median / worst | at the live edge | longest gap \
         | age of the first frame | at the end | freezes, packets lost |\n|---|---|---|---|---|---|---|---|"
    );
    for (width, height) in [(1280, 720), (1920, 1088)] {
        for seconds in [2, 8, 30] {
            let clip = Clip::new(width, height, seconds * FRAME_RATE, Encoding::InOrder);
            let gateway = Gateway::start();
            let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
            gateway.wait_live("live/test").await;
            let page = WatchPage::open().await;
            let url = gateway.whep_url("live/test");
            let mut all = Vec::new();
            for _ in 0..joins {
                let join: Join = page.browser.evaluate(&format!("{JOIN}('{url}')")).await;
                all.push(join);
            }
            println!("| {height}p | {seconds} s | {}", row(&all));
        }
    }
}

fn row(joins: &[Join]) -> String {
    let spread = |of: &dyn Fn(&Join) -> f64| {
        let mut values: Vec<f64> = joins.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let worst = values.last().copied().unwrap_or(f64::NAN);
        format!("{:.0} / {worst:.0} ms", values[values.len() / 2])
    };
    let freezes: u64 = joins.iter().map(|join| join.freezes).sum();
    let lost: i64 = joins.iter().map(|join| join.lost).sum();
    format!(
        "{} (answer {}) | {} | {} | {} | {} | {freezes}, {lost} |",
        spread(&|join| join.first),
        spread(&|join| join.answer),
        spread(&|join| join.live.unwrap_or(f64::INFINITY)),
        spread(&|join| join.gap),
        spread(&|join| join.oldest),
        spread(&|join| join.age),
    )
}
