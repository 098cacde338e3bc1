//! Reads the operands of a pickle's instructions.

use super::Value;

/// Longer than any known name.
const MOST_NAME_BYTES: usize = 1024;

/// Reads operands; `None` if they have not arrived yet.
pub(super) struct Operands<'a> {
    pub(super) pickle: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Operands<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let bytes = self.pickle.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads up to the end of the line and skips the line break. Of a line that is longer than any known
    /// name, only reads the beginning.
    pub(super) fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.pickle.get(self.position..)?;
        let near = &rest[..rest.len().min(MOST_NAME_BYTES)];
        let length = match near.iter().position(|byte| *byte == b'\n') {
            None if near.len() == MOST_NAME_BYTES => near.len() - 1,
            found => found?,
        };
        self.position += length + 1;
        Some(&near[..length])
    }

    pub(super) fn text(&mut self, length: usize) -> Option<Value> {
        let start = self.position;
        self.take(length)?;
        Some(Value::Text(start, self.position))
    }
}

/// A number of at most 255 bytes, little-endian, two's complement.
pub(super) fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}
