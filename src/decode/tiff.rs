//! TIFF: the first image, in the kinds of pixels PIL opens too.
//!
//! The reference is PIL's `TiffImagePlugin` with libtiff. Of a file in several kinds of damage PIL makes an image all
//! the same; here it is refused where pixels are missing.

mod chunks;
mod compression;
mod layout;
mod meaning;
mod ycbcr;

use super::directory::Directory;
use super::sniff::Format;
use super::{Alpha, RgbImage, check_header, corrupt, orientation};
use crate::error::Result;
use crate::limits::Limits;
use chunks::Source;
use layout::Layout;
use meaning::Meaning;

/// Decodes the first image of a TIFF, upright whatever is wanted: PIL turns it when it opens it.
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
