//! The JavaScript bindings. Only these files know JavaScript; they convert and delegate.
//!
//! The page has two wasm modules. `pictures` holds no model, so a file that crashes it takes nothing else down; `towers`
//! holds the model. Each is built with the feature of its name.

#[cfg(feature = "towers")]
mod converter;
#[cfg(feature = "towers")]
mod encoder;
#[cfg(feature = "gpu")]
mod gpu;
mod limits;
#[cfg(feature = "towers")]
mod loader;
#[cfg(feature = "pictures")]
mod pictures;
mod preprocessing;

#[cfg(feature = "towers")]
pub use converter::{CheckpointConverter, Companions};
#[cfg(feature = "towers")]
pub use encoder::{ClipEncoder, EmbeddingList, ModelInfo, Tokens};
#[cfg(feature = "gpu")]
pub use gpu::Gpu;
pub use limits::Limits;
#[cfg(feature = "towers")]
pub use loader::{ModelLoader, Sha256};
#[cfg(feature = "pictures")]
pub use pictures::{
    DecodedImage, Preprocessing, decode_file, recognizes_image, take_pixels, warm_up_pictures,
};

#[cfg(feature = "towers")]
use std::ops::Range;

use js_sys::{Error as JsError, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;
use crate::memory;

/// Prints a panic's message to the console; otherwise only "unreachable" would be seen.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Grows the memory by `bytes` and keeps them for later allocations. Returns `false` if they are not
/// available. Memory that threads share should not grow after they have started.
#[cfg(all(feature = "towers", target_feature = "atomics"))]
#[wasm_bindgen]
pub fn reserve(bytes: usize) -> bool {
    /// No single allocation may exceed half of the address space.
    const MOST: usize = 1 << 30;
    let pieces = (0..bytes).step_by(MOST).map(|from| {
        let mut piece = Vec::<u8>::new();
        piece.try_reserve_exact(MOST.min(bytes - from)).map(|()| piece)
    });
    // The allocator keeps memory once it has it. `black_box` keeps the compiler from removing the unused
    // allocations.
    std::hint::black_box(pieces.collect::<Result<Vec<_>, _>>()).is_ok()
}

/// Whether `bytes` more bytes of memory are available in one piece. What JavaScript passes is copied into
/// the memory, and if that fails, the module is lost.
#[wasm_bindgen(js_name = hasRoom)]
pub fn has_room(bytes: f64) -> bool {
    memory::probe(&[bytes as u64]).is_ok()
}

/// Gives the calling thread to the thread pool permanently: it never returns.
#[cfg(all(feature = "towers", target_feature = "atomics"))]
#[wasm_bindgen(js_name = joinPool)]
pub fn join_pool() {
    crate::threads::POOL.join()
}

/// Runs the kernels so that the browser optimises them while a model is being loaded. Takes about 30 ms of
/// this thread. Throws only if this crate has a bug.
#[cfg(feature = "towers")]
#[wasm_bindgen(js_name = warmUp)]
pub fn warm_up() -> Result<(), JsValue> {
    crate::cpu::warm_up::warm_up().map_err(js_error)
}

/// How this module multiplies 8-bit weights on this processor: `"i16 pairs"`, `"signed bytes"` or `"unsigned bytes"`.
#[cfg(feature = "towers")]
#[wasm_bindgen]
pub fn products() -> String {
    crate::cpu::kernels::products().into()
}

/// The ranges as `from, to, from, to, …`, in bytes; each `to` is exclusive.
#[cfg(feature = "towers")]
fn flat(ranges: Vec<Range<u64>>) -> Vec<f64> {
    ranges.into_iter().flat_map(|range| [range.start as f64, range.end as f64]).collect()
}

/// A JavaScript `Error` with `code` (the stable error code) and `statusCode` (its HTTP status).
fn js_error(error: Error) -> JsValue {
    let thrown = JsError::new(&error.to_string());
    let status = f64::from(error.kind().status_code());
    for (key, value) in
        [("code", JsValue::from(error.code())), ("statusCode", JsValue::from(status))]
    {
        // A new Error accepts any property; if not, nothing could be reported anyway.
        let _ = Reflect::set(&thrown, &key.into(), &value);
    }
    thrown.into()
}
