//! How far a converter has come.

use std::collections::VecDeque;

use crate::convert::logits::Waiting;
use crate::convert::piece::Part;
use crate::format::weights::Reader;
use crate::limits::Limits;

/// What a converter waits for.
pub enum State {
    /// The first bytes of a file, until its header is complete.
    Header(Reader, Vec<u8>),
    /// The first file, until the logits have been read, which go into the GGUF's header.
    Logits(Waiting),
    Tensors(Tensors),
    /// An error was returned; nothing more is accepted.
    Failed,
}

impl State {
    /// For a file of which no bytes have arrived yet.
    pub fn header(limits: &Limits) -> Self {
        Self::Header(Reader::new(limits), Vec::new())
    }
}

/// A file whose header has been read.
pub struct Tensors {
    /// The end of its last tensor, in bytes.
    pub size: u64,
    /// Whether the file ends there.
    pub ends_with_data: bool,
    /// Where the next chunk starts.
    pub position: u64,
    /// The current part and the ones after it.
    pub parts: VecDeque<Part>,
    /// The bytes of the current part so far.
    pub partial: Vec<u8>,
}
