#![doc = include_str!("../docs/crate.md")]
//!
//! # Three flows
//!
//! ```text
//! image    bytes  -> decode -> preprocess   -> cpu::vision -> embedding
//! text     string -> model::tokenizer       -> cpu::text   -> embedding
//! weights  bytes as they arrive -> loader -> format -> model -> weights
//! ```
//!
//! With the feature `gpu`, `gpu` stands in the place of `cpu` for who asks for it; `backend` chooses.
//!
//! [`ClipEncoder`] is the entry of the first two flows, [`ModelLoader`] of the third. Only `wasm` knows
//! JavaScript; everything else builds and is tested natively.

// Each wasm module contains only the code that its bindings call; the rest is dead code there.
#![cfg_attr(not(all(feature = "pictures", feature = "towers")), allow(dead_code))]
#![warn(missing_docs)]
#![deny(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

mod backend;
mod batch;
pub mod convert;
#[doc(hidden)]
pub mod cpu;
pub mod decode;
pub mod embedding;
mod encoder;
pub mod error;
pub mod format;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(not(target_arch = "wasm32"))]
pub mod inspect;
mod limits;
mod loader;
mod memory;
pub mod model;
pub mod preprocess;
#[allow(unsafe_code, reason = "work is shared from the caller's stack frame")]
mod threads;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
mod weights;

pub use embedding::Embedding;
pub use encoder::{ClipEncoder, ModelInfo};
pub use error::{Error, ErrorKind, Result};
pub use limits::{Limit, Limits};
pub use loader::ModelLoader;
pub use model::config::Tower;
#[cfg(not(target_arch = "wasm32"))]
pub use threads::use_threads;
