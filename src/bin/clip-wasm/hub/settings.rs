//! What the environment says of the Hub, as Python's huggingface_hub reads it.

use std::env;
use std::path::PathBuf;

use clip_wasm::error::{Error, ErrorKind, Result};
use hf_hub::Cache;
use ureq::http::Uri;

use crate::hub_name::HUB;

pub struct Settings {
    /// `HF_ENDPOINT`: the Hub, or a mirror of it, without a slash at the end.
    pub endpoint: String,
    /// `HF_TOKEN`, or the token that `hf auth login` has stored.
    pub token: Option<String>,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`: files of the Hub.
    pub cache: PathBuf,
    /// `HF_ASSETS_CACHE`, or `assets` in `HF_HOME`: what programs make of such files.
    pub assets: PathBuf,
    /// `HF_HUB_OFFLINE`: the Hub may not be asked.
    pub is_offline: bool,
}

impl Settings {
    /// # Errors
    /// `invalid_input` if a variable has an invalid value, or if none tells where the cache is.
    pub fn from_env() -> Result<Self> {
        let path = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(env::home_dir()?.join(".cache/huggingface")));
        let home = home.ok_or_else(|| {
            let message = "there is no folder for the models of the Hub: set HF_HOME to one";
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        Ok(Self {
            endpoint: endpoint(text("HF_ENDPOINT")?)?,
            token: token(text("HF_TOKEN")?.or_else(|| Cache::new(home.join("hub")).token()))?,
            cache: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            assets: path("HF_ASSETS_CACHE").unwrap_or_else(|| home.join("assets")),
            is_offline: text("HF_HUB_OFFLINE")?
                .is_some_and(|it| ["1", "on", "yes", "true"].contains(&it.to_lowercase().as_str())),
        })
    }
}

fn text(name: &str) -> Result<Option<String>> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| {
        Error::new(ErrorKind::InvalidInput, format!("the variable {name} is not UTF-8"))
    })?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn endpoint(given: Option<String>) -> Result<String> {
    let Some(given) = given else { return Ok(HUB.into()) };
    let has_scheme = given.starts_with("http://") || given.starts_with("https://");
    let url = if has_scheme { given.clone() } else { format!("https://{given}") };
    let url = url.trim_end_matches('/');
    if url.parse::<Uri>().is_ok_and(|uri| uri.host().is_some() && uri.query().is_none()) {
        return Ok(url.into());
    }
    let message =
        format!("HF_ENDPOINT is {given:?}, not the address of a mirror of the Hub, such as {HUB}");
    Err(Error::new(ErrorKind::InvalidInput, message))
}

fn token(given: Option<String>) -> Result<Option<String>> {
    if given.iter().flat_map(|it| it.bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Ok(given);
    }
    let message = "HF_TOKEN is not a token: it has other characters than one can have";
    Err(Error::new(ErrorKind::InvalidInput, message))
}
