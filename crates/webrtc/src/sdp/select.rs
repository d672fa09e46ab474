//! The choice of the accepted sections of a player's description.

use super::description::Description;
use super::video::{self, VideoChoice};
use super::{
    BundleGroup, CodecParameters, MediaKind, MediaPlan, MediaSection, RejectedMedia, Rejection,
};
use crate::data::DataConfig;

/// Most codec names that a [`Rejection`] lists.
const MAX_LISTED_CODECS: usize = 8;

/// Encoding names that are not codecs (RFC 4588, RFC 2198, RFC 5109, RFC 8627).
const NO_CODECS: [&str; 4] = ["rtx", "red", "ulpfec", "flexfec-03"];

/// The decision about one section.
#[derive(Clone, Debug)]
pub(super) enum Verdict<'a> {
    Video(VideoChoice<'a>),
    Audio(&'a CodecParameters),
    Data(DataConfig),
    /// Nothing is sent, but it is accepted as inactive, since it describes the transport of others.
    Carrier(&'a CodecParameters, Rejection),
    Rejected(Rejection),
}

/// The decisions about all sections of a description.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// One for each section, in order.
    pub(super) verdicts: Vec<Verdict<'a>>,
    /// The sections that share the transport, in the order of the answer's BUNDLE group; `None`
    /// when the answer has no group.
    pub(super) bundle: Option<Vec<usize>>,
}

impl<'a> Selection<'a> {
    /// Chooses at most one video and one audio section.
    ///
    /// There is one 5-tuple for each player, so both must be in one BUNDLE group. Without one (RFC
    /// 9143 section 7.3: an answer must not group sections that the offer does not) only the video
    /// is sent: video without audio is more of the stream than audio without video.
    pub(super) fn of(description: &'a Description, plan: &MediaPlan) -> Self {
        let judged = description
            .media
            .iter()
            .map(|media| judge(description, media, plan));
        let mut verdicts: Vec<Verdict<'a>> = judged.collect();
        let (video, audio) = choose_pair(description, &verdicts);
        for (index, verdict) in verdicts.iter_mut().enumerate() {
            let (chosen, other) = match verdict {
                Verdict::Video(_) => (video, audio),
                Verdict::Audio(_) => (audio, video),
                Verdict::Data(_) | Verdict::Carrier(..) | Verdict::Rejected(_) => continue,
            };
            let rejection = match (chosen, other) {
                (Some(chosen), _) if chosen == index => continue,
                (None, Some(_)) => Rejection::NotBundled,
                _ => Rejection::Surplus,
            };
            *verdict = Verdict::Rejected(rejection);
        }
        let group = video
            .or(audio)
            .and_then(|index| description.group_of(index));
        let has_media = video.or(audio).is_some();
        reject_data(description, &mut verdicts, group, has_media);
        let bundle = group.map(|group| bundle_order(description, group, &mut verdicts));
        Self { verdicts, bundle }
    }

    /// Returns the sections that are not rejected, the one that describes the transport first.
    pub(super) fn accepted(&self) -> Vec<usize> {
        match &self.bundle {
            Some(bundle) => bundle.clone(),
            None => accepted_indices(&self.verdicts).collect(),
        }
    }

    /// Returns the sections on which nothing is sent.
    pub(super) fn rejected(&self, description: &Description) -> Vec<RejectedMedia> {
        let sections = description.media.iter().zip(&self.verdicts).enumerate();
        sections
            .filter_map(|(index, (media, verdict))| match verdict {
                Verdict::Rejected(reason) | Verdict::Carrier(_, reason) => Some(RejectedMedia {
                    index,
                    kind: media.kind.clone(),
                    mid: media.mid.clone(),
                    reason: reason.clone(),
                }),
                _ => None,
            })
            .collect()
    }
}

fn judge<'a>(
    description: &'a Description,
    media: &'a MediaSection,
    plan: &MediaPlan,
) -> Verdict<'a> {
    acceptable(description, media)
        .and_then(|()| match media.data {
            Some(config) => Ok(Verdict::Data(config)),
            None => choose_codec(media, plan),
        })
        .unwrap_or_else(Verdict::Rejected)
}

/// Checks that something could be sent on a section.
pub(super) fn acceptable(description: &Description, media: &MediaSection) -> Result<(), Rejection> {
    if matches!(media.kind, MediaKind::Other(_)) && media.data.is_none() {
        return Err(Rejection::UnsupportedKind);
    }
    if !media.is_rtp() && media.data.is_none() {
        return Err(Rejection::UnsupportedProtocol(media.protocol.clone()));
    }
    // Port 0 in a group does not disable a section: the port is that of the group's first section
    // (RFC 9143 section 6).
    let grouped = media
        .mid
        .as_ref()
        .is_some_and(|mid| description.bundles.iter().any(|group| group.contains(mid)));
    if media.port == 0 && !(media.bundle_only && grouped) {
        return Err(Rejection::Disabled);
    }
    // A data channel has no direction (RFC 8841 section 10).
    if !media.direction.receives() && media.data.is_none() {
        return Err(Rejection::NotReceiving(media.direction));
    }
    Ok(())
}

