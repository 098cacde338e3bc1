//! Writes a header.

use super::{DEFAULT_ALIGNMENT, MAGIC, TensorInfo, Value, type_code};

const VERSION: u32 = 3;

/// The bytes of a header, padded so that tensor data can follow.
///
/// Sets the offset of each tensor: they follow one another in the given order, each aligned to 32 bytes.
pub fn header_bytes(metadata: &[(String, Value)], tensors: &mut [TensorInfo]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        write_string(&mut bytes, key);
        bytes.extend_from_slice(&value_type(value).to_le_bytes());
        write_value(&mut bytes, value);
    }
    let mut relative = 0;
    for tensor in tensors.iter_mut() {
        write_string(&mut bytes, &tensor.name);
        bytes.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
        for &dimension in tensor.shape.iter().rev() {
            bytes.extend_from_slice(&(dimension as u64).to_le_bytes());
        }
        bytes.extend_from_slice(&type_code(tensor.dtype).to_le_bytes());
        bytes.extend_from_slice(&u64::to_le_bytes(relative));
        tensor.offset = relative;
        relative += tensor.size.next_multiple_of(DEFAULT_ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    for tensor in tensors {
        tensor.offset += bytes.len() as u64;
    }
    bytes
}

fn write_string(bytes: &mut Vec<u8>, string: &str) {
    bytes.extend_from_slice(&(string.len() as u64).to_le_bytes());
    bytes.extend_from_slice(string.as_bytes());
}

fn value_type(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn write_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => bytes.push(*v),
        Value::I8(v) => bytes.push(*v as u8),
        Value::U16(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::U64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
        Value::Bool(v) => bytes.push(u8::from(*v)),
        Value::String(v) => write_string(bytes, v),
        Value::Array(values) => {
            let element = values.first().map_or(0, value_type);
            bytes.extend_from_slice(&element.to_le_bytes());
            bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
            for value in values {
                write_value(bytes, value);
            }
        }
    }
}
