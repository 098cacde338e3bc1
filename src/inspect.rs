//! Describes a GGUF file in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::format::expect_gguf;
use crate::format::gguf::Header;
use crate::limits::Limits;
use crate::model::config::{LayerSizes, ModelConfig};
use crate::model::metadata::from_gguf;
use crate::model::preprocessor;
use crate::model::tensors::assign;
use crate::preprocess::Preprocess;

/// Reads a file's header and returns a description of its towers, sizes and types.
///
/// ```no_run
/// use clip_wasm::{Limits, inspect::inspect};
/// print!("{}", inspect("model.gguf".as_ref(), &Limits::default())?);
/// # Ok::<(), clip_wasm::Error>(())
/// ```
///
/// # Errors
/// `io`, and the errors with which a [`crate::ModelLoader`] refuses a file.
pub fn inspect(path: &Path, limits: &Limits) -> Result<String> {
    let of = |error: Error| error.context(path.display());
    let (mut header, size) = read_header(path, limits).map_err(of)?;
    let config = from_gguf(&header, limits).map_err(of)?;
    assign(&config, &mut header).map_err(of)?;
    if size < header.file_size() {
        let message = format!(
            "the file ends after {size} of {} bytes; download it again",
            header.file_size()
        );
        return Err(of(Error::new(ErrorKind::TruncatedModel, message)));
    }
    Ok(describe(&config, &header, size))
}

fn read_header(path: &Path, limits: &Limits) -> Result<(Header, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    loop {
        let read = file.by_ref().take(1 << 20).read_to_end(&mut bytes)?;
        expect_gguf(&bytes)?;
        if let Some(header) = Header::parse(&bytes, limits)? {
            return Ok((header, size));
        }
        if read == 0 {
            let message =
                format!("the file ends after {size} bytes, inside its header; download it again");
            return Err(Error::new(ErrorKind::TruncatedModel, message));
        }
    }
}

fn describe(config: &ModelConfig, header: &Header, size: u64) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        writeln!(text, "{label:<12}{value}").expect("a string takes any text");
    };
    line("name", config.name.clone().unwrap_or_else(|| "(none)".into()));
    line("size", format!("{size} bytes, {} tensors", header.tensors.len()));
    line("family", config.family.name().into());
    line("embedding", format!("{} components", config.projection_dim));
    line("activation", config.activation.name().into());
    if let Some(scale) = config.logit_scale {
        line("logit scale", scale.to_string());
    }
    if let Some(bias) = config.logit_bias {
        line("logit bias", bias.to_string());
    }
    if let Some(vision) = &config.vision {
        line("vision", layers(&vision.sizes));
        let (image, patch) = (vision.image_size, vision.patch_size);
        line("", format!("images of {image} x {image} pixels, patches of {patch} x {patch}"));
        let preprocess = &vision.preprocess;
        line("", format!("mean {:?}, std {:?}", preprocess.mean, preprocess.std));
        // Only if it differs from OpenAI's.
        if !preprocessor::metadata(preprocess).is_empty() {
            let Preprocess { resize, filter, fill, rescale_factor, .. } = preprocess;
            let to = resize.size().map(|[width, height]| format!(" to {width} x {height}"));
            let resize = format!("{}{}", resize.name(), to.unwrap_or_default());
            let filter = filter.name();
            line(
                "",
                format!("resize {resize}, {filter}, fill {fill:?}, rescaled by {rescale_factor}"),
            );
        }
    }
    if let Some(text) = &config.text {
        line("text", config.text.as_ref().map(|text| layers(&text.sizes)).unwrap_or_default());
        let (context, vocabulary) = (text.context, text.vocabulary);
        line("", format!("{context} tokens at most, of {vocabulary} in the vocabulary"));
    }
    let mut types = BTreeMap::<String, (usize, u64)>::new();
    for tensor in &header.tensors {
        let (count, bytes) = types.entry(format!("{:?}", tensor.dtype).to_lowercase()).or_default();
        *count += 1;
        *bytes += tensor.size;
    }
    for (name, (count, bytes)) in types {
        line("type", format!("{name}: {count} tensors, {bytes} bytes"));
    }
    text
}

fn layers(sizes: &LayerSizes) -> String {
    format!(
        "{} layers, width {}, {} heads, feed-forward {}",
        sizes.layers, sizes.width, sizes.heads, sizes.feed_forward
    )
}
