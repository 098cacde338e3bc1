//! Loads a model file that is valid except for a few wrong values, with towers of any size and tensors of
//! any type and value.

use super::small::{Model, Sizes};
use super::{Random, load, outcome, pieces};
use arbitrary::{Arbitrary, Unstructured};
use candle_core::quantized::GgmlDType;
use clip_wasm::format::gguf::{Value, byte_size};

#[derive(Arbitrary, Debug)]
struct Recipe<'a> {
    /// Select the width, the MLP's size as a multiple of the width, and the number of heads.
    width: u8,
    wide: u8,
    heads: u8,
    layers: u8,
    projection: u8,
    context: u8,
    image: u8,
    patch: u8,
    towers: u8,
    /// Types of the tensors, in their order, repeated as needed.
    types: [u8; 5],
    lies: [Option<Lie>; 2],
    seed: u64,
    text: &'a str,
    /// Values of the tensors, repeated as needed.
    values: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Lie {
    Number { entry: u8, value: u64 },
    Metadata { entry: u8, value: Scalar },
    NoMetadata(u8),
    Dimension { tensor: u8, dimension: u8, value: u16 },
    NoDimension(u8),
    Offset { tensor: u8, by: i8 },
    NoTensor(u8),
    Twice { tensor: u8, of: u8 },
    LlamaNames,
    Cut(u16),
}

#[derive(Arbitrary, Debug)]
enum Scalar {
    Bool(bool),
    Float(f32),
    Signed(i32),
    Text(String),
    Texts(Vec<String>),
    Floats([f32; 3]),
    Nested,
}

const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];
/// Widths of whole blocks, and others that are not.
const WIDTHS: [usize; 5] = [32, 4, 8, 64, 96];
/// The block size of a K-quant; such a model takes long.
const WIDEST: usize = 256;

/// Tries one input.
pub fn run(input: &[u8]) {
    // An input that is too short for a recipe is ignored.
    let Ok(recipe) = Recipe::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let of = |n: u8, choices: usize| usize::from(n) % choices;
    let is_wide = recipe.width.is_multiple_of(16);
    let width = if is_wide { WIDEST } else { WIDTHS[of(recipe.width, WIDTHS.len())] };
    let patch = 1 + of(recipe.patch, 4);
    let mut model = Model::of(&Sizes {
        width,
        wide: if is_wide { width } else { width * (1 + of(recipe.wide, 3)) },
        heads: [1, 2, 4][of(recipe.heads, 3)],
        layers: if is_wide { 1 } else { 1 + of(recipe.layers, 2) },
        projection: 1 + of(recipe.projection, 40),
        context: 2 + of(recipe.context, 8),
        image: patch + of(recipe.image, 9),
        patch,
    });
    match recipe.towers % 4 {
        1 => model = without_tower(model, "vision", 'v'),
        2 => model = without_tower(model, "text", 't'),
        _ => {}
    }
    for (tensor, code) in model.tensors.iter_mut().zip(recipe.types.iter().cycle()) {
        let dtype = TYPES[of(*code, TYPES.len())];
        if let Some(size) = byte_size(dtype, &tensor.shape) {
            (tensor.dtype, tensor.size) = (dtype, size);
        }
    }
    let mut cut = 0;
    for lie in recipe.lies.iter().flatten() {
        tell(lie, &mut model, &mut cut);
    }
    let values = if recipe.values.is_empty() { &[0x2c] } else { recipe.values };
    let mut values = values.iter().cycle();
    let size = model.tensors.iter().map(|tensor| tensor.size).fold(0, u64::saturating_add);
    // If a wrong value makes the file large, its tensors are not written; a limit refuses it anyway.
    let mut file = if size < 1 << 20 {
        model.bytes_with(|_, _| *values.next().expect("it goes on"))
    } else {
        model.header()
    };
    file.truncate(file.len() - cut.min(file.len()));
    let whole = outcome(load([&file[..]]), recipe.text);
    let parts = outcome(load(pieces(&file, &mut Random(recipe.seed))), recipe.text);
    assert_eq!(whole, parts, "a file loads the same in pieces of any size");
}

fn without_tower(model: Model, tower: &str, letter: char) -> Model {
    let mut model = model.set(&format!("clip.has_{tower}_encoder"), Value::Bool(false));
    model.tensors.retain(|tensor| !tensor.name.starts_with(letter));
    model
}

fn tell(lie: &Lie, model: &mut Model, cut: &mut usize) {
    let entries = model.metadata.len();
    let entry = |n: u8| usize::from(n) % entries;
    let tensors = model.tensors.len();
    let place = |n: u8| usize::from(n) % tensors;
    match lie {
        Lie::Number { entry: at, value } => {
            let value = match value % 3 {
                0 => Value::U64(*value),
                1 => Value::U32(*value as u32),
                _ => Value::U32(*value as u32 % 100),
            };
            model.metadata[entry(*at)].1 = value;
        }
        Lie::Metadata { entry: at, value } => {
            model.metadata[entry(*at)].1 = match value {
                Scalar::Bool(value) => Value::Bool(*value),
                Scalar::Float(value) => Value::F32(*value),
                Scalar::Signed(value) => Value::I32(*value),
                Scalar::Text(value) => Value::String(value.clone()),
                Scalar::Texts(list) => {
                    Value::Array(list.iter().cloned().map(Value::String).collect())
                }
                Scalar::Floats(list) => Value::Array(list.map(Value::F32).to_vec()),
                Scalar::Nested => Value::Array(vec![Value::Array(vec![Value::Array(Vec::new())])]),
            };
        }
        Lie::NoMetadata(at) => drop(model.metadata.remove(entry(*at))),
        Lie::Dimension { tensor, dimension, value } => {
            let tensor = &mut model.tensors[place(*tensor)];
            let dimension = usize::from(*dimension) % tensor.shape.len().max(1);
            if let Some(n) = tensor.shape.get_mut(dimension) {
                *n = usize::from(*value);
            }
            tensor.size = byte_size(tensor.dtype, &tensor.shape).unwrap_or(tensor.size);
        }
        Lie::NoDimension(tensor) => {
            let tensor = &mut model.tensors[place(*tensor)];
            tensor.shape.pop();
            tensor.size = byte_size(tensor.dtype, &tensor.shape).unwrap_or(tensor.size);
        }
        Lie::Offset { tensor, by } => {
            let tensor = &mut model.tensors[place(*tensor)];
            tensor.size = tensor.size.saturating_add_signed(i64::from(*by) * 32);
        }
        Lie::NoTensor(tensor) => drop(model.tensors.remove(place(*tensor))),
        Lie::Twice { tensor, of } => {
            model.tensors[place(*tensor)].name = model.tensors[place(*of)].name.clone();
        }
        Lie::LlamaNames => {
            for tensor in &mut model.tensors {
                let (up, down) = ("ffn_up", "ffn_down");
                tensor.name = match tensor.name.contains(up) {
                    true => tensor.name.replace(up, down),
                    false => tensor.name.replace(down, up),
                };
            }
        }
        Lie::Cut(bytes) => *cut = usize::from(*bytes),
    }
}
