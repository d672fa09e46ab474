//! Tracks without usable frames are reported.

use std::io::{self, Write};
use std::sync::Mutex;

use super::*;

/// Its length prefix exceeds the message.
const BROKEN: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 9, 0x41, 0x9a, 0x80];
const MP3: &[u8] = &[0x2f, 0xff];

/// A publisher that sends every 100 ms.
struct Sender {
    ingest: Ingest,
    start: Instant,
    millis: u64,
}

impl Sender {
    fn new() -> Self {
        let (hub, start) = (Hub::new(HubConfig::default()), Instant::now());
        let name = StreamName::parse("live/test").unwrap();
        let ingest = Ingest::new(hub.clone(), hub.publish(&name, start).unwrap(), None, start);
        let (start, millis) = (start, 0);
        let mut sender = Self {
            ingest,
            start,
            millis,
        };
        sender.send(VIDEO_HEADER);
        sender
    }

    fn send(&mut self, body: &'static [u8]) {
        let now = self.start + Duration::from_millis(self.millis);
        let timestamp = MediaTime::from_millis(self.millis as i64);
        let audio = MediaMessage::Audio {
            timestamp,
            body: Bytes::from_static(MP3),
        };
        let video = MediaMessage::Video {
            timestamp,
            body: Bytes::from_static(body),
        };
        for message in [video, audio] {
            self.ingest.handle(message, now).unwrap();
        }
    }

    /// Sends `body` repeatedly for a while. Returns the description of missing video, if it is
    /// missing then.
    fn send_for(&mut self, millis: u64, body: &'static [u8]) -> Option<String> {
        let end = self.millis + millis;
        while self.millis < end {
            self.millis += 100;
            self.send(body);
        }
        let missing = self.ingest.stream().stats().missing_video;
        missing.map(|missing| missing.to_string())
    }
}

#[test]
fn missing_video_is_reported_with_its_reason_until_a_frame_arrives() {
    let mut sender = Sender::new();
    assert_eq!(sender.send_for(4_900, FRAME), None);
    let missing = sender.send_for(200, FRAME).unwrap();
    assert!(missing.contains("without a keyframe"), "{missing}");
    assert!(!missing.contains("MP3"), "not what audio lacks: {missing}");
    assert_eq!(sender.send_for(100, KEYFRAME), None);
    assert_eq!(sender.send_for(10_000, FRAME), None);
    assert_eq!(sender.send_for(4_900, BROKEN), None);
    let missing = sender.send_for(200, BROKEN).unwrap();
    assert!(missing.contains("nothing new"), "{missing}");
    assert!(missing.contains("NAL unit"), "its reason: {missing}");
    assert_eq!(sender.send_for(100, FRAME), None);
}

#[test]
fn missing_audio_is_reported_with_its_reason_until_a_frame_arrives() {
    // ADTS whose header tells of more bytes than there are, and such that fits.
    const TOO_LONG: &[u8] = &[0xaf, 1, 0xff, 0xf1, 0x4c, 0x80, 0x04, 0x1f, 0xfc, 1, 2, 3];
    const WHOLE: &[u8] = &[0xaf, 1, 0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3];
    let start = Instant::now();
    let mut ingest = ingest(start);
    let mut send = |millis: u64, body: &'static [u8]| {
        let message = MediaMessage::Audio {
            timestamp: MediaTime::from_millis(millis as i64),
            body: Bytes::from_static(body),
        };
        let now = start + Duration::from_millis(millis);
        ingest.handle(message, now).unwrap();
        let missing = ingest.stream().stats().missing_audio;
        missing.map(|missing| missing.to_string())
    };
    for time in (0..5_000).step_by(20) {
        assert_eq!(send(time, TOO_LONG), None);
    }
    let missing = send(5_000, TOO_LONG).unwrap();
    assert!(missing.contains("an ADTS frame of 32 bytes"), "{missing}");
    assert_eq!(send(5_020, WHOLE), None);
    assert_eq!(send(5_040, TOO_LONG), None);
}

/// The log, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn missing_video_is_logged_twice_a_minute_at_most() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .finish();
    let mut sender = Sender::new();
    tracing::subscriber::with_default(subscriber, || sender.send_for(64_000, FRAME));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("video arrives without a keyframe"))
        .collect();
    // At 5 s and 35 s.
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("seconds=5"), "{log}");
}
