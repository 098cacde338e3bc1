//! sentencepiece's normalisation: a compiled table of replacements, mostly those of Unicode's NFKC, and spaces.

use crate::error::Result;
use crate::model::siglip::malformed;

/// What a space becomes.
pub const SPACE: &str = "▁";
/// sentencepiece looks at no more rules that match at one place (`kMaxTrieResultsSize`).
const MOST_MATCHES: usize = 32;

/// A `precompiled_charsmap`: a double array that finds what is replaced (darts-clone's, in u32), and the replacements, each
/// ended by a zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads the table; an empty one replaces nothing.
    ///
    /// # Errors
    /// `malformed_model`
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || malformed("its charsmap is invalid");
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let size = u32::from_le_bytes(*size) as usize;
        let (units, replacements) = rest.split_at_checked(size).ok_or_else(wrong)?;
        let (units, []) = units.as_chunks::<4>() else { return Err(wrong()) };
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: str::from_utf8(replacements).map_err(|_| wrong())?.into(),
        })
    }

    /// The text with its replacements, one `▁` for each run of spaces, and one before it: `Normalizer::Normalize` of
    /// sentencepiece with its usual settings.
    pub fn normalise(&self, text: &str) -> String {
        let mut rest = text;
        while let (" ", length) = self.first(rest) {
            rest = &rest[length..];
        }
        if rest.is_empty() {
            return String::new();
        }
        let mut out = String::with_capacity(SPACE.len() + rest.len());
        out.push_str(SPACE);
        let mut after_space = true;
        while !rest.is_empty() {
            let (mut part, length) = self.first(rest);
            rest = &rest[length..];
            if after_space {
                part = part.trim_start_matches(' ');
            }
            if !part.is_empty() {
                out.push_str(&part.replace(' ', SPACE));
                after_space = part.ends_with(' ');
            }
        }
        out.truncate(out.trim_end_matches(SPACE).len());
        out
    }

    /// What the start of a text becomes, and how many bytes of it that replaces: the longest match, or a character.
    fn first<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        let character = text.chars().next().map_or(0, char::len_utf8);
        self.longest(text.as_bytes())
            // Rules replace whole characters; those of an invalid table need not.
            .filter(|(_, length)| text.is_char_boundary(*length))
            .and_then(|(at, length)| {
                let replacement = self.replacements.get(at..)?;
                Some((replacement.split('\0').next().unwrap_or_default(), length))
            })
            .unwrap_or((&text[..character], character))
    }

    /// Where the replacement of the longest match is, and its length.
    fn longest(&self, text: &[u8]) -> Option<(usize, usize)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut found = None;
        let mut matches = 0;
        let mut node = offset(*self.units.first()?);
        for (at, byte) in text.iter().enumerate() {
            node ^= usize::from(*byte);
            let Some(&unit) = self.units.get(node) else { break };
            let label = unit & (1 << 31 | 0xff);
            if label != u32::from(*byte) || matches == MOST_MATCHES {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1
                && let Some(&leaf) = self.units.get(node)
            {
                found = Some(((leaf & !(1 << 31)) as usize, at + 1));
                matches += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiled by sentencepiece, of `ﬁ` → `fi`, `e` with an accent → `é`, an ideographic space → a space, a space of no
    /// width → nothing, and `Ａ` → `A`; the expected texts are its own, with `▁` for its spaces.
    const TABLE: &[u8] = include_bytes!("../../../../tests/fixtures/siglip/charsmap.bin");

    #[test]
    fn a_text_is_normalised() {
        let table = Charsmap::new(TABLE).unwrap();
        for (text, wanted) in [
            ("", ""),
            (" \u{3000}", ""),
            ("ﬁx  e\u{301}\u{3000} x", "▁fix▁é▁x"),
            ("\u{200b} a", "▁a"),
            ("e\u{301}\u{301}", "▁é\u{301}"),
            ("ＡＡ e ", "▁AA▁e"),
            ("\0a", "▁\0a"),
        ] {
            assert_eq!(table.normalise(text), wanted, "{text:?}");
        }
        assert_eq!(Charsmap::default().normalise(" ﬁx  x"), "▁ﬁx▁x");
    }

    #[test]
    fn an_invalid_table_is_refused_or_harmless() {
        for end in [1, 4, 5, 1027] {
            assert!(Charsmap::new(&TABLE[..end]).is_err(), "{end}");
        }
        for at in 4..TABLE.len() {
            for bits in [0xff, 1 << (at % 8)] {
                let mut bytes = TABLE.to_vec();
                bytes[at] ^= bits;
                if let Ok(table) = Charsmap::new(&bytes) {
                    table.normalise("ﬁx e\u{301}\u{3000}Ａ\u{200b}");
                }
            }
        }
    }
}
