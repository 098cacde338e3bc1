//! The errors of the Hub, which says in headers what is wrong; as in www/lib/shared/hub.js.

use clip_wasm::error::{Error, ErrorKind};
use ureq::Body;
use ureq::ResponseExt;
use ureq::http::{Response, Uri};

use super::Hub;
use crate::web;

impl Hub {
    /// The error of a response with another status than 2xx, to a request for a repository.
    pub fn refusal(&self, response: &Response<Body>, url: &str, repository: &str) -> Error {
        let endpoint: Uri = self.settings.endpoint.parse().unwrap_or_default();
        let (host, origin) = (endpoint.authority().map_or("", |it| it.as_str()), self.endpoint());
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let has_token = self.settings.token.is_some();
        let is_hub = response.get_uri().authority() == endpoint.authority();
        let status = response.status().as_u16();
        let (kind, message) = match (status, code) {
            // Another host, which stores large files.
            _ if !is_hub => return web::status(response, url),
            (401 | 403 | 404, Some("RevisionNotFound")) => (
                ErrorKind::ModelNotFound,
                format!(
                    "{repository} on {host} has no such revision ({url}): choose another, or leave it out"
                ),
            ),
            (404, Some("EntryNotFound")) => return web::status(response, url),
            (401 | 403 | 404, Some("GatedRepo")) | (403, _) => {
                let then = if has_token {
                    "with the account of this token".into()
                } else {
                    format!(
                        "and set HF_TOKEN to a token of your account ({origin}/settings/tokens)"
                    )
                };
                let message = format!(
                    "{repository} is given only to those who accept its terms: do so at {origin}/{repository} {then}"
                );
                (ErrorKind::AccessDenied, message)
            }
            (401, _) if has_token => (
                ErrorKind::AccessDenied,
                format!(
                    "{host} refuses the token for {repository}: it is wrong, has expired, or may not read this model"
                ),
            ),
            (401, _) | (404, Some("RepoNotFound")) => (
                ErrorKind::ModelNotFound,
                format!(
                    "there is no model {repository} on {host}, or it is private: check its name, or set HF_TOKEN to a token of an account that may read it"
                ),
            ),
            _ => return web::status(response, url),
        };
        Error::new(kind, message)
    }
}
