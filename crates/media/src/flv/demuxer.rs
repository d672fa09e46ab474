//! Demuxes tag bodies to tracks and frames.
//!
//! * [`FlvDemuxer`]: the demuxer.
//! * `audio_demuxer`: the demuxer of one audio track.
//! * `video_demuxer`: the demuxer of one video track; `video_state`: the state of the track.
//! * `join`: joins the slices of an access unit that arrive in separate tags.
//! * `events`: [`FlvEvent`], the output.

mod audio_demuxer;
mod events;
mod join;
mod tagged_frame;
#[cfg(test)]
mod tests;
mod video_demuxer;
mod video_state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::audio::{self, AudioTag};
use super::enhanced::{self, ExPacket, ExTag};
use super::error::FlvError;
use super::tag_kind::TagKind;
use super::video::{self, VideoTag};
use crate::MediaTime;
use audio_demuxer::AudioDemuxer;
use video_demuxer::VideoDemuxer;

pub use events::{FlvEvent, FlvEvents, OtherTrack};

/// Maximum size of a sequence header, in bytes: more than a record with parameter sets of every id
/// has in practice. The track keeps it as long as it lasts.
const MAX_CONFIGURATION: usize = 64 << 10;

/// Maximum tracks in one tag: more than the encoders of OBS. Each costs time and memory, and four bytes
/// are enough for one.
const MAX_TRACKS: usize = 16;

/// Maximum number of further video tracks that are used: the encoders of OBS. Others are reported.
pub const MAX_FURTHER_VIDEO: usize = 9;

/// Demuxes the bodies of FLV tags, which are the payloads of RTMP's audio and video messages.
///
/// NAL units and audio frames are slices of the body; they are copied only if they are a small
/// part of it, since a slice keeps the whole body in memory. Video frames are ready for WebRTC, by
/// the rules of [`h264::AccessUnitFilter`](crate::h264::AccessUnitFilter),
/// [`h265::AccessUnitFilter`](crate::h265::AccessUnitFilter) and
/// [`TemporalUnitFilter`](crate::av1::TemporalUnitFilter).
///
/// A tag carries a whole access unit. Some encoders send each slice in a separate tag, all with one
/// timestamp: once that is detected (see [`FlvEvent::SlicesJoined`]), slices are joined into access
/// units. An access unit is then complete when the next one starts, so it is returned one video tag
/// later. The access unit at which it is detected is incomplete: its first tag was already
/// returned, and the others are dropped. A demuxer for [live](FlvDemuxer::live) publishers
/// therefore holds the first access unit until it is known how they send them.
///
/// ```
/// use bytes::Bytes;
/// use distributary_media::flv::{FlvDemuxer, FlvEvent};
/// use distributary_media::MediaTime;
///
/// let mut demuxer = FlvDemuxer::new();
/// let body = Bytes::from_static(&[0xaf, 0, 0x11, 0x90]);
/// for event in demuxer.handle_audio(MediaTime::ZERO, body)? {
///     assert!(matches!(event, FlvEvent::AudioTrack(track) if track.sample_rate == 48_000));
/// }
/// # Ok::<(), distributary_media::flv::FlvError>(())
/// ```
#[derive(Debug, Default)]
pub struct FlvDemuxer {
    video: VideoDemuxer,
    /// The further video tracks of a multitrack publisher, by their number.
    further: BTreeMap<u8, VideoDemuxer>,
    /// True for a publisher that may send the slices of an access unit in separate tags.
    is_live: bool,
    audio: AudioDemuxer,
    /// The other tracks of a multitrack publisher that were reported.
    others: BTreeSet<(TagKind, u8)>,
}

/// The events of a tag for one further video track, by its number.
pub type FurtherVideo = (u8, Result<FlvEvents, FlvError>);

impl FlvDemuxer {
    /// Returns a demuxer without tracks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a demuxer for a publisher that may send the slices of an access unit in separate
    /// tags. It holds the first access unit until the next video tag. Call [`flush`](Self::flush)
    /// when no video tag arrives for a while, and at the end.
    pub fn live() -> Self {
        Self {
            video: VideoDemuxer::live(),
            is_live: true,
            ..Self::default()
        }
    }

    /// Returns whether an access unit is held that may be complete.
    pub fn is_holding(&self) -> bool {
        self.video.is_holding()
    }

    /// Returns the number of tags so far that have begun or extended a held access unit. A tag that
    /// leaves it unchanged says nothing about when the held access unit is complete.
    pub fn held_tags(&self) -> u64 {
        self.video.held_tags()
    }

    /// Returns the access unit that is held, as far as it has arrived: its later slices are
    /// dropped.
    ///
    /// # Errors
    /// When the access unit cannot be used.
    pub fn flush(&mut self) -> Result<FlvEvents, FlvError> {
        self.video.flush()
    }

    /// Returns the further tracks of which an access unit is held, each with its number of tags as
    /// [`held_tags`](Self::held_tags) counts them.
    pub fn holding_further(&self) -> impl Iterator<Item = (u8, u64)> {
        let holding = self.further.iter().filter(|(_, track)| track.is_holding());
        holding.map(|(number, track)| (*number, track.held_tags()))
    }

    /// Returns the access unit of a further track that is held, as far as it has arrived; `None` if
    /// there is no such track.
    pub fn flush_further(&mut self, number: u8) -> Option<FurtherVideo> {
        let track = self.further.get_mut(&number)?;
        Some((number, track.flush()))
    }

