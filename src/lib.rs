//! CLIP embeddings in the browser.

pub mod config;
pub mod error;
pub mod format;
pub mod kernels;
