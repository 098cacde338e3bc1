//! CLIP, as OpenAI, open_clip and Hugging Face publish it.

pub mod checkpoint;
pub mod config;
pub mod names;
pub mod preprocessor;
pub mod tokenizer;
pub mod vocabulary;
