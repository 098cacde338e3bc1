//! Large allocations that may fail.
//!
//! A failed allocation ends the program; in WebAssembly it ends the instance with its model. So everything
//! whose size a stranger's file decides is allocated in a way that can be refused. Allocations inside
//! decoders and candle cannot be refused. For those, [`probe`] allocates the same amount just before and
//! frees it again. Then the memory is available: in wasm the allocator keeps it, and meanwhile only the other threads
//! allocate, and only small buffers. Natively, where several images are decoded at a time, it is a guess.

use crate::error::{Error, ErrorKind, Result};

/// An empty vector with capacity for exactly `len` values.
///
/// # Errors
/// `low_memory` if there is not enough memory.
pub(crate) fn reserved<T>(len: u64) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, len)?;
    Ok(values)
}

/// Reserves capacity for exactly `more` additional values.
///
/// # Errors
/// `low_memory` if there is not enough memory.
pub(crate) fn reserve<T>(values: &mut Vec<T>, more: u64) -> Result<()> {
    let room = usize::try_from(more).ok().and_then(|more| values.try_reserve_exact(more).ok());
    room.ok_or_else(|| low_memory(more.saturating_mul(size_of::<T>() as u64)))
}

/// Reserves capacity for `len` values in total, including those already there.
///
/// # Errors
/// `low_memory` if there is not enough memory.
pub(crate) fn reserve_all<T>(values: &mut Vec<T>, len: u64) -> Result<()> {
    let more = len.saturating_sub(values.len() as u64);
    reserve(values, more)
}

/// A vector of `len` copies of a value.
///
/// # Errors
/// `low_memory` if there is not enough memory.
pub(crate) fn filled<T: Copy>(len: u64, value: T) -> Result<Vec<T>> {
    let mut values = reserved(len)?;
    values.resize(len as usize, value);
    Ok(values)
}

/// The values of an iterator that yields at most `len`.
///
/// # Errors
/// `low_memory` if there is not enough memory.
pub(crate) fn collected<T>(len: usize, values: impl Iterator<Item = T>) -> Result<Vec<T>> {
    let mut all = reserved(len as u64)?;
    all.extend(values);
    Ok(all)
}

/// Reserve for small temporary buffers, which would otherwise take memory from the probed ones.
const SPARE: u64 = 64 << 10;

/// Checks that buffers of these sizes can be allocated at the same time: allocates them, writes nothing,
/// and frees them.
///
/// # Errors
/// `low_memory` if they cannot.
pub(crate) fn probe(buffers: &[u64]) -> Result<()> {
    let held = buffers.iter().chain([&SPARE]).map(|bytes| reserved::<u8>(*bytes));
    // Keeps the compiler from removing the unused allocations.
    std::hint::black_box(held.collect::<Result<Vec<_>>>())?;
    Ok(())
}

fn low_memory(bytes: u64) -> Error {
    let message = format!(
        "there is not enough memory for another {bytes} bytes; close other pages or programs, or use a smaller model or image"
    );
    Error::new(ErrorKind::LowMemory, message)
}
