//! Negotiation (RFC 9429 section 5.3, RFC 9143 section 7.3).
//!
//! The same rules apply to a player's offer and to its answer to a counter-offer: both describe
//! what the player wants to receive.

use super::description::Description;
use super::select::{Selection, Verdict};
use super::video::VideoChoice;
use super::write::Writer;
use super::{
    CodecParameters, ExtensionId, HeaderExtension, LocalParameters, MediaPlan, MediaSection,
    Negotiated, NegotiatedAudio, NegotiatedData, NegotiatedRtx, NegotiatedVideo, NegotiationError,
    Note, PacketizationMode, RemoteTransport, Setup, TransportError,
};

/// A player's description with the negotiated parameters.
pub(super) struct Agreement<'a> {
    description: &'a Description,
    selection: Selection<'a>,
    pub(super) negotiated: Negotiated,
}

impl Description {
    /// Decides which tracks of `plan` are sent. `setup` returns our `a=setup` for the player's.
    pub(super) fn agree(
        &self,
        plan: &MediaPlan,
        local: &LocalParameters,
        setup: impl FnOnce(Setup) -> Setup,
    ) -> Result<Agreement<'_>, NegotiationError> {
        let selection = Selection::of(self, plan);
        let rejected = selection.rejected(self);
        let accepted = selection.accepted();
        if accepted.is_empty() {
            return Err(NegotiationError::NothingToSend { rejected });
        }
        let remote = self.transport(&accepted)?;
        let mut negotiated = Negotiated {
            video: None,
            audio: None,
            data: None,
            setup: setup(remote.setup),
            notes: rejected.into_iter().map(Note::NotSent).collect(),
            remote,
        };
        let transport_cc = self.uses_transport_cc(&selection, plan);
        for (media, verdict) in self.media.iter().zip(&selection.verdicts) {
            match verdict {
                Verdict::Video(choice) => {
                    let video = negotiate_video(media, choice, plan, local, transport_cc);
                    negotiated.notes.extend(video_notes(&video));
                    negotiated.video = Some(video);
                }
                Verdict::Audio(codec) => {
                    let audio = negotiate_audio(media, codec, plan, local, transport_cc);
                    negotiated.audio = Some(audio);
                }
                Verdict::Data(config) => {
                    negotiated.data = Some(NegotiatedData {
                        mid: media.mid.clone(),
                        config: *config,
                    });
                }
                Verdict::Carrier(..) | Verdict::Rejected(_) => {}
            }
        }
        Ok(Agreement {
            description: self,
            selection,
            negotiated,
        })
    }

    /// Returns whether transport-wide sequence numbers and feedback are used.
    ///
    /// The video decides, which is nearly all traffic. Without RTX its packets are resent byte for
    /// byte, so they cannot have transport-wide numbers.
    fn uses_transport_cc(&self, selection: &Selection<'_>, plan: &MediaPlan) -> bool {
        let sections = self.media.iter().zip(&selection.verdicts);
        let mut videos = sections.filter_map(|(media, verdict)| match verdict {
            Verdict::Video(choice) => Some((media, choice.codec)),
            _ => None,
        });
        let wanted = plan.video.as_ref().map(|video| video.extensions.as_slice());
        videos.next().is_some_and(|(media, codec)| {
            let extensions = agree_extensions(media, wanted.unwrap_or_default());
            codec.feedback.transport_cc
                && codec.feedback.nack
                && media.rtx_payload_type(codec.payload_type).is_some()
                && extensions
                    .iter()
                    .any(|(extension, _)| *extension == HeaderExtension::TransportWideCc)
        })
    }

    /// Returns the transport that all `accepted` sections share.
    ///
    /// The first section describes it; bundle-only sections need not repeat it (RFC 9143 section
    /// 7.1.3), and where the first has an error, a later one that repeats it is as good.
    fn transport(&self, accepted: &[usize]) -> Result<RemoteTransport, TransportError> {
        let sections = || accepted.iter().filter_map(|index| self.media.get(*index));
        let usable = sections().find_map(|media| media.transport.as_ref().ok());
        let first_error = || sections().find_map(|media| media.transport.as_ref().err());
        let transport = match (usable, first_error()) {
            (Some(transport), _) => transport.clone(),
            (None, error) => return Err(*error.unwrap_or(&TransportError::MissingIceCredentials)),
        };
        if !sections().any(|media| media.rtcp_mux) {
            return Err(TransportError::MissingRtcpMux);
        }
        Ok(transport)
    }
}

