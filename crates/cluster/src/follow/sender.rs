//! The owner's side, for tests of those that follow it.

use bytes::Bytes;
use distributary_media::Frame;
use distributary_media::test_util::video_frame;

use crate::anchor::Place;
use crate::content::EndReason;
use crate::message::{Header, Kind, Part, encode, encode_frame};
use crate::tracks::TrackSet;

/// The owner's side.
pub(crate) struct Sender {
    pub(crate) epoch: u64,
    /// The number of the next live message.
    pub(crate) live: u64,
    /// The number of the next message of the answer.
    answer: u64,
}

impl Sender {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            live: 0,
            answer: 0,
        }
    }

    /// Returns a frame as it is sent when the clock of the owner shows `at` milliseconds.
    pub(crate) fn part(&self, frame: &Frame, sequence: u64, at: u64) -> Part {
        let header = Header::of_frame(frame, self.epoch, 0);
        decode(&encode_frame(frame, &header, sequence, 1000 * at).remove(0))
    }

    pub(crate) fn live(&mut self, frame: &Frame, at: u64) -> Part {
        self.live += 1;
        self.part(frame, self.live - 1, at)
    }

    /// Returns the live message that ends the stream.
    pub(crate) fn end(&mut self, reason: EndReason) -> Part {
        self.live += 1;
        let header = Header::new(Kind::End, self.epoch);
        decode(&encode(&header, &[&reason.to_body()], self.live - 1, 0).remove(0))
    }

    pub(crate) fn answer(&mut self, frame: &Frame) -> Part {
        self.answer += 1;
        self.part(frame, self.answer - 1, 0)
    }

    /// Returns the message with which an answer begins. Times are in milliseconds.
    pub(crate) fn tracks(&mut self, timeline: u64, present: i64, since: i64) -> Part {
        let nanos = 1_000_000;
        let place = Place {
            timeline,
            present: present * nanos,
            since: Some(since * nanos),
        };
        let body = TrackSet::default().at(place).to_json();
        let header = Header::new(Kind::Tracks, self.epoch);
        self.answer += 1;
        decode(&encode(&header, &[&body], self.answer - 1, 0).remove(0))
    }

    pub(crate) fn joined(&mut self) -> Part {
        let header = Header::new(Kind::Joined, self.epoch);
        let body = self.live.to_be_bytes();
        let message = encode(&header, &[&body], self.answer, 0).remove(0);
        self.answer = 0;
        decode(&message)
    }
}

/// Returns a message of one part as it travels.
pub(crate) fn message(part: &Part) -> Bytes {
    encode(&part.header, &[&part.body], part.sequence, part.clock).remove(0)
}

fn decode(message: &Bytes) -> Part {
    Part::decode(message).unwrap()
}

pub(crate) fn video(millis: i64, keyframe: bool) -> Frame {
    Frame::Video(video_frame(millis, keyframe, 10))
}
