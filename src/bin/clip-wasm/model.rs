//! What a command is given as a model: a file, or its name on the Hub.

use std::path::{Path, PathBuf};

use clip_wasm::Limits;
use clip_wasm::error::{Error, ErrorKind, Result};

use crate::hub_name::{self, HubModel};

/// The path of a GGUF. `file_type` is of a model on the Hub: the type of its weights.
///
/// # Errors
/// Those of the Hub; `invalid_input` for a type of a file, or for an address elsewhere.
pub fn gguf(given: &Path, file_type: Option<&str>, limits: &Limits) -> Result<PathBuf> {
    match on_hub(given, limits)? {
        Some((hub, model)) => hub.gguf(&model, file_type).map_err(|error| of(given, error)),
        None if file_type.is_some() => {
            let message =
                "--type is for a model by its name on the Hub; a file has the type that it has";
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        None => Ok(given.to_path_buf()),
    }
}

/// The path of a checkpoint's folder or weights.
///
/// # Errors
/// As [`gguf`].
pub fn checkpoint(given: &Path, limits: &Limits) -> Result<PathBuf> {
    match on_hub(given, limits)? {
        Some((hub, model)) => hub.checkpoint(&model).map_err(|error| of(given, error)),
        None => Ok(given.to_path_buf()),
    }
}

#[cfg(feature = "hub")]
use crate::hub::Hub;

/// Stands for the Hub where there is no network.
#[cfg(not(feature = "hub"))]
enum Hub {}

#[cfg(not(feature = "hub"))]
impl Hub {
    fn gguf(&self, _: &HubModel, _: Option<&str>) -> Result<PathBuf> {
        match *self {}
    }

    fn checkpoint(&self, _: &HubModel) -> Result<PathBuf> {
        match *self {}
    }
}

/// The Hub and the model there, if that is what is given. As with transformers, what is on this disk comes
/// first.
fn on_hub(given: &Path, limits: &Limits) -> Result<Option<(Hub, HubModel)>> {
    let Some(text) = given.to_str().filter(|_| !given.exists()) else { return Ok(None) };
    let is_url = |scheme| text.trim().to_lowercase().starts_with(scheme);
    let found = find(text, limits)?;
    if found.is_none() && (is_url("http://") || is_url("https://")) {
        let message = format!(
            "{text} is not on the Hub, and is not fetched: download the file, and give its path"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(found)
}

#[cfg(feature = "hub")]
fn find(text: &str, limits: &Limits) -> Result<Option<(Hub, HubModel)>> {
    let hub = Hub::from_env(limits)?;
    let model = HubModel::named(text, hub.endpoint())?;
    Ok(model.map(|model| (hub, model)))
}

#[cfg(not(feature = "hub"))]
fn find(text: &str, _: &Limits) -> Result<Option<(Hub, HubModel)>> {
    let Some(model) = HubModel::named(text, hub_name::HUB)? else { return Ok(None) };
    let message = format!(
        "{text} is no file here, and models of the Hub ({}) are for a program with the feature `hub`: \
         install it with `--features hub`, or download the model, and give its path",
        model.repository
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// A name that the Hub does not know may have been meant as a path.
fn of(given: &Path, error: Error) -> Error {
    let is_path =
        given.to_str().is_some_and(|text| !hub_name::is_address(text) && !text.contains('@'));
    match error.kind() {
        ErrorKind::ModelNotFound | ErrorKind::Network if is_path => {
            error.context(format!("{} is no file here", given.display()))
        }
        _ => error,
    }
}
