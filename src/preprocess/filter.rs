//! Pillow's filters for resizing: what each pixel of the source weighs, by its distance.

use std::f64::consts::PI;

/// A filter of `PIL.Image.Resampling`. `NEAREST`, which is none, is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The mean of the pixels beneath.
    Box,
    /// A triangle.
    Bilinear,
    /// A cosine bell on a sinc.
    Hamming,
    /// Keys' cubic convolution, with a = -0.5: CLIP's.
    #[default]
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

/// The sharpness of the bicubic kernel (`a` in `bicubic_filter`).
const A: f64 = -0.5;

impl Filter {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::Box, Self::Bilinear, Self::Hamming, Self::Bicubic, Self::Lanczos];

    /// The name that Pillow and torchvision have for it, such as `bicubic`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The filter of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.name() == name)
    }

    /// Its radius, in pixels of the smaller of the two images.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// What a pixel at a distance of `x` weighs, in the order of operations of Pillow's functions.
    pub(super) fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                let x = distance * PI;
                x.sin() / x * (0.54 + 0.46 * x.cos())
            }
            Self::Bicubic if distance < 1.0 => {
                ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
            }
            Self::Bicubic if distance < 2.0 => {
                (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
            }
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}
