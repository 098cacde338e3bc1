//! Reads and writes the header of GGUF files.
//!
//! Follows ggml's `docs/gguf.md`, versions 2 and 3, little-endian. Only the header is read here; the
//! tensors' bytes are streamed (see [`crate::ModelLoader`]). Every count and length is checked against the
//! remaining bytes before anything is allocated, because the file may come from a stranger.

use std::collections::HashSet;

use candle_core::quantized::GgmlDType;
pub use candle_core::quantized::gguf_file::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// The first four bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
const DEFAULT_ALIGNMENT: u64 = 32;
/// `GGML_MAX_DIMS` in ggml.h.
const MAX_DIMENSIONS: u32 = 4;
/// No metadata of a CLIP model is nested; the limit keeps a crafted file from exhausting the stack.
const MAX_ARRAY_DEPTH: u32 = 4;

/// The header: everything before the tensors' bytes.
///
/// ```
/// use clip_wasm::Limits;
/// use clip_wasm::format::gguf::{Header, Value, header_bytes};
///
/// let limits = Limits::default();
/// let name = Value::String("ViT-B-32".into());
/// let bytes = header_bytes(&[("general.name".into(), name)], &mut []);
/// assert!(Header::parse(&bytes[..20], &limits)?.is_none(), "it needs more");
/// let header = Header::parse(&bytes, &limits)?.unwrap();
/// assert_eq!(header.get("general.name").unwrap().to_string()?, "ViT-B-32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Header {
    /// The metadata, in file order.
    pub metadata: Vec<(String, Value)>,
    /// The tensors, in the order of their bytes in the file.
    pub tensors: Vec<TensorInfo>,
}

/// Where one tensor is stored, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// The type of its values.
    pub dtype: GgmlDType,
    /// Row-major, outermost dimension first: `[out, in]` for a linear weight. GGUF stores the reverse.
    pub shape: Vec<usize>,
    /// Start of its bytes, counted from the start of the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Header {
    /// Reads the header from the first bytes of a file: `None` if it needs more of them.
    ///
    /// # Errors
    /// `not_a_model` if the file does not start with [`MAGIC`]; `malformed_model` if the header contradicts
    /// itself; `unsupported_model` for a version or a tensor type that is not supported; `limit_exceeded`.
    pub fn parse(prefix: &[u8], limits: &Limits) -> Result<Option<Self>> {
        let mut reader = Reader { bytes: prefix, position: 0, values: 0, limits };
        match read_header(&mut reader) {
            Ok(header) => {
                limits.check(Limit::HeaderBytes, reader.position as u64)?;
                Ok(Some(header))
            }
            Err(Stop::Incomplete) => {
                // At least one more byte is missing.
                limits.check(Limit::HeaderBytes, prefix.len() as u64 + 1)?;
                Ok(None)
            }
            Err(Stop::Wrong(error)) => Err(error),
        }
    }

    /// The metadata under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The end of the last tensor: the minimum size of a complete file, in bytes.
    pub fn file_size(&self) -> u64 {
        self.tensors.last().map_or(0, |tensor| tensor.offset + tensor.size)
    }
}

/// Size of a tensor in bytes; `None` if the type's blocks do not divide its rows.
pub fn byte_size(dtype: GgmlDType, shape: &[usize]) -> Option<u64> {
    let block = dtype.block_size();
    if !shape.last().copied().unwrap_or(1).is_multiple_of(block) {
        return None;
    }
    let elements = shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n as u64))?;
    (elements / block as u64).checked_mul(dtype.type_size() as u64)
}

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

/// The number of padding bytes after a tensor of `size` bytes.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(DEFAULT_ALIGNMENT) - size) as usize
}

enum Stop {
    Incomplete,
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message =
        format!("this GGUF file is damaged: {what}; download it again or use another file");
    Error::new(ErrorKind::MalformedModel, message)
}

fn read_header(reader: &mut Reader) -> Result<Header, Stop> {
    if reader.take(4)? != MAGIC {
        return Err(Error::new(ErrorKind::NotAModel, "this is not a GGUF file").into());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        let message = format!("GGUF version {version} is not supported, only 2 and 3 are");
        return Err(Error::new(ErrorKind::UnsupportedModel, message).into());
    }
    let tensor_count = reader.count("tensors")?;
    reader.limits.check(Limit::Tensors, tensor_count)?;
    let metadata_count = reader.count("metadata entries")?;
    reader.limits.check(Limit::MetadataValues, metadata_count)?;
    reader.values = metadata_count;

    let mut metadata = Vec::new();
    for _ in 0..metadata_count {
        let key = reader.string()?;
        let kind = reader.u32()?;
        metadata.push((key, reader.value(kind, 0)?));
    }
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..tensor_count {
        let tensor = read_tensor_info(reader)?;
        if !names.insert(tensor.name.clone()) {
            return Err(malformed(format!("tensor {} occurs twice", tensor.name)).into());
        }
        tensors.push(tensor);
    }

    let header_end = reader.position as u64;
    let alignment = match metadata.iter().find(|(key, _)| key == "general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some((_, Value::U32(n))) if n.is_power_of_two() && *n <= 1 << 16 => u64::from(*n),
        Some(_) => return Err(malformed("general.alignment must be a power of two").into()),
    };
    place_tensors(&mut tensors, header_end.next_multiple_of(alignment), alignment)?;
    Ok(Header { metadata, tensors })
}

