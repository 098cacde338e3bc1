//! Reads how a model's images are prepared, from its files into [`Preprocess`], and writes it to a GGUF's
//! metadata.
//!
//! An unknown setting is refused by name: an image prepared differently than in training gives a
//! meaningless vector, and nobody would notice.

use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, Value};
use crate::limits::{Limit, Limits};
use crate::preprocess::{Filter, Preprocess, Resize};

/// Metadata keys that only this crate uses. A file without them prepares images like OpenAI's models.
const RESIZE_MODE: &str = "clip.vision.resize_mode";
const RESIZE_SIZE: &str = "clip.vision.resize_size";
const INTERPOLATION: &str = "clip.vision.interpolation";
const FILL_COLOR: &str = "clip.vision.fill_color";
const RESCALE_FACTOR: &str = "clip.vision.rescale_factor";

/// Keys that do not affect the pixels.
const WITHOUT_MEANING: [&str; 13] = [
    "_valid_processor_keys",
    "auto_map",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_convert_rgb", // Every image is RGB by then.
    "feature_extractor_type",
    "image_processor_type",
    "input_data_format",
    "processor_class",
    "return_tensors",
    "transformers_version",
];

/// Reads the settings of transformers' `CLIPImageProcessor`, for a model that reads squares of
/// `image_size`. Missing settings take that class's defaults, except for sizes, which are the model's.
///
/// # Errors
/// `unsupported_model` for an unknown setting, `malformed_model` for an invalid one; the message names the
/// key.
pub fn of_transformers(settings: &Json, image_size: usize) -> Result<Preprocess> {
    of_processor(settings, "CLIPImageProcessor", true, Preprocess::openai(image_size))
}

/// Like [`of_transformers`], of `SiglipImageProcessor`, which squashes images and crops nothing.
///
/// # Errors
/// Those of [`of_transformers`].
pub fn of_siglip(settings: &Json, image_size: usize) -> Result<Preprocess> {
    of_processor(settings, "SiglipImageProcessor", false, Preprocess::siglip(image_size))
}

/// `crops` says whether the class crops by default, and `usual` what else it does by default.
fn of_processor(
    settings: &Json,
    class: &str,
    crops: bool,
    usual: Preprocess,
) -> Result<Preprocess> {
    let image_size = usual.image_size;
    let table = settings
        .as_object()
        .ok_or_else(|| malformed("the image processor's settings must be an object"))?;
    let get = |key: &str| table.get(key).filter(|value| !value.is_null());
    for key in ["image_processor_type", "feature_extractor_type"] {
        let name = get(key).and_then(Json::as_str).unwrap_or(class);
        let older = class.replace("ImageProcessor", "FeatureExtractor");
        if !name.starts_with(class) && name != older {
            return Err(unsupported(format!("its {key} is {name}")));
        }
    }
    let flag = |key: &str, default: bool| match get(key) {
        None => Ok(default),
        Some(Json::Bool(flag)) => Ok(*flag),
        Some(other) => Err(malformed(format!("{key} must be true or false, not {other}"))),
    };
    let mut preprocess = usual;
    let is_square = flag("default_to_square", false)?;
    if let Some(size) = get("size") {
        preprocess.resize = resize(size, is_square)?;
    }
    if !flag("do_resize", true)? {
        preprocess.resize = Resize::None;
    }
    if let Some(resample) = get("resample") {
        preprocess.filter = filter(resample)?;
    }
    if let Some(factor) = get("rescale_factor") {
        let factor = factor.as_f64();
        preprocess.rescale_factor =
            factor.ok_or_else(|| malformed("rescale_factor must be a number"))?;
    }
    if !flag("do_rescale", true)? {
        preprocess.rescale_factor = 1.0;
    }
    for (key, values) in [("image_mean", &mut preprocess.mean), ("image_std", &mut preprocess.std)]
    {
        if let Some(value) = get(key) {
            *values = channels(key, value)?;
        }
    }
    if !flag("do_normalize", true)? {
        (preprocess.mean, preprocess.std) = ([0.0; 3], [1.0; 3]);
    }
    let square = (image_size, image_size);
    if flag("do_center_crop", crops)? {
        let crop = get("crop_size").map(|crop| edges("crop_size", crop)).transpose()?;
        if let Some((width, height)) = crop.filter(|crop| *crop != square) {
            let what = format!(
                "its crop_size is {width} x {height} where the model reads {image_size} x {image_size}"
            );
            return Err(unsupported(what));
        }
    } else if preprocess.resize != (Resize::Squash { width: image_size, height: image_size }) {
        let what =
            "its do_center_crop is false, so its images do not become squares of the model's size";
        return Err(unsupported(what));
    }
    for key in table.keys().filter(|key| get(key).is_some()) {
        let is_read = matches!(
            &**key,
            "do_resize"
                | "size"
                | "resample"
                | "do_center_crop"
                | "crop_size"
                | "do_rescale"
                | "rescale_factor"
                | "do_normalize"
                | "image_mean"
                | "image_std"
        );
        // Padding that is switched off.
        let is_off = key == "do_pad" && table[key] == false;
        if !is_read && !is_off && !WITHOUT_MEANING.contains(&&**key) {
            return Err(unsupported(format!(
                "its image processor's {key} is {}, which is not supported",
                table[key]
            )));
        }
    }
    Ok(preprocess)
}

