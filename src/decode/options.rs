//! What the references disagree on, for whoever does not want what is the default here.

use crate::error::{Error, ErrorKind, Result};

/// How an image file is read. The default is what Pillow's `convert("RGB")` makes of it after `exif_transpose`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What becomes of an orientation that the file names.
    pub orientation: Orientation,
    /// What becomes of transparency.
    pub alpha: Alpha,
}

/// Which way up an image is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// As its Exif data or its XMP packet says: Pillow after `ImageOps.exif_transpose`.
    #[default]
    Exif,
    /// As it is stored: Pillow without, as OpenAI's own examples open images. A TIFF is turned all the same, as
    /// Pillow turns it on opening.
    Ignore,
}

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// It is dropped, and the colour shows that lies beneath: Pillow's `convert("RGB")`.
    #[default]
    Drop,
    /// The image is laid over white: Pillow's `alpha_composite`.
    White,
    /// The image is laid over black.
    Black,
}

impl Orientation {
    /// `exif` or `ignore`.
    ///
    /// # Errors
    /// `invalid_input` for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "exif" => Ok(Self::Exif),
            "ignore" => Ok(Self::Ignore),
            _ => Err(Error::new(ErrorKind::InvalidInput, "an orientation is exif or ignore")),
        }
    }
}

impl Alpha {
    /// `drop`, `white` or `black`.
    ///
    /// # Errors
    /// `invalid_input` for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "drop" => Ok(Self::Drop),
            "white" => Ok(Self::White),
            "black" => Ok(Self::Black),
            _ => Err(Error::new(ErrorKind::InvalidInput, "alpha is drop, white or black")),
        }
    }

    /// The level of every channel of what an image is laid over.
    pub(super) fn background(self) -> Option<u8> {
        match self {
            Self::Drop => None,
            Self::White => Some(255),
            Self::Black => Some(0),
        }
    }
}
