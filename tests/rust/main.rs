//! The crate, natively, in one program: to link one takes a fraction of the time that one for each file would.
//! Tests that count or limit memory have programs of their own, and so have those that a browser runs.
#![cfg(not(target_arch = "wasm32"))]

mod cli;
mod clip_cpp;
mod convert;
mod decode;
mod descriptions;
mod embed;
mod kinds;
mod loader;
mod pillow;
mod preprocess;
mod quantised;
mod replay;
mod seeded;
mod siglip;
mod siglip_open_clip;
mod siglip_shapes;
mod siglip_unigram;
#[path = "../support/mod.rs"]
mod support;
mod tokenizer;
mod torch;
mod towers;
mod verify;
mod vocabularies;
