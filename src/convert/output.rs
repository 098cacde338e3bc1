//! Converted bytes on their way to the sink.

use super::Sink;
use crate::error::Result;

/// Bytes are passed to the sink in pieces of about this size.
const OUTPUT_BYTES: usize = 1 << 18;

/// Converted bytes that have not been passed to the sink yet.
#[derive(Default)]
pub(super) struct Output {
    offset: u64,
    bytes: Vec<u8>,
    /// Number of bytes passed to the sink.
    written: u64,
}

impl Output {
    /// Appends to the pending bytes; if there are none, the bytes start at `offset`.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.offset = offset;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn pad_to(&mut self, end: u64) {
        self.bytes.resize((end - self.offset) as usize, 0);
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    pub(super) fn flush(&mut self, sink: &mut Sink) -> Result<()> {
        sink(self.offset, &self.bytes)?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Whether so much is pending that it should be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= OUTPUT_BYTES
    }

    /// Number of bytes passed to the sink.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}
