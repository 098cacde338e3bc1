//! SigLIP and SigLIP 2 of fixed image sizes, as transformers' `SiglipModel` publishes them.

pub mod checkpoint;
pub mod names;
pub mod tokenizer;
pub mod vocabulary;
