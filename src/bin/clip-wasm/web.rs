//! Requests, with a code for each failure: `network` if there is no answer or it ends too early,
//! `http_status` if it is an error. A server may be silent for so long, and redirect so often.

use std::io::Read;
use std::sync::LazyLock;
use std::time::Duration;

use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::{Limit, Limits};
use ureq::http::Response;
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

/// As `idleTimeout` in JavaScript.
const SILENCE: Duration = Duration::from_secs(20);
const CONNECTING: Duration = Duration::from_secs(30);
/// For all of an image: a server that sends one byte at a time must not hold up the other lines.
const IMAGE: Duration = Duration::from_secs(120);
const REDIRECTS: u32 = 5;

/// For requests without a token.
static AGENT: LazyLock<Agent> = LazyLock::new(Agent::new_with_defaults);

/// The file of an image.
///
/// # Errors
/// `network`, `http_status`, `invalid_input` for an address that is none, `image_too_large`.
pub fn image(url: &str, limits: &Limits) -> Result<Vec<u8>> {
    let request = AGENT.get(url).header("user-agent", user_agent());
    let response = call(request.config().timeout_global(Some(IMAGE)).build(), url)?;
    if !response.status().is_success() {
        return Err(status(&response, url));
    }
    read(response, url, limits, Limit::ImageBytes)
}

pub fn user_agent() -> &'static str {
    concat!("clip-wasm/", env!("CARGO_PKG_VERSION"))
}

/// The response to a request, whatever its status.
pub fn call(request: RequestBuilder<WithoutBody>, url: &str) -> Result<Response<Body>> {
    let request = request
        .config()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .timeout_connect(Some(CONNECTING))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build();
    request.call().map_err(|error| match error {
        ureq::Error::TooManyRedirects => {
            let message = format!("{url} redirects more than {REDIRECTS} times");
            Error::new(ErrorKind::HttpStatus, message)
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Error::new(ErrorKind::InvalidInput, format!("{url} is not an address: {error}"))
        }
        _ => {
            let message = format!(
                "no answer from {url}: the network is down, or the address is wrong ({error})"
            );
            Error::new(ErrorKind::Network, message)
        }
    })
}

/// The error of a response that is one.
pub fn status(response: &Response<Body>, url: &str) -> Error {
    Error::new(ErrorKind::HttpStatus, format!("{url} answered {}", response.status()))
}

/// The body of a response, if it is within the limit: as announced, and as it comes.
pub fn read(response: Response<Body>, url: &str, limits: &Limits, limit: Limit) -> Result<Vec<u8>> {
    let within = |bytes| limits.check(limit, bytes).map_err(|error| error.context(url));
    let body = response.into_body();
    within(body.content_length().unwrap_or(0))?;
    let mut bytes = Vec::new();
    let mut reader = body.into_reader().take(limits.get(limit).saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|error| interrupted(url, bytes.len() as u64, &error))?;
    within(bytes.len() as u64)?;
    Ok(bytes)
}

pub fn interrupted(url: &str, after: u64, why: &dyn std::fmt::Display) -> Error {
    let message = format!("the connection ended after {after} bytes of {url} ({why}); try again");
    Error::new(ErrorKind::Network, message)
}
