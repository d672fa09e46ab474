//! The part of a stream that travels on one subject.

use distributary_hub::{AudioForm, Sink};
use distributary_names::{RenditionId, StreamName};
use serde::{Deserialize, Serialize};

/// The part of a stream that travels on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub(crate) enum Strand {
    /// The video as published, Opus that the owner makes once for all nodes, and timed data.
    Main,
    /// The audio as published, for RTMP players.
    PublishedAudio,
    /// The video of a rendition.
    Rendition(RenditionId),
}

/// The strands of a stream beside the main one that can be requested of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Further {
    /// The audio as published, in another form than the main strand has it.
    pub(crate) published_audio: bool,
    /// Renditions. To an owner that does not list any, requests for one are requests for the main
    /// strand.
    pub(crate) renditions: bool,
}

impl Further {
    /// Returns whether a strand can be requested.
    pub(crate) fn has(self, strand: Strand) -> bool {
        match strand {
            Strand::Main => true,
            Strand::PublishedAudio => self.published_audio,
            Strand::Rendition(_) => self.renditions,
        }
    }
}

/// The fields of control messages that say which strand is meant. Nodes of earlier versions know only
/// the first one.
#[derive(Serialize, Deserialize)]
struct Fields {
    form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rendition: Option<RenditionId>,
}

/// The form of the audio.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Opus,
    Published,
}

impl Strand {
    /// Returns the token that stands for it in a subject.
    pub(crate) fn token(self) -> String {
        match self {
            Self::Main => "o".to_owned(),
            Self::PublishedAudio => "p".to_owned(),
            Self::Rendition(id) => format!("r-{id}"),
        }
    }

    /// Returns the stream of the owner's hub that carries it.
    pub(crate) fn stream(self, name: &StreamName) -> StreamName {
        match self {
            Self::Main | Self::PublishedAudio => name.clone(),
            Self::Rendition(id) => name.rendition(&id),
        }
    }

    /// Returns the queue of a subscriber of that stream, with what travels.
    pub(crate) fn sink(self, sink: Sink) -> Sink {
        match self {
            Self::Main => sink,
            Self::PublishedAudio => sink.with_audio(AudioForm::Published).without_video(),
            Self::Rendition(_) => sink.with_audio(AudioForm::Without),
        }
    }

    /// Returns whether it has the frames of the GOP cache.
    pub(crate) fn has_video(self) -> bool {
        self != Self::PublishedAudio
    }
}

impl From<Fields> for Strand {
    fn from(fields: Fields) -> Self {
        match fields {
            Fields {
                rendition: Some(id),
                ..
            } => Self::Rendition(id),
            Fields {
                form: Form::Opus, ..
            } => Self::Main,
            Fields {
                form: Form::Published,
                ..
            } => Self::PublishedAudio,
        }
    }
}

impl From<Strand> for Fields {
    fn from(strand: Strand) -> Self {
        let (form, rendition) = match strand {
            Strand::Main => (Form::Opus, None),
            Strand::PublishedAudio => (Form::Published, None),
            Strand::Rendition(id) => (Form::Opus, Some(id)),
        };
        Self { form, rendition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_which_strand_is_meant() {
        for (strand, json) in [
            (Strand::Main, r#"{"form":"opus"}"#),
            (Strand::PublishedAudio, r#"{"form":"published"}"#),
            (
                Strand::Rendition(RenditionId::rung(360)),
                r#"{"form":"opus","rendition":"360p"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&strand).unwrap(), json);
            assert_eq!(serde_json::from_str::<Strand>(json).unwrap(), strand);
        }
        for json in [
            r#"{"form":"opus","rendition":"3.>"}"#,
            r#"{"form":"opus","rendition":"abcdefghijklmnopqrstuvwxyz"}"#,
        ] {
            assert!(serde_json::from_str::<Strand>(json).is_err(), "{json}");
        }
    }
}
