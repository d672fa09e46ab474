//! Finds the most similar name for a misspelled one.

/// Minimum similarity of two words, from 0 to 1.
const LIKENESS: f64 = 0.8;

/// Returns the word of `words` that is most similar to `word`, if any is similar enough.
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
    fn misspellings_are_recognized_and_other_words_are_not() {
        let keys = ["rtmp", "http", "webrtc", "advertise", "max_connections"];
        let meant = |word| nearest(word, keys.into_iter());
        assert_eq!(meant("htpp"), Some("http"));
        assert_eq!(meant("advertize"), Some("advertise"));
        assert_eq!(meant("max_connection"), Some("max_connections"));
        assert_eq!(meant("zzz"), None);
    }
}
