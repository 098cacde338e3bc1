//! Writes small models with the smallest and the largest possible quants, in awkward sizes, for check.mjs.
//!
//!     cargo run --release --example extreme_models -- OUT

#[allow(dead_code)] // Only a part of it is used.
#[path = "../support/small.rs"]
mod small;

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use small::{Model, SIZES, Sizes};

const TYPES: [(&str, GgmlDType); 5] = [
    ("q8_0", GgmlDType::Q8_0),
    ("q4_0", GgmlDType::Q4_0),
    ("q4_1", GgmlDType::Q4_1),
    ("q5_0", GgmlDType::Q5_0),
    ("q5_1", GgmlDType::Q5_1),
];

/// A panel has eight outputs, and a group four rows: none of these are multiples of both. Images have 10 rows and 2.
const ODD_SIZES: [Sizes; 2] = [
    Sizes {
        width: 96,
        wide: 160,
        heads: 3,
        layers: 2,
        projection: 20,
        context: 77,
        image: 12,
        patch: 4,
    },
    Sizes { image: 4, projection: 9, context: 5, ..SIZES },
];

fn main() -> std::io::Result<()> {
    let out = std::env::args().nth(1).expect("usage: extreme_models OUT");
    fs::create_dir_all(&out)?;
    for (name, dtype) in TYPES {
        for (i, sizes) in ODD_SIZES.iter().enumerate() {
            let model = Model::of(sizes).stored_as(dtype);
            let bytes = model.bytes_with(|tensor, at| match tensor.dtype {
                GgmlDType::F32 => {
                    float((at / 4) as u32, tensor.shape.len()).to_le_bytes()[at as usize % 4]
                }
                dtype => quantised(dtype, at as usize),
            });
            fs::write(Path::new(&out).join(format!("{i}.{name}.gguf")), bytes)?;
        }
    }
    Ok(())
}

fn float(at: u32, dimensions: usize) -> f32 {
    let ramp = (at * 31 % 23) as f32 / 23.0;
    // Norms have weights around 1.
    if dimensions == 1 { 0.5 + ramp } else { ramp - 0.4 }
}

/// A byte of a block: its scale, its minimum if it has one, then its quants.
fn quantised(dtype: GgmlDType, at: usize) -> u8 {
    let (block, place) = (at / dtype.type_size(), at % dtype.type_size());
    let has_minimum = matches!(dtype, GgmlDType::Q4_1 | GgmlDType::Q5_1);
    match place {
        0 => (block * 7) as u8,
        1 => 0x1c, // As the high byte of an f16, this is 1/256 or a little more.
        2 if has_minimum => (block * 5) as u8,
        3 if has_minimum => 0x9c,
        _ => match block % 5 {
            0 => 0x80,
            1 => 0x7f,
            2 => 0xff,
            3 => 0x00,
            _ => (block * 17 + place * 41) as u8,
        },
    }
}
