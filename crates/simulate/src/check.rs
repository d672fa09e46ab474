//! The rules for what a viewer gets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::Played;
use crate::content::{ReadFrame, Stamp, is_silence, opus_frames, read_audio, read_video};
use crate::publisher::Record;

/// By how much the distance of two frames may differ from that of their publisher, in
/// milliseconds.
const TOLERANCE: i64 = 2;

/// By how much a viewer whose path delays by up to 120 ms may be behind its publisher, in
/// milliseconds, and still be at the live edge. The gateway skips no frame to be sooner by less.
const LIVE: u64 = 250;

/// The longest time without a frame when a publisher takes over from one that is sending, in
/// milliseconds.
const MAX_GAP: i64 = 300;

/// RTP ticks of an audio frame.
const AUDIO_TICKS: i64 = 960;

/// RTP ticks by which the time between two transcoded audio frames may differ: rounding.
const AUDIO_TOLERANCE: i64 = 1;

/// Time after which what has disturbed the audio of a publisher is heard by all viewers, and after which a
/// change of the publisher is seen that was heard before.
const HEARD: Duration = Duration::from_secs(3);

/// The effects that the path of a session may have had on the media so far.
#[derive(Clone, Copy, Debug)]
pub struct PathSoFar {
    /// Packets before the first one may be missing.
    pub may_lack_first: bool,
    /// It has lost, reordered and held back nothing.
    pub is_clean: bool,
    /// It is a TCP connection that took nothing for a while, so the gateway has skipped media: what
    /// follows has the next sequence number.
    pub may_skip: bool,
}

/// Checks the media of one session: each frame is whole and decodable, none comes twice or out of
/// order, and their times are those of the publisher.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    video: Option<Shown>,
    audio: Option<Heard>,
    /// The audio, if the gateway transcodes it.
    transcoded: Option<TranscodedAudio>,
    /// When the publisher changed.
    publisher_changed: Option<Instant>,
    /// The newest video frame of each publisher.
    newest: BTreeMap<u16, u32>,
    /// The newest audio frame of each publisher.
    newest_audio: BTreeMap<u16, u32>,
    /// Frames cannot be decoded until the next keyframe: packets were lost for good.
    is_broken: bool,
    /// Video frames that could be decoded.
    pub frames: u64,
    /// Audio frames.
    pub audio_frames: u64,
    /// When the last video frame came that could be decoded.
    pub last_frame: Option<Instant>,
    /// When the last audio frame came.
    pub last_audio: Option<Instant>,
}

/// The audio of a session that the gateway transcodes: it is continuous.
#[derive(Clone, Debug, Default)]
struct TranscodedAudio {
    /// The timestamp that the next packet has, and when the last one came.
    next: Option<(i64, Instant)>,
    /// A gap that only a change of the publisher explains, which may be seen later.
    unexplained: Option<(Instant, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    stamp: Stamp,
    timestamp: i64,
    /// It was not behind its publisher when it came.
    is_live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    publisher: u16,
    number: u32,
    timestamp: i64,
}

impl Checker {
    /// Returns a checker for a session that has had no media. `transcodes`: the gateway transcodes its
    /// audio.
    #[must_use]
    pub fn new(transcodes: bool) -> Self {
        Self {
            transcoded: transcodes.then(TranscodedAudio::default),
            ..Self::default()
        }
    }

    /// Checks the next media, which came over `path` at `now`.
    ///
    /// # Errors
    /// Returns the rule that is broken.
    pub fn handle(
        &mut self,
        played: &Played,
        records: &[&Record],
        path: PathSoFar,
        now: Instant,
    ) -> Result<(), String> {
        match played {
            Played::Video {
                units,
                timestamp,
                after_loss,
            } => {
                let Some(frame) = read_video(units) else {
                    return Err(format!("a video frame is damaged: {} units", units.len()));
                };
                self.is_broken |= if self.video.is_none() {
                    path.may_lack_first
                } else {
                    *after_loss
                };
                self.handle_video(frame, *timestamp, records, path, now)
            }
            Played::Audio {
                packet,
                timestamp,
                after_loss,
            } => {
                let after_loss = *after_loss || path.may_skip;
                if self.transcoded.is_some() {
                    return self.handle_transcoded(packet, *timestamp, after_loss, records, now);
                }
                let Some(frames) = read_audio(packet) else {
                    return Err(format!("an audio frame is damaged: {packet:02x?}"));
                };
                let frames = frames.into_iter().zip(0..);
                for ((publisher, number), place) in frames {
                    let heard = Heard {
                        publisher,
                        number,
                        timestamp: timestamp + place * AUDIO_TICKS,
                    };
                    let after_loss = after_loss && place == 0;
                    self.handle_audio(heard, after_loss, records, now)?;
                }
                Ok(())
            }
        }
    }