/// Reads open_clip's `preprocess_cfg`, for a model that reads squares of `image_size`. Like open_clip, uses
/// the model's own size.
///
/// # Errors
/// The same as for [`of_transformers`].
pub fn of_open_clip(settings: Option<&Json>, image_size: usize) -> Result<Preprocess> {
    let mut preprocess = Preprocess::openai(image_size);
    let Some(settings) = settings else { return Ok(preprocess) };
    let table = settings.as_object().ok_or_else(|| malformed("preprocess_cfg is not an object"))?;
    for (key, value) in table.iter().filter(|(_, value)| !value.is_null()) {
        let refuse = || {
            Err(unsupported(format!(
                "its preprocess_cfg has {key} {value}, which is not supported"
            )))
        };
        match (&**key, value.as_str()) {
            ("size", _) => {
                let (width, height) = edges(key, value)?;
                if (width, height) != (image_size, image_size) {
                    let what = format!(
                        "its preprocess_cfg has size {value} where the model reads {image_size} x {image_size}"
                    );
                    return Err(unsupported(what));
                }
            }
            ("mode", Some("RGB")) => {}
            ("mean", _) => preprocess.mean = channels(key, value)?,
            ("std", _) => preprocess.std = channels(key, value)?,
            // If training chooses randomly among several filters, evaluation uses this one.
            ("interpolation", Some("bicubic" | "random")) => preprocess.filter = Filter::Bicubic,
            ("interpolation", Some("bilinear")) => preprocess.filter = Filter::Bilinear,
            ("resize_mode", Some("shortest")) => preprocess.resize = Resize::Shortest(image_size),
            ("resize_mode", Some("longest")) => preprocess.resize = Resize::Longest,
            ("resize_mode", Some("squash")) => {
                preprocess.resize = Resize::Squash { width: image_size, height: image_size };
            }
            ("fill_color", _) => preprocess.fill = colour(key, value)?,
            _ => return refuse(),
        }
    }
    Ok(preprocess)
}

