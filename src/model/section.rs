//! Reads values from the JSON of a checkpoint.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

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

    pub fn float(&self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_f64().ok_or_else(|| malformed(format!("{key} is {value}, not a number")))
    }
}

pub(crate) fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this checkpoint's configuration is invalid: {what}");
    Error::new(ErrorKind::MalformedModel, message)
}
