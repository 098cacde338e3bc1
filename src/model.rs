//! Describes models: their sizes, their tensors, and the names in their files. Nothing here computes, except the tokenizer.

pub mod added;
pub mod clip;
pub mod config;
pub mod family;
pub mod inventory;
pub mod metadata;
pub mod preprocessor;
mod section;
pub mod siglip;
pub mod tensors;
pub mod tokenizer;
pub mod tokens;
