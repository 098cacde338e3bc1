//! The tensors of a model, whatever its family.

use crate::error::Result;
use crate::format::gguf::Header;
use crate::model::config::{Family, ModelConfig};
use crate::model::inventory::{self, Expected, Role};
use crate::model::{clip, siglip};

/// Every tensor of a model, text first, in the order of computation.
pub fn tensors(config: &ModelConfig) -> Vec<Expected> {
    match config.family {
        Family::Clip => clip::names::tensors(config),
        Family::Siglip => siglip::names::tensors(config),
    }
}

/// Matches a file's tensors with those that its configuration requires: see [`inventory::assign`].
///
/// # Errors
/// `missing_tensor` or `malformed_model`, with the tensor's name.
pub fn assign(config: &ModelConfig, header: &mut Header) -> Result<Vec<Option<Role>>> {
    if config.family == Family::Clip {
        clip::names::rename_mlp_layers(config, &mut header.tensors);
    }
    inventory::assign(&tensors(config), &header.tensors)
}
