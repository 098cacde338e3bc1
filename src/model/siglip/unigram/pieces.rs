//! Finds the most probable way to cut a text into pieces: `Model::EncodeOptimized` of sentencepiece's `unigram_model.cc`.

use crate::error::Result;
use crate::memory;
use crate::model::siglip::malformed;

/// How much less probable than the rarest piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The pieces that a text can be cut into.
pub struct Pieces {
    /// In the order of their bytes.
    sorted: Vec<Piece>,
    /// The score of a character that no piece has.
    unknown: f32,
}

struct Piece {
    text: String,
    id: u32,
    /// The logarithm of its probability.
    score: f32,
}

/// The best way to some place of a text: its score, and the piece at its end.
#[derive(Clone, Copy)]
struct Way {
    score: f32,
    start: usize,
    /// `None` if it is an unknown character, or if no way has been found.
    id: Option<u32>,
}

/// Not yet found.
const NOWHERE: usize = usize::MAX;

impl Pieces {
    /// Each piece with its id and score.
    ///
    /// # Errors
    /// `malformed_model` if a piece is empty or there twice.
    pub fn new(pieces: impl Iterator<Item = (String, u32, f32)>) -> Result<Self> {
        let mut sorted: Vec<Piece> =
            pieces.map(|(text, id, score)| Piece { text, id, score }).collect();
        sorted.sort_unstable_by(|a, b| a.text.cmp(&b.text));
        let twice = sorted.windows(2).find(|pair| pair[0].text == pair[1].text);
        if let Some(piece) =
            sorted.first().filter(|piece| piece.text.is_empty()).or(twice.map(|pair| &pair[0]))
        {
            return Err(malformed(format!("token {:?} is empty or there twice", piece.text)));
        }
        let least = sorted.iter().map(|piece| piece.score).fold(f32::MAX, f32::min);
        Ok(Self { sorted, unknown: least - UNKNOWN_PENALTY })
    }

    /// The pieces of a text, in order: how many bytes each has, and its id, `None` for a character that is unknown.
    ///
    /// # Errors
    /// `low_memory`
    pub fn cut(&self, text: &str) -> Result<Vec<(usize, Option<u32>)>> {
        let nowhere = Way { score: 0.0, start: NOWHERE, id: None };
        let mut best = memory::filled(text.len() as u64 + 1, nowhere)?;
        for (start, character) in text.char_indices() {
            let till_here = best[start].score;
            let mut reach = |end: usize, score: f32, id: Option<u32>| {
                let score = score + till_here;
                if best[end].start == NOWHERE || score > best[end].score {
                    best[end] = Way { score, start, id };
                }
            };
            let mut is_known = false;
            for piece in self.prefixes(&text.as_bytes()[start..]) {
                reach(start + piece.text.len(), piece.score, Some(piece.id));
                is_known |= piece.text.len() == character.len_utf8();
            }
            if !is_known {
                reach(start + character.len_utf8(), self.unknown, None);
            }
        }
        let mut cut = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let Way { start, id, .. } = best[end];
            cut.push((end - start, id));
            end = start;
        }
        cut.reverse();
        Ok(cut)
    }

    /// The pieces that a text starts with, the shortest first.
    fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a Piece> {
        let mut range = &self.sorted[..];
        let narrowed = text.iter().enumerate().map_while(move |(at, byte)| {
            let next = |piece: &Piece| piece.text.as_bytes().get(at).copied();
            let from = range.partition_point(|piece| next(piece) < Some(*byte));
            let to = range.partition_point(|piece| next(piece) <= Some(*byte));
            range = &range[from..to];
            // Of those that start with the same bytes, the shortest comes first.
            let first = range.first()?;
            Some(Some(first).filter(|piece| piece.text.len() == at + 1))
        });
        narrowed.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, Option<u32>)> {
        let list = [("a", -1.0), ("b", -1.0), ("ab", -1.5), ("abc", -9.0), ("aa", -2.0)];
        let pieces = list.into_iter().zip(0..).map(|((text, score), id)| (text.into(), id, score));
        Pieces::new(pieces).unwrap().cut(text).unwrap()
    }

    #[test]
    fn the_most_probable_way_wins() {
        assert_eq!(cut(""), []);
        assert_eq!(cut("ab"), [(2, Some(2))]);
        assert_eq!(cut("abé"), [(2, Some(2)), (2, None)]);
        assert_eq!(cut("abc"), [(3, Some(3))]);
        // Of two that are equally probable, that which ends with the longer piece: it is found first.
        assert_eq!(cut("aa"), [(2, Some(4))]);
        assert_eq!(cut("xx"), [(1, None), (1, None)]);
    }

    #[test]
    fn pieces_differ() {
        for twice in [["a", "a"], ["a", ""]] {
            let pieces = twice.into_iter().map(|text| (text.into(), 0, 0.0));
            assert!(Pieces::new(pieces).is_err());
        }
    }
}