fn read_tensor_info(reader: &mut Reader) -> Result<TensorInfo, Stop> {
    let name = reader.string()?;
    let dimensions = reader.u32()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(malformed(format!("tensor {name} has {dimensions} dimensions")).into());
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let dimension = reader.u64()?;
        match usize::try_from(dimension) {
            Ok(n) if (1..=1 << 31).contains(&dimension) => shape.push(n),
            _ => {
                let what = format!("tensor {name} has a dimension of size {dimension}");
                return Err(malformed(what).into());
            }
        }
    }
    shape.reverse();
    let code = reader.u32()?;
    let Some(dtype) = type_of_code(code) else {
        let message = format!("tensor {name} is of ggml type {code}, which is not supported");
        return Err(Error::new(ErrorKind::UnsupportedModel, message).into());
    };
    let Some(size) = byte_size(dtype, &shape) else {
        let what = format!("the blocks of {dtype:?} do not fit tensor {name} of shape {shape:?}");
        return Err(malformed(what).into());
    };
    Ok(TensorInfo { name, dtype, shape, offset: reader.u64()?, size })
}

/// Changes offsets from the start of the data to offsets from the start of the file, and sorts the tensors
/// by them.
fn place_tensors(tensors: &mut [TensorInfo], data_start: u64, alignment: u64) -> Result<()> {
    tensors.sort_by_key(|tensor| tensor.offset);
    let mut end = data_start;
    for tensor in tensors {
        let offset = tensor.offset.checked_add(data_start).filter(|n| n.is_multiple_of(alignment));
        let (Some(offset), true) = (offset, tensor.offset.is_multiple_of(alignment)) else {
            let what = format!("tensor {} has an invalid offset {}", tensor.name, tensor.offset);
            return Err(malformed(what));
        };
        if offset < end {
            return Err(malformed(format!("tensor {} overlaps the one before it", tensor.name)));
        }
        tensor.offset = offset;
        let Some(next) = offset.checked_add(tensor.size) else {
            return Err(malformed(format!("the size of tensor {} is too large", tensor.name)));
        };
        end = next;
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Number of metadata entries so far, plus the elements of all arrays so far.
    values: u64,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Stop> {
        let end = self.position.checked_add(n).ok_or(Stop::Incomplete)?;
        let taken = self.bytes.get(self.position..end).ok_or(Stop::Incomplete)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that each take at least one byte, so it cannot be larger than a header.
    fn count(&mut self, what: &str) -> Result<u64, Stop> {
        /// More than any model's header holds, whatever the limits are.
        const MOST: u64 = 1 << 32;
        let count = self.u64()?;
        if count > MOST {
            return Err(malformed(format!("it claims {count} {what}")).into());
        }
        Ok(count)
    }

    fn string(&mut self) -> Result<String, Stop> {
        let length = self.count("bytes in a string")?;
        self.limits.check(Limit::HeaderBytes, length)?;
        let bytes = self.take(length as usize)?;
        let bytes = memory::collected(bytes.len(), bytes.iter().copied())?;
        String::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8").into())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, Stop> {
        Ok(match kind {
            0 => Value::U8(self.array::<1>()?[0]),
            1 => Value::I8(self.array::<1>()?[0] as i8),
            2 => Value::U16(u16::from_le_bytes(self.array()?)),
            3 => Value::I16(i16::from_le_bytes(self.array()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.array()?)),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::String(self.string()?),
            9 if depth < MAX_ARRAY_DEPTH => {
                let element = self.u32()?;
                let count = self.count("elements in an array")?;
                self.values += count;
                self.limits.check(Limit::MetadataValues, self.values)?;
                // Each element takes at least one byte, so a count larger than the remaining bytes
                // allocates nothing extra.
                let there = (self.bytes.len() - self.position) as u64;
                let mut values = memory::reserved(count.min(there))?;
                for _ in 0..count {
                    values.push(self.value(element, depth + 1)?);
                }
                Value::Array(values)
            }
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            _ => return Err(malformed(format!("unknown metadata type {kind}")).into()),
        })
    }
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

/// `enum ggml_type` in ggml.h; candle keeps its own copy private.
const TYPE_CODES: [(u32, GgmlDType); 13] = [
    (0, GgmlDType::F32),
    (1, GgmlDType::F16),
    (2, GgmlDType::Q4_0),
    (3, GgmlDType::Q4_1),
    (6, GgmlDType::Q5_0),
    (7, GgmlDType::Q5_1),
    (8, GgmlDType::Q8_0),
    (10, GgmlDType::Q2K),
    (11, GgmlDType::Q3K),
    (12, GgmlDType::Q4K),
    (13, GgmlDType::Q5K),
    (14, GgmlDType::Q6K),
    (30, GgmlDType::BF16),
];

fn type_of_code(code: u32) -> Option<GgmlDType> {
    TYPE_CODES.iter().find(|(known, _)| *known == code).map(|(_, dtype)| *dtype)
}

fn type_code(dtype: GgmlDType) -> u32 {
    let known = TYPE_CODES.iter().find(|(_, known)| *known == dtype);
    known.map(|(code, _)| *code).expect("every type that is written is in the table")
}
