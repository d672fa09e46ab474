//! Our end of a session with fixed values, and a view of the answer.

use std::path::PathBuf;

use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{
    AudioPlan, HostCandidate, LocalAnswer, LocalParameters, MediaPlan, NegotiationError, Offer,
    Token, VideoPlan,
};

pub(crate) const UFRAG: &str = "d1str1bu";
pub(crate) const PWD: &str = "0123456789abcdefghijkl";
pub(crate) const FINGERPRINT: &str = "sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:\
                               2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F";
pub(crate) const VIDEO_SSRC: u32 = 0x1111_1111;
pub(crate) const RTX_SSRC: u32 = 0x2222_2222;
pub(crate) const AUDIO_SSRC: u32 = 0x3333_3333;

/// All fixtures.
pub(crate) fn all_fixtures() -> Vec<(String, String)> {
    let files = std::fs::read_dir(directory()).expect("the folder of offers is there");
    let paths = files.map(|file| file.expect("a readable folder").path());
    let offers = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sdp"));
    offers
        .map(|path| {
            let name = path.file_stem().expect("a file name").to_string_lossy();
            (
                name.into_owned(),
                std::fs::read_to_string(&path).expect("a text"),
            )
        })
        .collect()
}

pub(crate) fn fixture(name: &str) -> String {
    let path = directory().join(name).with_extension("sdp");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/offers")
}

/// Returns a stream with video of a profile that is not known yet, and audio.
pub(crate) fn plan() -> MediaPlan {
    MediaPlan {
        video: Some(VideoPlan::default()),
        audio: Some(AudioPlan::default()),
    }
}

pub(crate) fn local() -> LocalParameters {
    let token = |text: &str| Token::new(text).expect("a token");
    LocalParameters {
        session_id: 4_611_686_018_427_387_903,
        session_version: 7,
        ice: Credentials::new(UFRAG, PWD).expect("valid credentials"),
        fingerprint: FINGERPRINT.parse().expect("a fingerprint"),
        candidates: vec![
            HostCandidate::udp("[2001:db8::5]:8189".parse().expect("an address")),
            HostCandidate::udp("192.0.2.5:8189".parse().expect("an address")),
        ],
        cname: token("distributary"),
        stream_id: token("stream"),
        video_track_id: token("video-track"),
        audio_track_id: token("audio-track"),
        video_ssrc: VIDEO_SSRC,
        video_rtx_ssrc: RTX_SSRC,
        audio_ssrc: AUDIO_SSRC,
        role: DtlsRole::Server,
    }
}

pub(crate) fn answer_to(offer: &str) -> Result<LocalAnswer, NegotiationError> {
    answer_with(offer, &plan())
}

pub(crate) fn answer_with(offer: &str, plan: &MediaPlan) -> Result<LocalAnswer, NegotiationError> {
    let offer = Offer::parse(offer).unwrap_or_else(|error| panic!("{error}:\n{offer}"));
    offer.answer(plan, &local())
}

/// A session description, read line by line without the code under test.
#[derive(Debug, Default)]
pub(crate) struct Description {
    pub(crate) lines: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// A section of a [`Description`].
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) kind: String,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) formats: Vec<String>,
    pub(crate) lines: Vec<String>,
}

impl Description {
    pub(crate) fn of(text: &str) -> Self {
        let mut description = Self::default();
        for line in text.split_terminator("\r\n") {
            assert_eq!(line.as_bytes().get(1), Some(&b'='), "{line:?} in {text}");
            let Some(media) = line.strip_prefix("m=") else {
                let section = description.sections.last_mut();
                let lines = section.map_or(&mut description.lines, |section| &mut section.lines);
                lines.push(line.to_owned());
                continue;
            };
            let words: Vec<&str> = media.split(' ').collect();
            let [kind, port, protocol, formats @ ..] = words.as_slice() else {
                panic!("{line}");
            };
            assert!(!formats.is_empty(), "{line}");
            description.sections.push(Section {
                kind: (*kind).to_owned(),
                port: port.parse().unwrap_or_else(|_| panic!("{line}")),
                protocol: (*protocol).to_owned(),
                formats: formats.iter().map(|format| (*format).to_owned()).collect(),
                lines: Vec::new(),
            });
        }
        description
    }
}

/// Returns the values of all `a=<key>` lines; an attribute without a value gives an empty one.
pub(crate) fn values<'a>(lines: &'a [String], key: &str) -> Vec<&'a str> {
    let attributes = lines.iter().filter_map(|line| line.strip_prefix("a="));
    let pairs = attributes.map(|line| line.split_once(':').unwrap_or((line, "")));
    pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

impl Section {
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        values(&self.lines, key)
    }

    /// Returns the value of the only `a=<key>` line.
    pub(crate) fn only(&self, key: &str) -> &str {
        let values = self.values(key);
        assert_eq!(values.len(), 1, "one a={key}: {values:?}");
        values[0]
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }
}