    /// Checks the end of the session at `now`: a gap in the audio has a reason, or may still get one.
    ///
    /// # Errors
    /// Returns the rule that is broken.
    pub fn finish(&mut self, records: &[&Record], now: Instant) -> Result<(), String> {
        let (changed, shown) = (self.publisher_changed, self.video);
        let unexplained = self
            .transcoded
            .as_mut()
            .and_then(|audio| audio.unexplained.take());
        let Some((at, reason)) = unexplained.filter(|(at, _)| !explains(changed, *at)) else {
            return Ok(());
        };
        // The video of the other publisher may come later than its audio.
        let is_another =
            |number: usize| shown.is_none_or(|shown| usize::from(shown.stamp.publisher) != number);
        let since = at.checked_sub(HEARD).unwrap_or(at);
        let mut others = records.iter().enumerate();
        let may_have_changed =
            others.any(|(number, record)| is_another(number) && record.has_sent_since(since));
        let received = self.last_frame.max(self.last_audio);
        if may_have_changed && received.is_none_or(|received| received < at + HEARD) {
            return Ok(());
        }
        let ago = now.saturating_duration_since(at).as_millis();
        Err(format!("{reason} {ago} ms before the end"))
    }

    fn handle_video(
        &mut self,
        frame: ReadFrame,
        timestamp: i64,
        records: &[&Record],
        path: PathSoFar,
        now: Instant,
    ) -> Result<(), String> {
        let ReadFrame {
            stamp,
            keyframe,
            has_parameter_sets,
        } = frame;
        let behind =
            record(records, stamp.publisher).and_then(|record| record.behind(stamp.number));
        let shown = Shown {
            stamp,
            timestamp,
            is_live: behind.is_some_and(|behind| behind <= LIVE),
        };
        let newest = self.newest.insert(stamp.publisher, stamp.number);
        if newest.is_some_and(|newest| newest >= stamp.number) {
            return Err(format!(
                "a video frame comes again: {:?}, then {shown:?}",
                self.video
            ));
        }
        if let Some(last) = self.video {
            let is_known = stamp.publisher == last.stamp.publisher;
            if !is_known {
                self.publisher_changed = Some(now);
            }
            if timestamp <= last.timestamp {
                return Err(format!("video time goes back: {last:?}, then {shown:?}"));
            }
            if !is_known && path.is_clean && last.is_live && last.stamp.track == stamp.track {
                let from = record(records, last.stamp.publisher);
                let sent = record(records, stamp.publisher);
                let sent = sent.and_then(|record| record.sent_at(stamp.number));
                let was_sending = from
                    .zip(sent)
                    .is_some_and(|(from, at)| from.was_sending(at));
                let gap = (timestamp - last.timestamp) / 90;
                if was_sending && gap > MAX_GAP {
                    return Err(format!(
                        "a takeover from a publisher that sends has a gap of {gap} ms: {last:?}, then {shown:?}"
                    ));
                }
            }
            if is_known {
                let record = record(records, stamp.publisher);
                let (from, to) = (last.stamp.number, stamp.number);
                let expected = record.and_then(|record| distance(&record.video, from, to));
                let got = (timestamp - last.timestamp) / 90;
                if expected.is_none_or(|expected| (got - expected).abs() > TOLERANCE) {
                    return Err(format!(
                        "video times are {got} ms apart instead of {expected:?}: {last:?}, then {shown:?}"
                    ));
                }
            }
        }
        if keyframe {
            // Where packets were lost, the parameter sets may have been among them.
            if !has_parameter_sets && !self.is_broken {
                return Err(format!("a keyframe has no parameter sets: {shown:?}"));
            }
            self.is_broken &= !has_parameter_sets;
            if let Some(last) = self.video.filter(|last| last.is_live && path.is_clean)
                && (last.stamp.publisher, last.stamp.track) == (stamp.publisher, stamp.track)
                && last.stamp.number + 1 != stamp.number
            {
                return Err(format!(
                    "frames are skipped at the live edge over a path that loses nothing: {last:?}, then {shown:?}"
                ));
            }
        } else if !self.is_broken {
            let reference = self.video.map(|last| last.stamp);
            let expected = stamp
                .number
                .checked_sub(1)
                .map(|number| Stamp { number, ..stamp });
            if reference.is_none() || reference != expected {
                return Err(format!(
                    "a video frame refers to one that was not sent: {reference:?}, then {shown:?}"
                ));
            }
        }
        self.video = Some(shown);
        if !self.is_broken {
            self.frames += 1;
            self.last_frame = Some(now);
        }
        Ok(())
    }

