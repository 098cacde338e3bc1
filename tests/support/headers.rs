//! Arbitrary parts of GGUF headers.

use candle_core::quantized::GgmlDType;
use clip_wasm::format::gguf::{TensorInfo, Value, byte_size};
use proptest::collection::vec;
use proptest::prelude::*;

const TYPES: [GgmlDType; 6] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q8_0,
    GgmlDType::Q6K,
];

/// Small numbers, and numbers at the edges of the types they are read into.
pub fn number() -> impl Strategy<Value = u64> {
    let edges =
        [0, 1, 2, 31, 32, 33, 1 << 20, (1 << 31) - 1, 1 << 31, u64::from(u32::MAX), 1 << 32];
    let ends = [i64::MAX as u64, 1 << 63, u64::MAX - 31, u64::MAX];
    prop_oneof![
        4 => 0..300_u64,
        2 => proptest::sample::select(edges.to_vec()),
        1 => proptest::sample::select(ends.to_vec()),
        1 => any::<u64>(),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        number().prop_map(|n| Value::U32(n as u32)),
        any::<i32>().prop_map(Value::I32),
        number().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        ".{0,12}".prop_map(Value::String),
    ]
}

/// An array has one type, as in a file.
pub fn value() -> impl Strategy<Value = Value> {
    let texts = vec(".{0,5}".prop_map(Value::String), 0..5).prop_map(Value::Array);
    let floats = vec(any::<f32>().prop_map(Value::F32), 0..5).prop_map(Value::Array);
    prop_oneof![4 => scalar(), 1 => texts, 1 => floats]
}

/// Tensors are named by their position in the list.
pub fn tensor() -> impl Strategy<Value = TensorInfo> {
    let shape = vec(1..70_usize, 0..4);
    (proptest::sample::select(TYPES.to_vec()), shape).prop_map(|(dtype, shape)| {
        let dtype = if byte_size(dtype, &shape).is_some() { dtype } else { GgmlDType::F32 };
        let size = byte_size(dtype, &shape).expect("f32 stores any shape");
        TensorInfo { name: String::new(), dtype, shape, offset: 0, size }
    })
}

/// The header of a file; nothing it states need be true.
pub fn raw_header(tensors: &[([u64; 2], u64, u32)]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    for (place, (shape, offset, code)) in tensors.iter().enumerate() {
        bytes.extend(1_u64.to_le_bytes());
        bytes.push(b'a' + place as u8);
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(shape.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(code.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes
}