fn choose_codec<'a>(media: &'a MediaSection, plan: &MediaPlan) -> Result<Verdict<'a>, Rejection> {
    let no_codec = |needed| Rejection::NoCodec {
        needed,
        offered: codec_names(media),
    };
    if media.kind == MediaKind::Video {
        let plan = plan.video.as_ref().ok_or(Rejection::NotInStream)?;
        let (codec, profile) = (plan.codec, plan.profile_level_id);
        let choice = video::choose(media, codec, profile);
        return choice
            .map(Verdict::Video)
            .ok_or_else(|| no_codec(video::name(codec, profile)));
    }
    if plan.audio.is_none() {
        return Err(Rejection::NotInStream);
    }
    let codec = media.codecs.iter().find(|codec| is_opus(codec));
    codec.map(Verdict::Audio).ok_or_else(|| no_codec("Opus"))
}

/// Returns the first video section that some audio can go with, and that audio; else the first
/// video alone, else the first audio alone.
fn choose_pair(
    description: &Description,
    verdicts: &[Verdict<'_>],
) -> (Option<usize>, Option<usize>) {
    let sections = || verdicts.iter().enumerate();
    let videos = || sections().filter(|(_, verdict)| matches!(verdict, Verdict::Video(_)));
    let audios = || sections().filter(|(_, verdict)| matches!(verdict, Verdict::Audio(_)));
    for (video, _) in videos() {
        let group = description.group_of(video);
        let partner =
            audios().find(|(audio, _)| group.is_some() && group == description.group_of(*audio));
        if let Some((audio, _)) = partner {
            return (Some(video), Some(audio));
        }
    }
    match videos().next() {
        Some((video, _)) => (Some(video), None),
        None => (None, audios().next().map(|(audio, _)| audio)),
    }
}

/// Accepts the first data channel that shares the transport of audio or video.
fn reject_data(
    description: &Description,
    verdicts: &mut [Verdict<'_>],
    group: Option<&BundleGroup>,
    has_media: bool,
) {
    let mut is_chosen = false;
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if !matches!(verdict, Verdict::Data(_)) {
            continue;
        }
        let rejection = if !has_media {
            Rejection::DataAlone
        } else if group.is_none() || description.group_of(index) != group {
            Rejection::NotBundled
        } else if is_chosen {
            Rejection::Surplus
        } else {
            is_chosen = true;
            continue;
        };
        *verdict = Verdict::Rejected(rejection);
    }
}

/// RFC 7587 section 7 wants `opus/48000/2`; GStreamer omits the channels.
fn is_opus(codec: &CodecParameters) -> bool {
    codec.name().eq_ignore_ascii_case("opus") && codec.clock_rate == 48_000
}

/// Returns the codecs that a section names, at most eight: retransmissions and error correction are
/// none.
pub(super) fn codec_names(media: &MediaSection) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in media.codecs.iter().map(CodecParameters::name) {
        let known = names.iter().any(|known| known == name);
        let is_codec = !NO_CODECS
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        if names.len() < MAX_LISTED_CODECS && !known && is_codec {
            names.push(name.to_owned());
        }
    }
    names
}

fn accepted_indices<'v>(verdicts: &'v [Verdict<'_>]) -> impl Iterator<Item = usize> + 'v {
    let accepted = verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Rejected(_)));
    accepted.map(|(index, _)| index)
}

/// Returns the accepted sections in the order of `group`.
///
/// The first member with a port describes the transport of all (RFC 9143 section 7.2.1). To reject
/// it would take the transport away from the others: bundle-only sections have no other, and
/// Chromium with `bundlePolicy: "max-bundle"` refuses such an answer ("Failed to setup RTCP mux"),
/// although RFC 9143 section 7.3.1 allows it. So it is accepted as inactive where nothing is sent
/// on it.
fn bundle_order<'a>(
    description: &'a Description,
    group: &BundleGroup,
    verdicts: &mut [Verdict<'a>],
) -> Vec<usize> {
    let members = group.mids().iter().filter_map(|mid| {
        let mut media = description.media.iter();
        media.position(|media| media.mid.as_ref() == Some(mid))
    });
    let members: Vec<usize> = members.collect();
    let media = |index: &usize| description.media.get(*index);
    let has_port = |index: &usize| media(index).is_some_and(|media| media.port != 0);
    if let Some(tagged) = members.iter().find(|index| has_port(index))
        && let Some(codec) = media(tagged).and_then(carrier_codec)
        && let Some(verdict) = verdicts.get_mut(*tagged)
        && let Verdict::Rejected(reason) = verdict
    {
        *verdict = Verdict::Carrier(codec, reason.clone());
    }
    let is_accepted = |index: &usize| accepted_indices(verdicts).any(|accepted| accepted == *index);
    let mut order: Vec<usize> = members.into_iter().filter(is_accepted).collect();
    // A section without a port cannot be the first; the others keep their order.
    order.sort_by_key(|index| !has_port(index));
    order
}

/// Returns a format for an inactive section: it is not used, but one must be named (RFC 8866
/// section 5.14).
fn carrier_codec(media: &MediaSection) -> Option<&CodecParameters> {
    match media.kind {
        MediaKind::Audio | MediaKind::Video if media.is_rtp() => media.codecs.first(),
        _ => None,
    }
}