    fn handle_audio(
        &mut self,
        heard: Heard,
        after_loss: bool,
        records: &[&Record],
        now: Instant,
    ) -> Result<(), String> {
        let newest = self.newest_audio.insert(heard.publisher, heard.number);
        if newest.is_some_and(|newest| newest >= heard.number) {
            return Err(format!(
                "an audio frame comes again: {:?}, then {heard:?}",
                self.audio
            ));
        }
        if let Some(last) = self.audio {
            if heard.timestamp <= last.timestamp {
                return Err(format!("audio time goes back: {last:?}, then {heard:?}"));
            }
            if heard.publisher == last.publisher {
                let record = record(records, heard.publisher);
                let is_late = |number| record.is_some_and(|record| record.is_late(number));
                let are_late = (last.number + 1..heard.number).all(is_late);
                if !are_late && !after_loss {
                    return Err(format!(
                        "audio frames are missing: {last:?}, then {heard:?}"
                    ));
                }
                let expected =
                    record.and_then(|record| distance(&record.audio, last.number, heard.number));
                let got = (heard.timestamp - last.timestamp) / 48;
                if expected.is_none_or(|expected| (got - expected).abs() > TOLERANCE) {
                    return Err(format!(
                        "audio times are {got} ms apart instead of {expected:?}: {last:?}, then {heard:?}"
                    ));
                }
            }
        }
        self.audio = Some(heard);
        self.audio_frames += 1;
        self.last_audio = Some(now);
        Ok(())
    }

    fn handle_transcoded(
        &mut self,
        packet: &[u8],
        timestamp: i64,
        after_loss: bool,
        records: &[&Record],
        now: Instant,
    ) -> Result<(), String> {
        let Some(frames) = opus_frames(packet) else {
            return Err(format!("an audio packet is damaged: {packet:02x?}"));
        };
        self.audio_frames += frames as u64;
        self.last_audio = Some(now);
        let changed = self.publisher_changed;
        // The decoder of another publisher begins with silence.
        let recently = now.checked_sub(HEARD).unwrap_or(now);
        let mut disturbed = records.iter();
        if is_silence(packet) && !disturbed.any(|record| record.has_disturbed_audio(recently)) {
            return Err(format!("an audio packet is silence: {packet:02x?}"));
        }
        let Some(audio) = &mut self.transcoded else {
            return Ok(());
        };
        let end = timestamp + frames * AUDIO_TICKS;
        let Some((expected, last)) = audio.next.replace((end, now)) else {
            return Ok(());
        };
        let gap = timestamp - expected;
        if gap < -AUDIO_TOLERANCE {
            return Err(format!("audio time goes back by {} ms", -gap / 48));
        }
        let since = last.checked_sub(HEARD).unwrap_or(last);
        let is_disturbed = records
            .iter()
            .any(|record| record.has_disturbed_audio(since));
        let is_explained = |at| explains(changed, at);
        if gap > AUDIO_TOLERANCE && !after_loss && !is_disturbed && !is_explained(now) {
            let reason = format!("the audio has a gap of {} ms", gap / 48);
            audio.unexplained.get_or_insert((now, reason));
        }
        match audio.unexplained.take() {
            Some((at, _)) if is_explained(at) => {}
            Some((at, reason)) if now >= at + HEARD => {
                let ago = now.duration_since(at).as_millis();
                return Err(format!("{reason} {ago} ms ago"));
            }
            waits => audio.unexplained = waits,
        }
        Ok(())
    }
}

/// Returns whether a change of the publisher explains a gap in the audio at this time.
fn explains(changed: Option<Instant>, gap: Instant) -> bool {
    changed.is_some_and(|changed| changed + HEARD >= gap && gap + HEARD >= changed)
}

fn record<'a>(records: &[&'a Record], publisher: u16) -> Option<&'a Record> {
    records.get(usize::from(publisher)).copied()
}

