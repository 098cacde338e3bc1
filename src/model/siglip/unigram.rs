//! The tokenizer of SigLIP 1: sentencepiece's unigram model.
//!
//! It is computed here, not by the crate tokenizers, because that gives other ids: it normalises a text by graphemes
//! where sentencepiece takes the longest match, and adds scores in f64 where sentencepiece does in f32, so that another of
//! two equally probable ways wins.

mod charsmap;
mod pieces;
pub mod tokenizer;
pub mod vocabulary;
