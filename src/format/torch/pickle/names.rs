//! The names that a pickle may use, and the errors for others.

use safetensors::Dtype;

use crate::error::{Error, ErrorKind, Result};

/// Every name that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    pub(super) fn named(module: &[u8], name: &[u8]) -> Result<Self> {
        Ok(match (module, name) {
            (b"collections", b"OrderedDict") => Self::OrderedDict,
            (b"torch._utils", b"_rebuild_tensor_v2") => Self::RebuildTensor,
            (b"torch._utils", b"_rebuild_parameter") => Self::RebuildParameter,
            (b"torch", b"FloatStorage") => Self::Storage(Dtype::F32),
            (b"torch", b"HalfStorage") => Self::Storage(Dtype::F16),
            (b"torch", b"BFloat16Storage") => Self::Storage(Dtype::BF16),
            (b"torch", b"DoubleStorage") => Self::Storage(Dtype::F64),
            (b"torch", b"LongStorage") => Self::Storage(Dtype::I64),
            (b"torch", b"IntStorage") => Self::Storage(Dtype::I32),
            (b"torch", b"ShortStorage") => Self::Storage(Dtype::I16),
            (b"torch", b"CharStorage") => Self::Storage(Dtype::I8),
            (b"torch", b"ByteStorage") => Self::Storage(Dtype::U8),
            (b"torch", b"BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => return Err(refused(module, name)),
        })
    }
}

/// How many characters of an unknown name an error message repeats.
const SHOWN: usize = 100;

pub(super) fn refused(module: &[u8], name: &[u8]) -> Error {
    if module.starts_with(b"__torch__") {
        return crate::format::torch::torch_script();
    }
    let full = [module, b".", name].concat();
    more_than_tensors(&shown(&full))
}

pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN).collect()
}

pub(super) fn more_than_tensors(what: &str) -> Error {
    let message = format!(
        "this checkpoint's pickle holds {what}, which is more than tensors and is not run; save only its state_dict(), or save it as safetensors"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// Bytes per element of the types that [`Global::named`] returns.
pub(super) fn width(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
        _ => 1,
    }
}
