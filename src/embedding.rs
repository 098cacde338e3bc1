//! The embedding vector, its normalisation, and its JSON form.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};

/// An embedding: `[projection_dim]`, f32; every component is finite.
///
/// ```
/// use clip_wasm::Embedding;
///
/// let embedding = Embedding::new(vec![3.0, 4.0], true)?;
/// assert_eq!(embedding.values(), [0.6, 0.8]);
/// # Ok::<(), clip_wasm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Wraps a tower's projection `[projection_dim]`; divides it by its L2 norm if `normalize` is true.
    ///
    /// # Errors
    /// `malformed_model` if a component is not finite or all are zero: with valid weights, no input causes
    /// that.
    pub fn new(mut projection: Vec<f32>, normalize: bool) -> Result<Self> {
        let norm = projection.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm == 0.0 {
            let message = "the model's weights give a zero or non-finite vector; use another file";
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        if normalize {
            for x in &mut projection {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
        Ok(Self(projection))
    }

    /// The cosine of the angle between two embeddings of one model, from -1 to 1. Their lengths do not
    /// matter.
    ///
    /// ```
    /// # use clip_wasm::Embedding;
    /// let [east, north] = [vec![2.0, 0.0], vec![0.0, 1.0]].map(|xs| Embedding::new(xs, false).unwrap());
    /// assert_eq!((east.cosine(&east), east.cosine(&north)), (1.0, 0.0));
    /// ```
    ///
    /// # Panics
    /// If the numbers of components differ: then the embeddings are from different models.
    pub fn cosine(&self, other: &Self) -> f64 {
        assert_eq!(self.0.len(), other.0.len(), "embeddings of different models");
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        dot(&self.0, &other.0) / (dot(&self.0, &self.0) * dot(&other.0, &other.0)).sqrt()
    }

    /// The components: `[projection_dim]`, f32.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Consumes the embedding and returns its components.
    pub fn into_values(self) -> Vec<f32> {
        self.0
    }
}

/// The response of a hosted endpoint: one inner list per input, in input order.
///
/// ```
/// use clip_wasm::embedding::{Embedding, response};
///
/// let embeddings = [Embedding::new(vec![0.5, -2.0], false)?];
/// assert_eq!(response(&embeddings).to_string(), r#"{"data":[[0.5,-2.0]],"status_code":200}"#);
/// # Ok::<(), clip_wasm::Error>(())
/// ```
pub fn response(embeddings: &[Embedding]) -> Value {
    let data: Vec<&[f32]> = embeddings.iter().map(Embedding::values).collect();
    json!({ "data": data, "status_code": 200 })
}
