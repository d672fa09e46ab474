//! Targets for publishers' input: FLV tags, coded video and audio.

use bytes::Bytes;
use distributary_media::aac::AudioSpecificConfig;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind, muxer};
use distributary_media::h264::pps::PpsIds;
use distributary_media::h264::slice::SliceHead;
use distributary_media::h264::vui;
use distributary_media::h264::{AvcDecoderConfigurationRecord, Sps};
use distributary_media::{
    AudioCodec, AudioError, AudioFrame, AudioTrack, Frame, MediaTime, OpusConfig, OpusTranscoder,
    VideoFrame,
};
use distributary_webrtc::log::{Log, LogLimits, MAX_PAYLOAD};
use distributary_webrtc::rtp::packetize;

use crate::{ORIGIN, pieces};

/// Largest input that is worth a file of media.
const MAX_FILE: usize = 1 << 20;

/// The bodies of audio tags, each with its length in two bytes before it.
pub fn flv_audio(data: &[u8]) {
    flv_tags(data, |demuxer, body| {
        let events = demuxer.handle_audio(MediaTime::ZERO, body);
        events.into_iter().flatten().collect()
    });
}

/// The bodies of video tags, each with its length in two bytes before it.
pub fn flv_video(data: &[u8]) {
    flv_tags(data, |demuxer, body| {
        let mut further = Vec::new();
        let main = demuxer.handle_video_tracks(MediaTime::ZERO, body, &mut further);
        let further = further.into_iter().map(|(_, events)| events);
        let all = std::iter::once(main).chain(further);
        all.flatten().flatten().collect()
    });
}

/// Feeds tags to a demuxer, and its output to the muxer and the payload formats.
fn flv_tags(data: &[u8], handle: impl Fn(&mut FlvDemuxer, Bytes) -> Vec<FlvEvent>) {
    let mut demuxer = FlvDemuxer::new();
    let mut audio = None;
    for body in pieces(data) {
        for event in handle(&mut demuxer, Bytes::copy_from_slice(body)) {
            match event {
                FlvEvent::VideoTrack(track) => drop(muxer::video_header(&track)),
                FlvEvent::AudioTrack(track) => {
                    muxer::audio_header(&track);
                    audio = Some(track);
                }
                FlvEvent::Frame(Frame::Video(frame)) => {
                    assert!(!frame.units.is_empty());
                    assert!(frame.units.iter().all(|unit| !unit.is_empty()));
                    muxer::video_frame(&frame);
                    let VideoFrame {
                        codec,
                        units,
                        keyframe,
                        ..
                    } = &frame;
                    packetize(*codec, units, *keyframe, MAX_PAYLOAD, |payload| {
                        assert!((1..=MAX_PAYLOAD).contains(&payload.len()), "{payload:?}");
                    });
                }
                FlvEvent::Frame(Frame::Audio(frame)) => {
                    let track = audio.as_ref().expect("a track comes before its frames");
                    muxer::audio_frame(&frame, track);
                }
                FlvEvent::OtherTrack(_) | FlvEvent::SlicesJoined => {}
            }
        }
    }
}

/// An FLV file, from its header to the payloads of RTP packets: each of them fits a datagram.
pub fn flv_file(data: &[u8]) {
    if data.len() > MAX_FILE {
        return;
    }
    let Ok(tags) = FlvReader::new(Bytes::copy_from_slice(data)) else {
        return;
    };
    let mut demuxer = FlvDemuxer::new();
    let mut video = Log::new(90_000, LogLimits::default());
    let mut checked = 0;
    for tag in tags.map_while(Result::ok) {
        let time = MediaTime::from_millis(i64::from(tag.timestamp_millis));
        let events = match tag.kind {
            TagKind::Video => demuxer.handle_video(time, tag.body),
            TagKind::Audio => demuxer.handle_audio(time, tag.body),
            TagKind::Script => continue,
        };
        for event in events.into_iter().flatten() {
            if let FlvEvent::Frame(Frame::Video(frame)) = event {
                video.push_video(&frame, *ORIGIN);
            }
        }
        while checked < video.head() {
            if let Some(packet) = video.get(checked) {
                let len = packet.payload.len();
                assert!((1..=MAX_PAYLOAD).contains(&len), "a payload of {len} bytes");
            }
            checked += 1;
        }
    }
}

