//! Large allocations that may fail.
//!
//! A failed allocation ends the program, and in WebAssembly the instance with its model. So whatever a stranger's
//! numbers decide the size of is asked for in a way that can be refused. What decoders and candle allocate within
//! themselves cannot be; for that, the same room is asked for just before and given back, and then it is there:
//! the allocator keeps what it has had, and nothing else allocates meanwhile but the other threads' small buffers.

use crate::error::{Error, ErrorKind, Result};

/// An empty vector with room for so many values, and no more.
///
/// # Errors
/// `low_memory` where there is no such room.
pub(crate) fn reserved<T>(len: u64) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, len)?;
    Ok(values)
}

/// Makes room for so many values more, and for no others.
///
/// # Errors
/// `low_memory` where there is no such room.
pub(crate) fn reserve<T>(values: &mut Vec<T>, more: u64) -> Result<()> {
    let room = usize::try_from(more).ok().and_then(|more| values.try_reserve_exact(more).ok());
    room.ok_or_else(|| low_memory(more.saturating_mul(size_of::<T>() as u64)))
}

/// Makes room for so many values in all, those among them that are there.
///
/// # Errors
/// `low_memory` where there is no such room.
pub(crate) fn reserve_all<T>(values: &mut Vec<T>, len: u64) -> Result<()> {
    let more = len.saturating_sub(values.len() as u64);
    reserve(values, more)
}

/// So many times the same value.
///
/// # Errors
/// `low_memory` where there is no room for them.
pub(crate) fn filled<T: Copy>(len: u64, value: T) -> Result<Vec<T>> {
    let mut values = reserved(len)?;
    values.resize(len as usize, value);
    Ok(values)
}

/// The values of an iterator, of which there are `len` at most.
///
/// # Errors
/// `low_memory` where there is no room for them.
pub(crate) fn collected<T>(len: usize, values: impl Iterator<Item = T>) -> Result<Vec<T>> {
    let mut all = reserved(len as u64)?;
    all.extend(values);
    Ok(all)
}

/// Beside the buffers that are asked for: small ones, which come and go in between, and would take their room.
const SPARE: u64 = 64 << 10;

/// Sees to it that buffers of so many bytes can be had, all at once: takes them, touches none, and gives them back.
///
/// # Errors
/// `low_memory` where they cannot.
pub(crate) fn probe(buffers: &[u64]) -> Result<()> {
    let held = buffers.iter().chain([&SPARE]).map(|bytes| reserved::<u8>(*bytes));
    // A compiler that saw through this would ask for nothing.
    std::hint::black_box(held.collect::<Result<Vec<_>>>())?;
    Ok(())
}

fn low_memory(bytes: u64) -> Error {
    let message = format!(
        "there is no memory for {bytes} bytes more; close other pages or programs, or use a smaller model or image"
    );
    Error::new(ErrorKind::LowMemory, message)
}
