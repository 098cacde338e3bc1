//! The vector, its length, and the JSON it goes out as.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};

/// An embedding, `[projection_dim]`, f32, every component finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Takes a tower's projection; divides it by its L2 norm if `normalize` says so.
    ///
    /// # Errors
    /// `malformed_model` where a component is not finite or all are zero: no input does that to sound
    /// weights.
    pub fn new(mut projection: Vec<f32>, normalize: bool) -> Result<Self> {
        let norm = projection.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm == 0.0 {
            let message = "the model's weights give no finite vector; use another file";
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        if normalize {
            for x in &mut projection {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
        Ok(Self(projection))
    }

    /// The components.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// The components, given away.
    pub fn into_values(self) -> Vec<f32> {
        self.0
    }
}

/// What the hosted endpoint answers: one inner list an input, in input order.
pub fn response(embeddings: &[Embedding]) -> Value {
    let data: Vec<&[f32]> = embeddings.iter().map(Embedding::values).collect();
    json!({ "data": data, "status_code": 200 })
}