impl Agreement<'_> {
    /// Writes our description: the answer to the player's.
    pub(super) fn describe(&self, local: &LocalParameters) -> String {
        let Self {
            description,
            selection,
            negotiated,
        } = self;
        let mut writer = Writer::new(local, negotiated.setup);
        writer.session(description, selection.bundle.as_deref());
        for (media, verdict) in description.media.iter().zip(&selection.verdicts) {
            match (verdict, &negotiated.video, &negotiated.audio) {
                (Verdict::Video(choice), Some(video), _) => {
                    writer.video(media, choice.codec, video);
                }
                (Verdict::Audio(codec), _, Some(audio)) => writer.audio(media, codec, audio),
                (Verdict::Data(_), ..) => writer.data(media),
                (Verdict::Carrier(codec, _), ..) => writer.carrier(media, codec),
                (Verdict::Video(_) | Verdict::Audio(_) | Verdict::Rejected(_), ..) => {
                    writer.rejected(media);
                }
            }
            // One transport for all needs them once, but there are players that look at each
            // section by itself, and others that only believe the last (aiortc).
            writer.candidates();
        }
        writer.finish()
    }
}

fn negotiate_video(
    media: &MediaSection,
    choice: &VideoChoice<'_>,
    plan: &MediaPlan,
    local: &LocalParameters,
    transport_cc: bool,
) -> NegotiatedVideo {
    let payload_type = choice.codec.payload_type;
    let nack = choice.codec.feedback.nack;
    // RTX is of no use without NACK (RFC 4588 section 6.3).
    let rtx = media.rtx_payload_type(payload_type).filter(|_| nack);
    let wanted = plan.video.as_ref().map(|video| video.extensions.as_slice());
    let mut extensions = agree_extensions(media, wanted.unwrap_or_default());
    extensions.retain(|(extension, _)| match extension {
        HeaderExtension::Mid => true,
        HeaderExtension::TransportWideCc => transport_cc,
        // Packets that are resent byte for byte have no extension that changes.
        _ => rtx.is_some() || !nack,
    });
    NegotiatedVideo {
        mid: media.mid.clone(),
        payload_type,
        ssrc: local.video_ssrc,
        rtx: rtx.map(|payload_type| NegotiatedRtx {
            payload_type,
            ssrc: local.video_rtx_ssrc,
        }),
        nack,
        feedback: choice.codec.feedback.with_transport_cc(transport_cc),
        codec: plan
            .video
            .as_ref()
            .map(|video| video.codec)
            .unwrap_or_default(),
        packetization_mode: choice.mode,
        rtcp_rsize: media.rtcp_rsize,
        extensions,
    }
}

fn negotiate_audio(
    media: &MediaSection,
    codec: &CodecParameters,
    plan: &MediaPlan,
    local: &LocalParameters,
    transport_cc: bool,
) -> NegotiatedAudio {
    let wanted = plan.audio.as_ref().map(|audio| audio.extensions.as_slice());
    let mut extensions = agree_extensions(media, wanted.unwrap_or_default());
    let is_numbering = |extension: &HeaderExtension| *extension == HeaderExtension::TransportWideCc;
    let is_offered = extensions
        .iter()
        .any(|(extension, _)| is_numbering(extension));
    let transport_cc = transport_cc && codec.feedback.transport_cc && is_offered;
    extensions.retain(|(extension, _)| transport_cc || !is_numbering(extension));
    NegotiatedAudio {
        mid: media.mid.clone(),
        payload_type: codec.payload_type,
        red: media
            .red_payload_type(codec.payload_type)
            .filter(|_| plan.audio.as_ref().is_some_and(|audio| audio.red)),
        ssrc: local.audio_ssrc,
        transport_cc,
        rtcp_rsize: media.rtcp_rsize,
        extensions,
    }
}

/// Returns the extensions of `wanted` that the player offers, with the ids that it gave them (RFC
/// 8285 section 6).
fn agree_extensions(
    media: &MediaSection,
    wanted: &[HeaderExtension],
) -> Vec<(HeaderExtension, ExtensionId)> {
    let offered = |extension: &HeaderExtension| {
        let mut lines = media.extensions.iter();
        let line = lines.find(|line| line.uri == extension.uri())?;
        Some((*extension, line.id))
    };
    wanted.iter().filter_map(offered).collect()
}

fn video_notes(video: &NegotiatedVideo) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(mode) = video
        .packetization_mode
        .filter(|mode| *mode != PacketizationMode::NonInterleaved)
    {
        notes.push(Note::PacketizationMode(mode));
    }
    if !video.nack {
        notes.push(Note::NoRetransmission);
    }
    notes
}
