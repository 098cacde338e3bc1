//! Compares the tensors a model requires with those a file has.

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::TensorInfo;
use crate::model::config::{Tower, missing};

/// How a tensor is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weight of a linear layer, `[out, in]`.
    Linear,
    /// Rows that are looked up by index, `[rows, width]`.
    Table,
    /// Everything else, used unchanged in f32.
    Plain,
}

/// A tensor that a configuration requires.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its canonical name.
    pub name: String,
    /// Row-major, outermost dimension first.
    pub shape: Vec<usize>,
    /// How it is kept in memory.
    pub role: Role,
}

/// Matches a file's tensors with those that its configuration requires, before any of their bytes arrive.
/// Returns each tensor's role, or `None` if nothing reads it.
///
/// # Errors
/// `missing_tensor` or `malformed_model`, with the tensor's name.
pub fn assign(expected: &[Expected], tensors: &[TensorInfo]) -> Result<Vec<Option<Role>>> {
    for want in expected {
        let found = tensors.iter().find(|tensor| tensor.name == want.name);
        let found = found.ok_or_else(|| missing(&want.name))?;
        if found.shape != want.shape {
            let message = format!(
                "tensor {} has shape {:?} where its model requires {:?}; use another file",
                want.name, found.shape, want.shape
            );
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
    }
    let role = |tensor: &TensorInfo| {
        expected.iter().find(|want| want.name == tensor.name).map(|want| want.role)
    };
    Ok(tensors.iter().map(role).collect())
}

/// The tower that a canonical tensor belongs to.
pub fn tower_of(canonical: &str) -> Tower {
    match canonical.starts_with("v.") || canonical.starts_with("visual_") {
        true => Tower::Vision,
        false => Tower::Text,
    }
}
