//! A file of weights, of whichever container: which tensors it has, and where they stand.

use std::ops::Range;

use ::safetensors::Dtype;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{expect_safetensors, safetensors, torch};
use crate::limits::Limits;

/// What the first bytes of a file tell.
#[derive(Debug)]
pub enum Header {
    /// Of a `.safetensors` file.
    Safetensors(safetensors::Header),
    /// Of a checkpoint that `torch.save` wrote.
    Torch(torch::Header),
}

/// Where one tensor stands and how it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// How its values are stored.
    pub dtype: Dtype,
    /// Outermost first.
    pub shape: &'a [usize],
    /// Whether its values stand in the order of rows, without gaps.
    pub row_major: bool,
    /// From the start of the file; only its start counts where the tensor is not row-major.
    pub bytes: Range<u64>,
}

/// A part of a file that shows whether what follows it is what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// From the start of the file.
    pub bytes: Range<u64>,
    /// The name that stands in it.
    pub name: String,
}

/// Reads the header of a file as its first bytes come.
pub struct Reader {
    limits: Limits,
    torch: Option<Box<torch::Reader>>,
}

impl Reader {
    /// Of a file of which nothing has come.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: *limits, torch: None }
    }

    /// Takes the first bytes of the file, all that have come: `None` where it needs more of them.
    ///
    /// # Errors
    /// `not_a_model` or `unsupported_model` for a file of another kind, or one that holds more than tensors;
    /// `malformed_model` where the header contradicts itself; `limit_exceeded`.
    pub fn read(&mut self, prefix: &[u8]) -> Result<Option<Header>> {
        if !prefix.starts_with(torch::MAGIC) {
            let header = safetensors::Header::parse(prefix, &self.limits)?;
            return Ok(header.map(Header::Safetensors));
        }
        let reader = self.torch.get_or_insert_with(|| Box::new(torch::Reader::new(&self.limits)));
        Ok(reader.read(prefix)?.map(Header::Torch))
    }

    /// The error of a file that ends after these bytes, before its header does: `not_a_model` or `unsupported_model`
    /// where it is of another kind, or else `truncated_model`.
    pub fn end(&self, prefix: &[u8]) -> Error {
        let other = expect_safetensors(prefix).err().filter(|_| !prefix.starts_with(torch::MAGIC));
        other.unwrap_or_else(|| {
            let message = format!("the file ends after {} bytes; download it again", prefix.len());
            Error::new(ErrorKind::TruncatedModel, message)
        })
    }
}

impl Header {
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        match self {
            Self::Safetensors(header) => header.get(name),
            Self::Torch(header) => header.get(name),
        }
    }

    /// Where the header ends, in bytes: everything that is wanted of the file stands behind.
    pub fn data_start(&self) -> u64 {
        match self {
            Self::Safetensors(header) => header.data_start(),
            Self::Torch(header) => header.data_start(),
        }
    }

    /// Where the last tensor ends, in bytes.
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

    /// What is to be looked at before the tensors behind it are believed, in file order.
    pub fn checks(&self) -> &[Check] {
        match self {
            Self::Safetensors(_) => &[],
            Self::Torch(header) => header.checks(),
        }
    }

    /// What the file is called that names the tensors of files like this one, where there are several.
    pub fn index_name(&self) -> &'static str {
        match self {
            Self::Safetensors(_) => "model.safetensors.index.json",
            Self::Torch(_) => "pytorch_model.bin.index.json",
        }
    }
}

impl Check {
    /// Looks at the part's bytes.
    ///
    /// # Errors
    /// `unsupported_model` where something else stands there.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        torch::check_entry(bytes, &self.name)
    }
}

/// The error of a file that is not as its format has it.
pub fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this file of weights is damaged: {what}; download it again");
    Error::new(ErrorKind::MalformedModel, message)
}
