//! Reads and writes the header of GGUF files.
//!
//! Follows ggml's `docs/gguf.md`, versions 2 and 3, little-endian. Only the header is read here; the
//! tensors' bytes are streamed (see [`crate::ModelLoader`]). Every count and length is checked against the
//! remaining bytes before anything is allocated, because the file may come from a stranger.

mod reader;
mod writer;

use candle_core::quantized::GgmlDType;
pub use candle_core::quantized::gguf_file::Value;

use crate::error::Result;
use crate::format::gguf::reader::{Reader, Stop};
pub use crate::format::gguf::writer::header_bytes;
use crate::limits::{Limit, Limits};

/// The first four bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;

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
        let mut reader = Reader::new(prefix, limits);
        match reader.header() {
            Ok(header) => {
                limits.check(Limit::HeaderBytes, reader.position() as u64)?;
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

/// The number of padding bytes after a tensor of `size` bytes.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(DEFAULT_ALIGNMENT) - size) as usize
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
