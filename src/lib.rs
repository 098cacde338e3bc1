//! CLIP embeddings in the browser.

pub mod error;
