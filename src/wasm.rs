//! The bindings: the only files that know JavaScript. Everything here converts and delegates.
//!
//! The page has two modules of them: `pictures`, which a stranger's file can only end by itself, and `towers`, which
//! holds the model. Each is built with the feature of its name.

#[cfg(feature = "towers")]
mod converter;
#[cfg(feature = "towers")]
mod encoder;
mod limits;
#[cfg(feature = "towers")]
mod loader;
#[cfg(feature = "pictures")]
mod pictures;
mod preprocessing;

#[cfg(feature = "towers")]
pub use converter::{CheckpointConverter, Companions};
#[cfg(feature = "towers")]
pub use encoder::{ClipEncoder, ModelInfo, Tokens};
pub use limits::Limits;
#[cfg(feature = "towers")]
pub use loader::{ModelLoader, Sha256};
#[cfg(feature = "pictures")]
pub use pictures::{Preprocessing, prepare_file, prepare_pixels, recognizes_image};

#[cfg(feature = "towers")]
use std::ops::Range;

use js_sys::{Error as JsError, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;
use crate::memory;

/// Prints a panic's message to the console; without this only "unreachable" is seen.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Grows the memory by `bytes` and keeps them for what is allocated later; `false` where they are not to be
/// had. Memory that threads share is best not grown once they run.
#[cfg(all(feature = "towers", target_feature = "atomics"))]
#[wasm_bindgen]
pub fn reserve(bytes: usize) -> bool {
    /// No allocation may have half the address space.
    const MOST: usize = 1 << 30;
    let pieces = (0..bytes).step_by(MOST).map(|from| {
        let mut piece = Vec::<u8>::new();
        piece.try_reserve_exact(MOST.min(bytes - from)).map(|()| piece)
    });
    // The allocator keeps what it has once been given. A compiler that saw through this would ask it for nothing.
    std::hint::black_box(pieces.collect::<Result<Vec<_>, _>>()).is_ok()
}

/// Whether there is memory for so many bytes more in one piece: what JavaScript passes is copied into it, and
/// where that fails the module is lost.
#[wasm_bindgen(js_name = hasRoom)]
pub fn has_room(bytes: f64) -> bool {
    memory::probe(&[bytes as u64]).is_ok()
}

/// Gives the calling thread to the products of all the others, for good: it does not return.
#[cfg(all(feature = "towers", target_feature = "atomics"))]
#[wasm_bindgen(js_name = joinPool)]
pub fn join_pool() {
    crate::cpu::threads::POOL.join()
}

/// Gets the browser to compile the kernels well while a model is on its way. Takes some 30 ms of this thread.
#[cfg(feature = "towers")]
#[wasm_bindgen(js_name = warmUp)]
pub fn warm_up() -> Result<(), JsValue> {
    crate::cpu::warm_up::warm_up().map_err(js_error)
}

/// As `from, to, from, to, …`.
#[cfg(feature = "towers")]
fn flat(ranges: Vec<Range<u64>>) -> Vec<f64> {
    ranges.into_iter().flat_map(|range| [range.start as f64, range.end as f64]).collect()
}

/// An `Error` with `code` and `statusCode`.
fn js_error(error: Error) -> JsValue {
    let thrown = JsError::new(&error.to_string());
    let status = f64::from(error.kind().status_code());
    for (key, value) in
        [("code", JsValue::from(error.code())), ("statusCode", JsValue::from(status))]
    {
        // A fresh Error takes any property, so there is nothing to tell the caller if it does not.
        let _ = Reflect::set(&thrown, &key.into(), &value);
    }
    thrown.into()
}
