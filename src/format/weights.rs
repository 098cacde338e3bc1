//! A file of weights in any supported format: which tensors it has, and where they are.

use std::ops::Range;

use ::safetensors::Dtype;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{expect_safetensors, safetensors, torch};
use crate::limits::Limits;

/// What the first bytes of a file describe.
#[derive(Debug)]
pub enum Header {
    /// The header of a `.safetensors` file.
    Safetensors(safetensors::Header),
    /// The header of a checkpoint that `torch.save` wrote.
    Torch(torch::Header),
}

/// Where one tensor is stored, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The type of its values.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: &'a [usize],
    /// Whether its values are in row-major order, without gaps.
    pub row_major: bool,
    /// Its bytes, counted from the start of the file; only the start is valid if the tensor is not
    /// row-major.
    pub bytes: Range<u64>,
}

/// A part of a file that must be checked before the data after it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its bytes, counted from the start of the file.
    pub bytes: Range<u64>,
    /// The name that it must contain.
    pub name: String,
}

/// Reads the header of a file while its first bytes arrive.
pub struct Reader {
    limits: Limits,
    torch: Option<Box<torch::Reader>>,
}

impl Reader {
    /// A reader for a file of which no bytes have arrived yet.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: *limits, torch: None }
    }

    /// Takes all bytes of the file that have arrived so far: `None` if it needs more of them.
    ///
    /// # Errors
    /// `not_a_model` or `unsupported_model` for a file of another kind, or one that holds more than
    /// tensors; `malformed_model` if the header contradicts itself; `limit_exceeded`.
    pub fn read(&mut self, prefix: &[u8]) -> Result<Option<Header>> {
        if !prefix.starts_with(torch::MAGIC) {
            let header = safetensors::Header::parse(prefix, &self.limits)?;
            return Ok(header.map(Header::Safetensors));
        }
        let reader = self.torch.get_or_insert_with(|| Box::new(torch::Reader::new(&self.limits)));
        Ok(reader.read(prefix)?.map(Header::Torch))
    }

    /// The error for a file that ends after these bytes, within its header: `not_a_model` or
    /// `unsupported_model` if it is of another kind, otherwise `truncated_model`.
    pub fn end(&self, prefix: &[u8]) -> Error {
        let other = expect_safetensors(prefix).err().filter(|_| !prefix.starts_with(torch::MAGIC));
        other.unwrap_or_else(|| {
            let message = format!("the file ends after {} bytes; download it again", prefix.len());
            Error::new(ErrorKind::TruncatedModel, message)
        })
    }
}

impl Header {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        match self {
            Self::Safetensors(header) => header.get(name),
            Self::Torch(header) => header.get(name),
        }
    }

    /// The end of the header, in bytes: everything that is needed from the file comes after it.
    pub fn data_start(&self) -> u64 {
        match self {
            Self::Safetensors(header) => header.data_start(),
            Self::Torch(header) => header.data_start(),
        }
    }

    /// The end of the last tensor, in bytes.
    pub fn data_end(&self) -> u64 {
        match self {
            Self::Safetensors(header) => header.file_size(),
            Self::Torch(header) => header.data_end(),
        }
    }

    /// Whether the file ends with its last tensor.
    pub fn ends_with_data(&self) -> bool {
        matches!(self, Self::Safetensors(_))
    }

    /// The parts that must be checked before the tensors after them can be used, in file order.
    pub fn checks(&self) -> &[Check] {
        match self {
            Self::Safetensors(_) => &[],
            Self::Torch(header) => header.checks(),
        }
    }

    /// The file name of the index that says which tensors are in which file, for a model in several files
    /// of this format.
    pub fn index_name(&self) -> &'static str {
        match self {
            Self::Safetensors(_) => "model.safetensors.index.json",
            Self::Torch(_) => "pytorch_model.bin.index.json",
        }
    }
}

impl Check {
    /// Checks the part's bytes.
    ///
    /// # Errors
    /// `unsupported_model` if something else is stored there.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        torch::check_entry(bytes, &self.name)
    }
}

/// The error for a file that violates its format.
pub fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this file of weights is damaged: {what}; download it again");
    Error::new(ErrorKind::MalformedModel, message)
}