/// Reads a GGUF's metadata; `mean` and `std` come from other keys.
///
/// # Errors
/// `unsupported_model` for an unknown mode or filter, `malformed_model`.
pub fn of_gguf(
    header: &Header,
    image_size: usize,
    mean: [f32; 3],
    std: [f32; 3],
) -> Result<Preprocess> {
    let mut preprocess = Preprocess { mean, std, ..Preprocess::openai(image_size) };
    let wrong = |key: &str| malformed(format!("its metadata's {key} is invalid"));
    let text = |key: &str| {
        header.get(key).map(|value| value.to_string().map_err(|_| wrong(key))).transpose()
    };
    let numbers = |key: &str| -> Result<Option<Vec<u32>>> {
        let Some(value) = header.get(key) else { return Ok(None) };
        let values = value.to_vec().map_err(|_| wrong(key))?;
        let values: Result<Vec<u32>, _> = values.iter().map(Value::to_u32).collect();
        values.map(Some).map_err(|_| wrong(key))
    };
    let size = match numbers(RESIZE_SIZE)?.as_deref() {
        None => (image_size, image_size),
        Some(&[width, height]) => (width as usize, height as usize),
        Some(_) => return Err(wrong(RESIZE_SIZE)),
    };
    preprocess.resize = match text(RESIZE_MODE)?.map(String::as_str) {
        None | Some("shortest") if size.0 == size.1 => Resize::Shortest(size.0),
        Some("longest") => Resize::Longest,
        Some("squash") => Resize::Squash { width: size.0, height: size.1 },
        Some("none") => Resize::None,
        None | Some("shortest") => return Err(wrong(RESIZE_SIZE)),
        Some(other) => return Err(unsupported(format!("its {RESIZE_MODE} is {other}"))),
    };
    if let Some(name) = text(INTERPOLATION)? {
        let filter = Filter::named(name);
        preprocess.filter =
            filter.ok_or_else(|| unsupported(format!("its {INTERPOLATION} is {name}")))?;
    }
    if let Some(fill) = numbers(FILL_COLOR)? {
        let levels: Option<Vec<u8>> = fill.iter().map(|level| u8::try_from(*level).ok()).collect();
        let levels = levels.and_then(|levels| levels.try_into().ok());
        preprocess.fill = levels.ok_or_else(|| wrong(FILL_COLOR))?;
    }
    if let Some(factor) = header.get(RESCALE_FACTOR) {
        preprocess.rescale_factor = factor.to_f64().map_err(|_| wrong(RESCALE_FACTOR))?;
    }
    Ok(preprocess)
}

/// The metadata that [`of_gguf`] reads: only the settings that differ from OpenAI's.
pub fn metadata(preprocess: &Preprocess) -> Vec<(&'static str, Value)> {
    let usual = Preprocess::openai(preprocess.image_size);
    let list = |numbers: &[u32]| Value::Array(numbers.iter().copied().map(Value::U32).collect());
    let mut entries = Vec::new();
    if preprocess.resize != usual.resize {
        entries.push((RESIZE_MODE, Value::String(preprocess.resize.name().into())));
        let size = preprocess.resize.size();
        entries.extend(size.map(|size| (RESIZE_SIZE, list(&size.map(|edge| edge as u32)))));
    }
    if preprocess.filter != usual.filter {
        entries.push((INTERPOLATION, Value::String(preprocess.filter.name().into())));
    }
    if preprocess.fill != usual.fill {
        entries.push((FILL_COLOR, list(&preprocess.fill.map(u32::from))));
    }
    if preprocess.rescale_factor != usual.rescale_factor {
        entries.push((RESCALE_FACTOR, Value::F64(preprocess.rescale_factor)));
    }
    entries
}

/// Checks what the types cannot, for settings from any file.
///
/// # Errors
/// `malformed_model`, `limit_exceeded`.
pub fn validate(preprocess: &Preprocess, limits: &Limits) -> Result<()> {
    let [width, height] = preprocess.resize.size().unwrap_or([1, 1]);
    if width == 0 || height == 0 {
        return Err(malformed("its images would be resized to a width or height of 0"));
    }
    limits
        .check(Limit::ImageSize, width.max(height) as u64)
        .map_err(|error| error.context("the size to which this model's images are resized"))?;
    let is_fine = preprocess.std.iter().all(|std| std.is_finite() && *std > 0.0)
        && preprocess.mean.iter().all(|mean| mean.is_finite())
        && preprocess.rescale_factor.is_finite()
        && preprocess.rescale_factor > 0.0;
    if is_fine {
        Ok(())
    } else {
        Err(malformed("its image_mean, image_std or rescale_factor is invalid"))
    }
}

