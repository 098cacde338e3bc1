//! What tokenizers of every family make of a text.

/// The ids of one text, with the tokens that its model puts around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    pooled: usize,
    count: usize,
}

impl Tokens {
    /// `pooled` is a position among `ids`; the whole text has `count` tokens.
    pub(crate) fn new(ids: Vec<u32>, pooled: usize, count: usize) -> Self {
        Self { ids, pooled, count }
    }

    /// Every id; padded only if the model reads the padding.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Position of the token whose state becomes the text's vector. It is the last one that is read.
    pub fn pooled(&self) -> usize {
        self.pooled
    }

    /// Number of tokens of the whole text, neither truncated nor padded, including start and end.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether the text was longer than the model reads.
    pub fn truncated(&self) -> bool {
        self.count > self.ids.len()
    }
}
