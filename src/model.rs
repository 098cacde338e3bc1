//! What a model is: its sizes, its tensors, and what its files are called. Nothing here computes.

pub mod clip;
pub mod config;
pub mod family;
pub mod inventory;