    /// Demuxes the body of a video tag. A sequence header that changes nothing, the end of a
    /// sequence and tags without a frame return no event.
    ///
    /// # Errors
    /// When the tag cannot be used. Later tags can be, so the caller may skip a few; see
    /// [`FlvError::UnsupportedVideoCodec`] for errors of the whole track.
    pub fn handle_video(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let held = body.len();
        if !video::is_enhanced(&body) {
            let tag = VideoTag::parse(body)?;
            return self.video.handle(timestamp, tag, held);
        }
        if video::is_command(&body) {
            return Ok(FlvEvents::default());
        }
        let (timestamp, packets) = packets(TagKind::Video, timestamp, body)?;
        self.main_and_others(timestamp, packets, held)
    }

    /// Demuxes the body of a video tag as [`handle_video`](Self::handle_video) does, and also the
    /// further video tracks of a multitrack publisher, up to [`MAX_FURTHER_VIDEO`] of them. The
    /// events of each come in `further`, and an error of one does not affect the others.
    ///
    /// # Errors
    /// As [`handle_video`](Self::handle_video), for track 0.
    pub fn handle_video_tracks(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
        further: &mut Vec<FurtherVideo>,
    ) -> Result<FlvEvents, FlvError> {
        if !video::is_enhanced(&body) || video::is_command(&body) {
            return self.handle_video(timestamp, body);
        }
        let held = body.len();
        let (timestamp, packets) = packets(TagKind::Video, timestamp, body)?;
        let (used, rest) = packets
            .into_iter()
            .partition::<Vec<_>, _>(|packet| packet.track > 0 && self.accepts(packet));
        for packet in used {
            let track = packet.track;
            let is_live = self.is_live;
            let demuxer = self.further.entry(track).or_insert_with(|| {
                if is_live {
                    VideoDemuxer::live()
                } else {
                    VideoDemuxer::default()
                }
            });
            let tag = VideoTag::from_enhanced(packet);
            let events = tag.and_then(|tag| demuxer.handle(timestamp, tag, held));
            further.push((track, events));
        }
        self.main_and_others(timestamp, rest, held)
    }

    /// Returns whether a packet's track is a further video track that is or can be used.
    fn accepts(&self, packet: &ExPacket) -> bool {
        let begins = packet.packet_type == enhanced::SEQUENCE_START;
        self.further.contains_key(&packet.track)
            || (begins && self.further.len() < MAX_FURTHER_VIDEO)
    }

    /// Demuxes the video of track 0, and reports the tracks that are not used.
    fn main_and_others(
        &mut self,
        timestamp: MediaTime,
        packets: Vec<ExPacket>,
        held: usize,
    ) -> Result<FlvEvents, FlvError> {
        let (main, others) = self.sort_out(TagKind::Video, packets);
        let mut events = match main {
            Some(packet) => {
                let tag = VideoTag::from_enhanced(packet)?;
                self.video.handle(timestamp, tag, held)?
            }
            None => FlvEvents::default(),
        };
        events.extend(others);
        Ok(events)
    }

    /// Demuxes the body of an audio tag. A sequence header that changes nothing returns no event.
    ///
    /// # Errors
    /// As [`handle_video`](Self::handle_video).
    pub fn handle_audio(
        &mut self,
        timestamp: MediaTime,
        body: Bytes,
    ) -> Result<FlvEvents, FlvError> {
        let held = body.len();
        let mut events = self.read_audio(timestamp, body)?;
        events.compact(held);
        Ok(events)
    }

    fn read_audio(&mut self, timestamp: MediaTime, body: Bytes) -> Result<FlvEvents, FlvError> {
        if !audio::is_enhanced(&body) {
            return self.audio.handle(timestamp, AudioTag::parse(body)?);
        }
        let (timestamp, packets) = packets(TagKind::Audio, timestamp, body)?;
        let (main, others) = self.sort_out(TagKind::Audio, packets);
        let mut events = match main {
            Some(packet) => self
                .audio
                .handle(timestamp, AudioTag::from_enhanced(packet)?)?,
            None => FlvEvents::default(),
        };
        events.extend(others);
        Ok(events)
    }

    /// Returns the packet of track 0, and the tracks that were not reported yet.
    fn sort_out(
        &mut self,
        kind: TagKind,
        packets: Vec<ExPacket>,
    ) -> (Option<ExPacket>, Vec<FlvEvent>) {
        let (mut main, mut others) = (None, Vec::new());
        for packet in packets {
            if packet.track == 0 {
                main = Some(packet);
            } else if packet.packet_type == enhanced::SEQUENCE_START
                && self.others.insert((kind, packet.track))
            {
                others.push(FlvEvent::OtherTrack(OtherTrack {
                    kind,
                    id: packet.track,
                    codec: enhanced::codec_name(packet.codec),
                }));
            }
        }
        (main, others)
    }
}

/// Parses an enhanced tag. Returns its time and its packets.
fn packets(
    kind: TagKind,
    timestamp: MediaTime,
    body: Bytes,
) -> Result<(MediaTime, Vec<ExPacket>), FlvError> {
    let tag = ExTag::parse(kind, body)?;
    let timestamp = timestamp + Duration::from_nanos(tag.nanos.into());
    let packets: Result<Vec<ExPacket>, FlvError> = tag.take(MAX_TRACKS + 1).collect();
    let packets = packets?;
    if packets.len() > MAX_TRACKS {
        let (tag, limit) = (kind, MAX_TRACKS);
        return Err(FlvError::TooManyTracks { tag, limit });
    }
    Ok((timestamp, packets))
}

pub(super) fn check_configuration(tag: TagKind, data: &[u8]) -> Result<(), FlvError> {
    check_len(tag, "sequence header", data.len(), MAX_CONFIGURATION)
}

fn check_len(
    tag: TagKind,
    structure: &'static str,
    len: usize,
    limit: usize,
) -> Result<(), FlvError> {
    if len > limit {
        return Err(FlvError::TooLarge {
            tag,
            structure,
            len,
            limit,
        });
    }
    Ok(())
}
