//! Detects the family of a model. Models that look like CLIP but are not would run, or almost, and give
//! meaningless vectors. The other families that we recognise are refused here, by name; a setting that a family does
//! not have is refused where it is read.

use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, Value};
use crate::model::config::Family;

const SIGLIP: &str = "SigLIP";

/// Text that occurs in the names of other families' models, and the name of the family.
const MARKS: [(&str, &str); 3] =
    [("siglip", SIGLIP), ("mobileclip", "MobileCLIP"), ("fastvit", "MobileCLIP")];

/// Tensors that only another family has.
const TENSORS: [(&str, &str); 2] =
    [("visual.trunk.stem.0.conv.weight", "MobileCLIP"), ("logit_bias", SIGLIP)];

/// The error for a model of an unsupported family; `what` is a clause such as "this is a SigLIP model".
pub fn unsupported(what: impl std::fmt::Display) -> Error {
    let message = format!("{what}; choose a plain ViT CLIP with its projections, such as ViT-B-32");
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// Refuses a name of a model, an architecture or a tower that belongs to another family.
///
/// # Errors
/// `unsupported_model`
pub fn expect_no_other(name: &str) -> Result<()> {
    let lower = name.to_lowercase();
    match MARKS.iter().find(|(mark, _)| lower.contains(mark)) {
        Some((_, family)) => Err(other(family)),
        None => Ok(()),
    }
}

/// Refuses a checkpoint with tensors that only another family has.
///
/// # Errors
/// `unsupported_model`
pub fn expect_clips_tensors(has: impl Fn(&str) -> bool) -> Result<()> {
    match TENSORS.iter().find(|(tensor, _)| has(tensor)) {
        Some((_, family)) => Err(other(family)),
        None => Ok(()),
    }
}

/// Refuses the `model_type` of a Hugging Face `config.json` that is not one of CLIP's. If it is missing,
/// CLIP is assumed.
///
/// # Errors
/// `unsupported_model`
pub fn expect_clips_type(config: &Json, clips: &[&str]) -> Result<()> {
    match config.get("model_type").and_then(Json::as_str) {
        Some(name) if !clips.contains(&name) => {
            expect_no_other(name)?;
            Err(unsupported(format!("this is a {name} model")))
        }
        _ => Ok(()),
    }
}

fn other(family: &str) -> Error {
    if family == SIGLIP {
        let message = "this is said to be a SigLIP, and has not the tensors of one that is read here; load the checkpoint of a SigLIP, such as google/siglip2-base-patch16-224";
        return Error::new(ErrorKind::UnsupportedModel, message);
    }
    unsupported(format!("this is a {family} model, which is not a plain CLIP"))
}

/// The family of a GGUF's model.
///
/// # Errors
/// `unsupported_model` if it is neither a CLIP with its projections nor a SigLIP that this crate has converted.
pub fn of_gguf(header: &Header) -> Result<Family> {
    let text = |key| match header.get(key) {
        Some(Value::String(value)) => value.to_lowercase(),
        _ => String::new(),
    };
    let architecture = text("general.architecture");
    if architecture == Family::Siglip.name() {
        return Ok(Family::Siglip);
    }
    for label in [&architecture, &text("general.name"), &text("clip.projector_type")] {
        expect_no_other(label)?;
    }
    if architecture != "clip" {
        let found = if architecture.is_empty() { "no architecture" } else { &architecture };
        return Err(unsupported(format!("this GGUF file holds {found}, not clip")));
    }
    let has = |name: &str| header.tensors.iter().any(|tensor| tensor.name == name);
    let projector = header.get("clip.projector_type").is_some()
        || header.get("clip.has_llava_projector").is_some()
        || text("general.type") == "mmproj"
        || header.tensors.iter().any(|tensor| tensor.name.starts_with("mm."));
    if projector || (has("v.class_embd") && !has("visual_projection.weight")) {
        return Err(unsupported(
            "this is an mmproj file, the image half of a chat model, and has no CLIP projection",
        ));
    }
    Ok(Family::Clip)
}
