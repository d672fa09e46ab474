//! Any text leads to no panic, and to an error or a well-formed, bounded answer.

use distributary_webrtc::sdp::{MAX_MEDIA_SECTIONS, Offer};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::*;

/// Maximum length of an answer in bytes: each word that is repeated from an offer is bounded.
const MAX_ANSWER_BYTES: usize = 12 * 1024;

/// One change to a text.
#[derive(Clone, Debug)]
enum Mutation {
    RemoveLine(Index),
    RepeatLine(Index, usize),
    MoveLine(Index, Index),
    CutAfter(Index),
    Replace(Index, char),
    Insert(Index, String),
    Number(Index, u64),
}

impl Mutation {
    fn apply(&self, text: &str) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        let mut characters: Vec<char> = text.chars().collect();
        if lines.is_empty() {
            return String::new();
        }
        match self {
            Self::RemoveLine(at) => {
                lines.remove(at.index(lines.len()));
            }
            Self::RepeatLine(at, times) => {
                let line = lines[at.index(lines.len())];
                lines.extend(std::iter::repeat_n(line, *times));
            }
            Self::MoveLine(from, to) => {
                let line = lines.remove(from.index(lines.len()));
                lines.insert(to.index(lines.len() + 1), line);
            }
            Self::CutAfter(at) => lines.truncate(at.index(lines.len()) + 1),
            Self::Replace(at, character) => {
                let at = at.index(characters.len());
                characters[at] = *character;
                return characters.into_iter().collect();
            }
            Self::Insert(at, inserted) => {
                let at = at.index(characters.len() + 1);
                characters.splice(at..at, inserted.chars());
                return characters.into_iter().collect();
            }
            Self::Number(at, number) => return replace_number(text, *at, *number),
        }
        lines.join("\r\n")
    }
}

/// Replaces one of the numbers in `text` with `number`.
fn replace_number(text: &str, at: Index, number: u64) -> String {
    let starts: Vec<usize> = text
        .char_indices()
        .zip(std::iter::once(' ').chain(text.chars()))
        .filter(|((_, character), before)| character.is_ascii_digit() && !before.is_ascii_digit())
        .map(|((start, _), _)| start)
        .collect();
    if starts.is_empty() {
        return text.to_owned();
    }
    let start = starts[at.index(starts.len())];
    let rest = text[start..].trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{}{number}{rest}", &text[..start])
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<Index>().prop_map(Mutation::RemoveLine),
        (any::<Index>(), 1..40usize).prop_map(|(at, times)| Mutation::RepeatLine(at, times)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::MoveLine(from, to)),
        any::<Index>().prop_map(Mutation::CutAfter),
        (any::<Index>(), any::<char>()).prop_map(|(at, with)| Mutation::Replace(at, with)),
        (any::<Index>(), "[ -~\r\n]{1,600}").prop_map(|(at, with)| Mutation::Insert(at, with)),
        (any::<Index>(), any::<u64>()).prop_map(|(at, with)| Mutation::Number(at, with)),
    ]
}

fn mutated_fixture() -> impl Strategy<Value = String> {
    let fixtures = all_fixtures();
    assert!(fixtures.len() > 20, "the offers are there");
    let fixture = proptest::sample::select(fixtures);
    (fixture, proptest::collection::vec(mutation(), 1..6)).prop_map(|((_, text), mutations)| {
        mutations
            .iter()
            .fold(text, |text, mutation| mutation.apply(&text))
    })
}

/// Lines of words that SDP is made of, in any order.
fn sdp_salad() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[vosiuepcbtrzkam]=[ -~]{0,60}",
        "a=(mid|setup|group|rtpmap|fmtp|rtcp-fb|extmap|fingerprint|ice-ufrag|ice-pwd|ssrc)(:[ -~]{0,40})?",
        "a=(rtpmap|fmtp|rtcp-fb):[0-9*]{1,4} [a-zA-Z0-9/;= -]{0,40}",
        "m=(audio|video|application|text) [0-9/]{1,6} (UDP/TLS/RTP/SAVPF|[A-Z/]{0,80})( [0-9]{1,3}){0,200}",
        "a=group:BUNDLE( [0-9a-z]{1,3}){0,20}",
        "a=(sendrecv|recvonly|sendonly|inactive|rtcp-mux|rtcp-rsize|bundle-only)",
    ];
    proptest::collection::vec(line, 0..60)
        .prop_map(|lines| format!("v=0\r\n{}\r\n", lines.join("\r\n")))
}

/// Parses and answers an offer, and checks the rules that every result must keep.
fn holds(text: &str) -> Result<(), TestCaseError> {
    let Ok(offer) = Offer::parse(text) else {
        return Ok(());
    };
    prop_assert!(offer.media().len() <= MAX_MEDIA_SECTIONS);
    let answer = match offer.answer(&plan(), &local()) {
        Ok(answer) => answer,
        Err(error) => {
            prop_assert!(error.to_string().len() < 16 * 1024, "a short error");
            return Ok(());
        }
    };
    prop_assert!(
        answer.sdp.len() <= MAX_ANSWER_BYTES,
        "{} bytes",
        answer.sdp.len()
    );
    let session = Description::of(&answer.sdp);
    prop_assert_eq!(session.sections.len(), offer.media().len());
    let media_lines = answer
        .sdp
        .lines()
        .filter(|line| line.starts_with("m="))
        .count();
    prop_assert_eq!(media_lines, offer.media().len());
    prop_assert!(
        !answer
            .sdp
            .chars()
            .any(|c| c.is_control() && c != '\r' && c != '\n' && c != '\t')
    );
    let sent = usize::from(answer.negotiated.video.is_some())
        + usize::from(answer.negotiated.audio.is_some());
    let sending = session
        .sections
        .iter()
        .filter(|section| section.has("sendonly"));
    prop_assert_eq!(sending.count(), sent);
    prop_assert!(sent > 0, "an answer sends something");
    Ok(())
}

#[test]
fn every_unchanged_fixture_keeps_the_rules() {
    for (name, text) in all_fixtures() {
        holds(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn answer_with_the_longest_repeated_words_is_below_its_limit() {
    let word = "w".repeat(64);
    let mid = |index: usize| format!("{index:0>64}");
    let mut offer = fixture("hand-session-level");
    let fmtp = format!("a=fmtp:96 x={};", "y".repeat(400));
    offer = offer.replace("a=fmtp:96 ", &fmtp);
    for index in 2..MAX_MEDIA_SECTIONS {
        offer += &format!("m={word} 9 {word} {word}\r\na=mid:{}\r\n", mid(index));
    }
    let answer = answer_to(&offer).unwrap();
    assert!(answer.sdp.len() > 6_000, "{}", answer.sdp.len());
    holds(&offer).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered_or_refused(text in any::<String>()) {
        holds(&text)?;
    }

    #[test]
    fn any_lines_are_answered_or_refused(text in sdp_salad()) {
        holds(&text)?;
    }

    #[test]
    fn mutated_offers_are_answered_or_refused(text in mutated_fixture()) {
        holds(&text)?;
    }
}
