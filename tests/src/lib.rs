//! End-to-end behavior of the gateway, with real clients.
//!
//! The tests in `tests/` start the real gateway, publish to it with ffmpeg and watch it with
//! headless Chromium. This library starts and stops those programs:
//!
//! * [`gateway`]: the gateway, on ports that the system chooses.
//! * [`live`]: a gateway with a live stream.
//! * [`ffmpeg`]: a clip with the frame number in its frame, and its publisher.
//! * [`flv`]: clips in which a track begins late or ends early.
//! * [`publishers`]: everything else that publishes, and [`origin`]: another RTMP server.
//! * [`browser`]: Chromium, and [`report`]: the state of the videos that it plays.
//! * [`firefox`] and [`players`]: other players.
//! * [`page`]: a page of another origin that watches by WHEP.
//! * [`helm`]: the Helm chart.
//! * [`client`]: plain HTTP requests, as bytes on a TCP connection.
//! * [`process`] and [`wait`]: child processes, and waiting for events.
//! * [`machine`]: network namespaces, for measurements.
//!
//! Nothing sleeps for a fixed time, and nothing is asserted about durations: a test polls for an
//! event until [`wait::TIMEOUT`]. The system chooses all ports.

pub mod browser;
pub mod client;
pub mod ffmpeg;
pub mod firefox;
pub mod flv;
pub mod gateway;
pub mod helm;
pub mod live;
pub mod machine;
pub mod origin;
pub mod page;
pub mod players;
pub mod process;
pub mod publishers;
pub mod report;
pub mod wait;
