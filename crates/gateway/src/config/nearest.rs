//! What somebody may have meant who wrote something that is not there.

/// How much alike two words must be, from 0 to 1.
const LIKENESS: f64 = 0.8;

/// The word of `words` that is most like `word`, if any is much like it.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|other| (strsim::jaro_winkler(word, other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["rtmp", "http", "webrtc", "advertise", "max_connections"];
        let meant = |word| nearest(word, keys.into_iter());
        assert_eq!(meant("htpp"), Some("http"));
        assert_eq!(meant("advertize"), Some("advertise"));
        assert_eq!(meant("max_connection"), Some("max_connections"));
        assert_eq!(meant("zzz"), None);
    }
}
