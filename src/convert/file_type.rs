//! The types that weights can be written in.

use candle_core::quantized::GgmlDType;

use crate::error::{Error, ErrorKind, Result};

/// The type of the 2-D weights. 1-D tensors stay f32 and the patch embedding is f16, as in clip.cpp's own
/// files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// Its name on the command line, such as `q8_0`.
    pub name: &'static str,
    /// ggml's type.
    pub dtype: GgmlDType,
    /// The value of `general.file_type`, from clip.cpp's converter.
    pub(super) code: u32,
}

/// Every type that can be written.
pub const FILE_TYPES: [FileType; 7] = [
    FileType { name: "f32", dtype: GgmlDType::F32, code: 0 },
    FileType { name: "f16", dtype: GgmlDType::F16, code: 1 },
    FileType { name: "q4_0", dtype: GgmlDType::Q4_0, code: 2 },
    FileType { name: "q4_1", dtype: GgmlDType::Q4_1, code: 3 },
    FileType { name: "q5_0", dtype: GgmlDType::Q5_0, code: 6 },
    FileType { name: "q5_1", dtype: GgmlDType::Q5_1, code: 7 },
    FileType { name: "q8_0", dtype: GgmlDType::Q8_0, code: 8 },
];

impl FileType {
    /// The type with this name, such as `q8_0`.
    ///
    /// # Errors
    /// `invalid_input` if there is no such type.
    pub fn named(name: &str) -> Result<Self> {
        let known = FILE_TYPES.into_iter().find(|known| known.name == name);
        known.ok_or_else(|| {
            let names = FILE_TYPES.map(|known| known.name).join(", ");
            Error::new(ErrorKind::InvalidInput, format!("the file type must be one of {names}"))
        })
    }
}
