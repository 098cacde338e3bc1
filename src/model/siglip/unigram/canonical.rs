//! What `SiglipTokenizer` of transformers makes of a text before sentencepiece reads it.

/// `canonicalize_text`: in lower case, without ASCII punctuation, with one space for several, and none at the ends.
pub fn canonical(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(lower.len());
    let words =
        lower.split(is_space).map(|word| word.replace(|c: char| c.is_ascii_punctuation(), ""));
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

/// What Python takes for a space: four separators more than Unicode's White_Space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_canonical() {
        for (text, wanted) in [
            ("", ""),
            ("  A  Photo,\tof\n\"ΟΔΟΣ\"!  ", "a photo of οδος"),
            ("a - b_c \u{1f} d", "a bc d"),
            ("▁ x", "▁ x"),
        ] {
            assert_eq!(canonical(text), wanted, "{text:?}");
        }
    }
}
