//! The tokenizer of SigLIP 2: Gemma's byte-pair encoding.

pub mod tokenizer;
pub mod vocabulary;
