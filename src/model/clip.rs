//! CLIP as published by OpenAI, open_clip and Hugging Face.

pub mod checkpoint;
pub mod names;
pub mod tokenizer;
pub mod vocabulary;
