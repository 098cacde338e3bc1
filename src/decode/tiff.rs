//! TIFF: the first image, in the kinds of pixels that PIL opens too.
//!
//! The reference is PIL's `TiffImagePlugin` with libtiff. PIL returns an image even for some damaged files;
//! here, files with missing pixels are refused.

mod chunks;
mod compression;
mod layout;
mod meaning;
mod ycbcr;

use super::sniff::Format;
use super::tags::Directory;
use super::{Alpha, RgbImage, check_header, corrupt, orientation};
use crate::error::Result;
use crate::limits::Limits;
use chunks::Source;
use layout::Layout;
use meaning::Meaning;

/// Decodes the first image of a TIFF. It is always turned upright, because PIL does so on opening.
pub(super) fn decode(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let directory = Directory::first(bytes);
    let directory = directory.ok_or_else(|| corrupt(Format::Tiff, "it has no directory"))?;
    let layout = Layout::of(&directory)?;
    check_header(Format::Tiff, layout.width, layout.height, limits)?;
    let meaning = Meaning::of(&directory, &layout)?;
    let source =
        Source { file: bytes, directory: &directory, layout: &layout, meaning: &meaning, limits };
    let samples = chunks::read(&source)?;
    let pixels = meaning.to_rgb(samples, &layout, alpha)?;
    let image = RgbImage { width: layout.width, height: layout.height, pixels };
    orientation::apply_directory(image, &directory)
}
