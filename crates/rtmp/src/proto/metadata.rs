//! The metadata of a stream (`onMetaData`).

use crate::proto::amf::Value;

/// Maximum length of a publisher's text in the log and the API, in characters.
const MAX_TEXT: usize = 128;

/// The well-known members of `onMetaData` (FLV specification 10.1, annex E.5). They are for
/// display: the stream can be decoded without them, and encoders set some of them wrongly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The encoder's name.
    pub encoder: Option<String>,
    /// Width of the video, in pixels.
    pub width: Option<f64>,
    /// Height of the video, in pixels.
    pub height: Option<f64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Video bitrate, in kbit/s.
    pub video_kbps: Option<f64>,
    /// Audio bitrate, in kbit/s.
    pub audio_kbps: Option<f64>,
}

impl Metadata {
    /// Reads the object that follows the name `onMetaData`.
    pub fn read(value: &Value) -> Self {
        let number = |name| {
            let number = value.get(name)?.as_number()?;
            (number.is_finite() && number > 0.0).then_some(number)
        };
        Self {
            encoder: value.get("encoder").and_then(Value::as_str).and_then(shown),
            width: number("width"),
            height: number("height"),
            frame_rate: number("framerate").or_else(|| number("fps")),
            video_kbps: number("videodatarate"),
            audio_kbps: number("audiodatarate"),
        }
    }
}

/// Cleans a text from the network for the log: one line of limited length; `None` if it is empty.
pub(crate) fn shown(text: &str) -> Option<String> {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_an_encoder_is_read() {
        let value = Value::EcmaArray(vec![
            ("width".into(), 1280.0.into()),
            ("height".into(), 720.0.into()),
            ("framerate".into(), 30.0.into()),
            ("videodatarate".into(), 2500.0.into()),
            ("audiodatarate".into(), f64::NAN.into()),
            ("encoder".into(), "Lavf59.27.100".into()),
        ]);
        assert_eq!(
            Metadata::read(&value),
            Metadata {
                encoder: Some("Lavf59.27.100".into()),
                width: Some(1280.0),
                height: Some(720.0),
                frame_rate: Some(30.0),
                video_kbps: Some(2500.0),
                audio_kbps: None,
            }
        );
        assert_eq!(Metadata::read(&Value::Null), Metadata::default());
    }

    #[test]
    fn text_for_the_log_is_one_line_of_limited_length() {
        assert_eq!(
            shown("OBS\r\nERROR forged").as_deref(),
            Some("OBS  ERROR forged")
        );
        assert_eq!(shown(&"x".repeat(1000)).unwrap().len(), MAX_TEXT);
        assert_eq!(shown(" \n"), None);
    }
}