/// Reads any form of `size`.
fn resize(size: &Json, is_square: bool) -> Result<Resize> {
    let keys: Vec<&str> = match size.as_object() {
        Some(table) => {
            table.iter().filter(|(_, edge)| !edge.is_null()).map(|(key, _)| &**key).collect()
        }
        None => vec![],
    };
    match &keys[..] {
        [] if size.is_u64() && !is_square => Ok(Resize::Shortest(edge("size", size)?)),
        ["shortest_edge"] => Ok(Resize::Shortest(edge("size", &size["shortest_edge"])?)),
        _ => {
            let (width, height) = edges("size", size)?;
            Ok(Resize::Squash { width, height })
        }
    }
}

/// Width and height from a number, a pair (height first), or an object with both.
fn edges(key: &str, size: &Json) -> Result<(usize, usize)> {
    match size {
        Json::Number(_) => edge(key, size).map(|edge| (edge, edge)),
        Json::Array(pair) if pair.len() == 2 => Ok((edge(key, &pair[1])?, edge(key, &pair[0])?)),
        Json::Object(table) => {
            let others = |(name, edge): &(&String, &Json)| {
                !edge.is_null() && !matches!(&***name, "width" | "height")
            };
            match (table.get("width"), table.get("height"), table.iter().find(others)) {
                (Some(width), Some(height), None) => Ok((edge(key, width)?, edge(key, height)?)),
                _ => Err(unsupported(format!("its {key} is {size}, which is not supported"))),
            }
        }
        _ => Err(unsupported(format!("its {key} is {size}, which is not supported"))),
    }
}

fn edge(key: &str, edge: &Json) -> Result<usize> {
    let number = edge.as_u64().and_then(|edge| usize::try_from(edge).ok()).filter(|edge| *edge > 0);
    number.ok_or_else(|| malformed(format!("{key} has {edge}, which is not a number of pixels")))
}

/// Reads PIL's number of a filter. transformers treats any name as bilinear.
fn filter(resample: &Json) -> Result<Filter> {
    let by_number = match resample.as_u64() {
        Some(1) => Some(Filter::Lanczos),
        Some(2) => Some(Filter::Bilinear),
        Some(3) => Some(Filter::Bicubic),
        Some(4) => Some(Filter::Box),
        Some(5) => Some(Filter::Hamming),
        _ => None,
    };
    by_number.ok_or_else(|| {
        unsupported(format!(
            "its resample is {resample}; Pillow's numbers are supported: 1 for lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming"
        ))
    })
}

fn channels(key: &str, value: &Json) -> Result<[f32; 3]> {
    if let Some(all) = value.as_f64() {
        return Ok([all as f32; 3]);
    }
    let list = value.as_array().into_iter().flatten();
    let channels: Vec<f32> = list.filter_map(Json::as_f64).map(|x| x as f32).collect();
    channels.try_into().map_err(|_| malformed(format!("{key} must be three numbers")))
}

fn colour(key: &str, value: &Json) -> Result<[u8; 3]> {
    let level = |value: &Json| value.as_u64().and_then(|level| u8::try_from(level).ok());
    let levels = match value {
        Json::Array(list) => list.iter().map(level).collect::<Option<Vec<u8>>>(),
        _ => level(value).map(|level| vec![level; 3]),
    };
    let levels = levels.and_then(|levels| levels.try_into().ok());
    levels.ok_or_else(|| malformed(format!("{key} is {value}, not a colour of levels 0 to 255")))
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model's configuration is invalid: {what}");
    Error::new(ErrorKind::MalformedModel, message)
}

fn unsupported(what: impl std::fmt::Display) -> Error {
    let message = format!(
        "{what}; its images cannot be prepared as in training, so choose another model or correct its configuration"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}