/// Returns the time between two frames of a publisher in milliseconds.
fn distance(times: &[u64], from: u32, to: u32) -> Option<i64> {
    let (from, to) = (times.get(from as usize)?, times.get(to as usize)?);
    to.checked_sub(*from).map(|distance| distance as i64)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use crate::content::audio_packet;

    const PATH: PathSoFar = PathSoFar {
        may_lack_first: false,
        is_clean: true,
        may_skip: false,
    };

    /// Returns a checker that was sent audio with a gap of 200 ms at `now`.
    fn with_gap(records: &[&Record], now: Instant) -> Checker {
        let mut checker = Checker::new(true);
        for place in [0, 1, 12] {
            let played = Played::Audio {
                packet: vec![0; 100],
                timestamp: AUDIO_TICKS * place,
                after_loss: false,
            };
            checker.handle(&played, records, PATH, now).unwrap();
        }
        checker
    }

    #[test]
    fn silence_is_heard_only_after_the_audio_of_a_publisher_has_begun_anew() {
        let now = Instant::now();
        let silence = Played::Audio {
            packet: vec![0xfc, 0xff, 0xfe],
            timestamp: 0,
            after_loss: false,
        };
        let mut record = Record::default();
        let heard = |record: &Record| Checker::new(true).handle(&silence, &[record], PATH, now);
        assert!(heard(&record).is_err());
        record.audio_disturbed.push(now - HEARD / 2);
        assert_eq!(heard(&record), Ok(()));
    }

    #[test]
    fn gap_in_the_audio_is_explained_by_a_connection_that_took_nothing() {
        let mut record = Record::default();
        record.audio = vec![0, 20, 40];
        let now = Instant::now();
        let heard = |path| {
            let mut checker = Checker::new(false);
            [0, 2].into_iter().try_for_each(|number| {
                let played = Played::Audio {
                    packet: audio_packet(0, number).to_vec(),
                    timestamp: AUDIO_TICKS * i64::from(number),
                    after_loss: false,
                };
                checker.handle(&played, &[&record], path, now)
            })
        };
        assert!(heard(PATH).is_err());
        let may_skip = PathSoFar {
            may_skip: true,
            ..PATH
        };
        assert_eq!(heard(may_skip), Ok(()));
    }

    #[test]
    fn session_that_ends_with_an_unexplained_gap_in_its_audio_fails() {
        let now = Instant::now();
        let silent = Record::default();
        let end = with_gap(&[&silent], now).finish(&[&silent], now);
        assert!(end.is_err_and(|rule| rule.contains("gap of 200 ms")));
        assert_eq!(Checker::new(true).finish(&[&silent], now), Ok(()));
    }

    #[test]
    fn publisher_that_may_have_taken_over_explains_a_gap_for_a_while() {
        let now = Instant::now();
        let mut other = Record::default();
        other.began = Some(now);
        other.video.push(0);
        let end = |after| {
            let mut checker = with_gap(&[&other], now);
            checker.last_frame = Some(now + after);
            checker.finish(&[&other], now + 2 * HEARD)
        };
        assert_eq!(end(HEARD / 2), Ok(()));
        assert!(end(HEARD).is_err(), "it would have been seen");
        // A viewer that gets nothing more sees no change.
        let mut cut_off = with_gap(&[&other], now);
        assert_eq!(cut_off.finish(&[&other], now + 2 * HEARD), Ok(()));
    }
}
