#![doc = include_str!("../docs/crate.md")]
//!
//! # Three flows
//!
//! ```text
//! image    bytes  -> decode -> preprocess -> model::vision -> embedding -> JSON
//! text     string -> tokenizer            -> model::text   -> embedding -> JSON
//! weights  URL or file -> stream (cache, verify) -> wasm memory -> format -> config -> model
//! ```
//!
//! [`ClipEncoder`] is the facade of the first two flows and [`ModelLoader`] of the third. `wasm` alone
//! knows JavaScript; everything else builds and is tested natively.

#![warn(missing_docs)]
#![deny(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

pub mod config;
pub mod convert;
pub mod decode;
pub mod embedding;
mod encoder;
pub mod error;
pub mod format;
#[cfg(not(target_arch = "wasm32"))]
pub mod inspect;
// For the benchmarks; no part of what is kept stable.
#[doc(hidden)]
#[allow(unsafe_code, reason = "SIMD reads and writes by pointers, and threads share a result")]
pub mod kernels;
mod limits;
mod loader;
mod memory;
mod model;
pub mod preprocess;
#[allow(unsafe_code, reason = "work is shared from the caller's stack frame")]
mod threads;
pub mod tokenizer;
#[cfg(any(target_arch = "wasm32", test))]
mod warm_up;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
mod weights;

pub use config::Tower;
pub use embedding::Embedding;
pub use encoder::{ClipEncoder, ModelInfo};
pub use error::{Error, ErrorKind, Result};
pub use limits::{Limit, Limits};
pub use loader::ModelLoader;