/// A sequence parameter set, and the same bytes as picture parameter set and as slice.
pub fn parameter_sets(data: &[u8]) {
    if let Ok(sps) = Sps::parse(data) {
        assert!(sps.width > 0 && sps.height > 0, "{sps:?}");
        assert_eq!(Some(&sps.profile_level_id()[0]), data.get(1));
    }
    let _ = PpsIds::parse(data);
    let _ = SliceHead::parse(data);
    if let Some(other) = vui::with_reorder_frames(data, 2) {
        let restriction = vui::BitstreamRestriction::of_sps(&other).expect("it was written");
        assert_eq!(restriction.max_num_reorder_frames, 2);
    }
}

/// `AVCDecoderConfigurationRecord`: its parameter sets are slices of the input.
pub fn avc_configuration(data: &[u8]) {
    if let Ok(record) = AvcDecoderConfigurationRecord::parse(&Bytes::copy_from_slice(data)) {
        let sets = record.sps.iter().chain(&record.pps);
        assert!(sets.map(Bytes::len).sum::<usize>() <= data.len());
    }
}

/// An `AudioSpecificConfig` and access units, each with its length in two bytes before it: the
/// decoder refuses broken ones, and the packets of what comes out follow each other.
pub fn aac_access_units(data: &[u8]) {
    let mut pieces = pieces(data);
    let config = pieces.next().unwrap_or_default();
    transcode(&track(AudioCodec::Aac, config), pieces);
}

/// Frames of MP3, each with its length in two bytes before it, in the same way.
pub fn mp3_frames(data: &[u8]) {
    transcode(&track(AudioCodec::Mp3, &[]), pieces(data));
}

/// Samples of G.711 in frames of any length, in the same way. The first byte is the law and the
/// number of channels.
pub fn g711_samples(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let codec = match first & 1 {
        0 => AudioCodec::G711ALaw,
        _ => AudioCodec::G711MuLaw,
    };
    let track = AudioTrack {
        codec,
        sample_rate: 8_000,
        channels: 1 + (first >> 1 & 1),
        config: Bytes::new(),
    };
    transcode(&track, pieces(rest));
}

/// Returns a track of frames that describe themselves.
fn track(codec: AudioCodec, config: &[u8]) -> AudioTrack {
    AudioTrack {
        codec,
        sample_rate: 48_000,
        channels: 2,
        config: Bytes::copy_from_slice(config),
    }
}

fn transcode<'a>(track: &AudioTrack, frames: impl Iterator<Item = &'a [u8]>) {
    // Little effort: the encoder is not under test.
    let config = OpusConfig {
        complexity: 0,
        ..OpusConfig::default()
    };
    let Ok(mut transcoder) = OpusTranscoder::new(track, &config) else {
        return;
    };
    let mut packets = Vec::new();
    for (n, unit) in frames.enumerate() {
        let frame = AudioFrame {
            codec: track.codec,
            pts: MediaTime::from_nanos(n as i64 * 21_333_333),
            data: Bytes::copy_from_slice(unit),
        };
        match transcoder.push(&frame, &mut packets) {
            Ok(()) => {}
            Err(AudioError::Decode { reason }) => assert!(!reason.contains("panicked"), "{reason}"),
            Err(error) => panic!("{error}"),
        }
    }
    let steps = packets
        .windows(2)
        .map(|pair| pair[1].pts.as_nanos() - pair[0].pts.as_nanos());
    assert!(steps.into_iter().all(|step| step >= 20_000_000));
}

/// `AudioSpecificConfig`: an accepted one has a rate and channels.
pub fn audio_specific_config(data: &[u8]) {
    if let Ok(config) = AudioSpecificConfig::parse(data) {
        assert!(config.sample_rate() > 0, "{config:?}");
        assert!(config.channels() > 0, "{config:?}");
    }
}
