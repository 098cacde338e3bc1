//! Reads values from the JSON of a checkpoint.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::config::LayerSizes;

/// A JSON object, or several: the first one that contains a key counts.
pub(crate) struct Section<'a>(pub Vec<&'a Value>);

impl<'a> Section<'a> {
    /// `text_config_dict`, which occurs in early checkpoints, overrides `text_config`.
    pub fn hugging_face(config: &'a Value, tower: &str) -> Self {
        let keys = [format!("{tower}_config_dict"), format!("{tower}_config")];
        Self(keys.iter().filter_map(|key| config.get(key)).collect())
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find_map(|object| object.get(key)).filter(|value| !value.is_null())
    }

    pub fn number(&self, key: &str, default: u64) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(default as usize) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| malformed(format!("{key} is {value}, not a whole number")))
    }

    /// The sizes of a tower's layers, under transformers' keys.
    pub fn sizes(&self, default: LayerSizes) -> Result<LayerSizes> {
        Ok(LayerSizes {
            layers: self.number("num_hidden_layers", default.layers as u64)?,
            width: self.number("hidden_size", default.width as u64)?,
            feed_forward: self.number("intermediate_size", default.feed_forward as u64)?,
            heads: self.number("num_attention_heads", default.heads as u64)?,
            layer_norm_eps: self.float("layer_norm_eps", default.layer_norm_eps)?,
        })
    }

    pub fn float(&self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_f64().ok_or_else(|| malformed(format!("{key} is {value}, not a number")))
    }
}

pub(crate) fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this checkpoint's configuration is invalid: {what}");
    Error::new(ErrorKind::MalformedModel, message)
}
