//! CLIP's two encoders, natively and in the browser: images and texts become vectors that can be
//! compared, with no server.
//!
//! ```text
//! image    bytes  -> decode -> preprocess -> model::vision -> embedding -> JSON
//! text     string -> tokenizer            -> model::text   -> embedding -> JSON
//! weights  URL or file -> stream (cache, verify) -> wasm memory -> format -> config -> model
//! ```
//!
//! [`ClipEncoder`] is the facade of the first two flows and [`ModelLoader`] of the third. `wasm` alone
//! knows JavaScript; everything else builds and is tested natively.

pub mod config;
pub mod convert;
pub mod decode;
pub mod embedding;
pub mod encoder;
pub mod error;
pub mod format;
#[cfg(not(target_arch = "wasm32"))]
pub mod inspect;
pub mod kernels;
pub mod loader;
pub mod model;
pub mod preprocess;
pub mod threads;
pub mod tokenizer;
pub mod warm_up;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
pub mod weights;

pub use config::Tower;
pub use encoder::ClipEncoder;
pub use error::{Error, ErrorKind, Result};
pub use loader::ModelLoader;
