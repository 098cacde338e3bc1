//! The fuzz targets, one module each, and what they share: how inputs are cut, and what every answer must
//! satisfy. The tests run the targets too, on the seeds.

pub mod gguf;
pub mod image;
pub mod model;
pub mod safetensors;
pub mod siglip;
#[path = "../../tests/support/small.rs"]
pub mod small;
pub mod tokenizer;
pub mod vocabulary;

use clip_wasm::decode::RgbImage;
use clip_wasm::{ClipEncoder, Error, ErrorKind, Limit, Limits, ModelLoader, Result};

/// Lower than anybody would set them: the targets test parsing, not large amounts of memory.
pub fn limits() -> Limits {
    Limits::default()
        .with(Limit::WeightBytes, 64 << 20)
        .with(Limit::DecodeBytes, 256 << 20)
        .with(Limit::Pixels, 4 << 20)
}

/// Random numbers from a seed: splitmix64.
pub struct Random(pub u64);

impl Random {
    /// Seeded by the last bytes of an input, which a format that knows its own length does not read.
    pub fn of_end(input: &[u8]) -> Self {
        Self(input.last_chunk().map_or(0, |end| u64::from_le_bytes(*end)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A size from 1 to about `most` bytes, with small sizes as likely as large ones.
    pub fn piece(&mut self, most: usize) -> usize {
        let bits = self.next() % u64::from(usize::BITS - most.leading_zeros() + 1);
        1 + (self.next() & ((1 << bits) - 1)) as usize
    }
}

/// Cuts `input` into parts whose sizes `random` decides.
pub fn pieces<'a>(mut input: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at(random.piece(input.len()).min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Accepts an error of any kind except a bug of the crate.
pub fn accept(error: &Error) {
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
}

pub fn load<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<ClipEncoder> {
    let mut loader = ModelLoader::new().with_limits(limits());
    for piece in pieces {
        loader.push(piece)?;
    }
    loader.finish()
}

/// The result of a file, for comparison: the text's vector and the image's, or the error's code.
pub fn outcome(
    encoder: Result<ClipEncoder>,
    text: &str,
) -> [std::result::Result<Vec<u32>, &'static str>; 2] {
    let encoder = match encoder {
        Ok(encoder) => encoder,
        Err(error) => {
            accept(&error);
            return [Err(error.code()), Err(error.code())];
        }
    };
    let pixels = (0..3 * 5 * 4).map(|level| level * 4).collect();
    let image = RgbImage::new(5, 4, pixels).expect("it is of that size");
    if let Ok(tokens) = encoder.tokenize(text) {
        let vocabulary = encoder.info().vocabulary_size.expect("it has a text tower");
        assert!(tokens.ids().iter().all(|&id| (id as usize) < vocabulary), "{tokens:?}");
    }
    [encoder.embed_text(text, true), encoder.embed_pixels(&image, true)].map(|embedding| {
        match embedding {
            Ok(embedding) => {
                let values = embedding.into_values();
                let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
                assert!((norm - 1.0).abs() < 1e-4, "a vector of length {norm}");
                Ok(values.into_iter().map(f32::to_bits).collect())
            }
            Err(error) => {
                accept(&error);
                Err(error.code())
            }
        }
    })
}
