//! Describes models: their sizes, their tensors, and the names in their files. Nothing here computes, except the tokenizer.

pub mod clip;
pub mod config;
pub mod family;
pub mod inventory;
pub mod preprocessor;
