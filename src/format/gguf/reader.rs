//! Reads a header from the first bytes of a file.

use std::collections::HashSet;

use super::{DEFAULT_ALIGNMENT, Header, MAGIC, TensorInfo, Value, byte_size, type_of_code};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// `GGML_MAX_DIMS` in ggml.h.
const MAX_DIMENSIONS: u32 = 4;
/// No metadata of a CLIP model is nested; the limit keeps a crafted file from exhausting the stack.
const MAX_ARRAY_DEPTH: u32 = 4;

/// Why a header cannot be read.
pub(super) enum Stop {
    /// It needs more bytes.
    Incomplete,
    /// It is invalid.
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// The first bytes of a file, read from front to back.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Number of metadata entries so far, plus the elements of all arrays so far.
    values: u64,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self { bytes, position: 0, values: 0, limits }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The header, from the first byte.
    pub(super) fn header(&mut self) -> Result<Header, Stop> {
        read_header(self)
    }

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

fn malformed(what: impl std::fmt::Display) -> Error {
    let message =
        format!("this GGUF file is damaged: {what}; download it again or use another file");
    Error::new(ErrorKind::MalformedModel, message)
}
