//! The logit scale of a checkpoint, and the logit bias of a SigLIP. They are tensors there but metadata in a GGUF, whose
//! header is written before any tensor. So they must be read first, wherever they are stored.

use std::ops::Range;

use safetensors::Dtype;

use crate::convert::piece::{values, width};
use crate::format::weights::Header;
use crate::memory;
use crate::{Error, ErrorKind, Result};

/// The scalar whose exponential is the scale, in all kinds of checkpoint.
const SCALE: &str = "logit_scale";
/// The scalar that a SigLIP adds to scaled cosines.
const BIAS: &str = "logit_bias";
/// Both are read together if they are so close to each other, as safetensors files have them. Otherwise there is no bias.
const TOGETHER: u64 = 4096;
/// If the file arrives in order, the scale is only read up to this many bytes after the header. safetensors
/// files are sorted by type and name: Hugging Face's start with the scale, open_clip's with one norm and
/// then the scale.
const REACH: u64 = 1 << 16;
/// OpenAI's training clips the scale to this, as CLIP's paper says.
const MOST: f64 = 100.0;

/// What turns cosines into logits; `None` if a checkpoint does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Logits {
    /// The factor for cosines before a softmax or a sigmoid.
    pub scale: Option<f32>,
    /// What is added to a scaled cosine before a sigmoid.
    pub bias: Option<f32>,
}

/// A file whose header has been read, but not its logits.
pub struct Waiting {
    /// Its header.
    pub header: Header,
    /// Its first bytes, including the header.
    pub prefix: Vec<u8>,
    scale: Scalar,
    bias: Option<Scalar>,
    /// The part of the file that has both.
    bytes: Range<u64>,
    /// If that is read separately: where the next chunk starts, and the bytes so far.
    apart: Option<(u64, Vec<u8>)>,
}

/// A tensor of one value.
struct Scalar {
    dtype: Dtype,
    /// Its position in the file.
    bytes: Range<u64>,
}

/// What the first bytes of a file say about its logits.
pub enum Found {
    /// All that is known of them.
    Known(Header, Vec<u8>, Logits),
    /// More bytes are needed.
    Waiting(Waiting),
}

impl Found {
    /// `seeks` says whether the caller can pass a later part of the file first.
    pub fn find(header: Header, prefix: Vec<u8>, seeks: bool) -> Self {
        let scalar = |name: &str| {
            let tensor = header.get(name).filter(|tensor| {
                width(tensor.dtype).is_some() && tensor.shape.iter().product::<usize>() == 1
            })?;
            Some(Scalar { dtype: tensor.dtype, bytes: tensor.bytes })
        };
        let Some(scale) = scalar(SCALE) else {
            return Self::Known(header, prefix, Logits::default());
        };
        let both = |bias: &Scalar| {
            scale.bytes.start.min(bias.bytes.start)..scale.bytes.end.max(bias.bytes.end)
        };
        let bias = scalar(BIAS).filter(|bias| {
            let Range { start, end } = both(bias);
            end - start <= TOGETHER
        });
        let bytes = bias.as_ref().map_or(scale.bytes.clone(), both);
        let near = bytes.end <= header.data_start() + REACH;
        if !near && !seeks {
            return Self::Known(header, prefix, Logits::default());
        }
        let apart = (!near).then(|| (prefix.len() as u64, Vec::new()));
        Waiting { header, prefix, scale, bias, bytes, apart }.look()
    }
}

impl Waiting {
    /// Sets the position at which the next chunk starts.
    pub fn seek(&mut self, to: u64) {
        if let Some((position, _)) = &mut self.apart {
            *position = to;
        }
    }

    /// The part of the file that must be pushed next, if it is not simply the following one.
    pub fn wanted(&self) -> Option<Range<u64>> {
        let (_, taken) = self.apart.as_ref()?;
        Some(self.bytes.start + taken.len() as u64..self.bytes.end)
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// `low_memory`; `internal` if the scale's bytes are out of order.
    pub fn push(mut self, chunk: &[u8]) -> Result<Found> {
        match &mut self.apart {
            None => {
                memory::reserve(&mut self.prefix, chunk.len() as u64)?;
                self.prefix.extend_from_slice(chunk);
            }
            Some((position, taken)) => {
                let (start, end) = (*position, position.saturating_add(chunk.len() as u64));
                *position = end;
                let next = self.bytes.start + taken.len() as u64;
                if end <= next && taken.is_empty() {
                    return Ok(Found::Waiting(self));
                }
                if start > next || start < next && !taken.is_empty() {
                    let message = format!("the bytes of tensor {SCALE} are out of order");
                    return Err(Error::new(ErrorKind::Internal, message));
                }
                let to = self.bytes.end.min(end);
                taken.extend_from_slice(&chunk[(next - start) as usize..(to - start) as usize]);
            }
        }
        Ok(self.look())
    }

    fn look(self) -> Found {
        let bytes = match &self.apart {
            Some((_, taken)) if taken.len() as u64 == self.bytes.end - self.bytes.start => taken,
            // Even a scale that is read separately may have arrived with the first chunk.
            _ if self.bytes.end <= self.prefix.len() as u64 => {
                &self.prefix[self.bytes.start as usize..self.bytes.end as usize]
            }
            _ => return Found::Waiting(self),
        };
        let value = |scalar: &Scalar| {
            let from = (scalar.bytes.start - self.bytes.start) as usize;
            let to = (scalar.bytes.end - self.bytes.start) as usize;
            values(scalar.dtype, &bytes[from..to])[0]
        };
        let bias = self.bias.as_ref().map(value).filter(|bias| bias.is_finite());
        // Only CLIP's training clips it.
        let most = if bias.is_some() { f64::INFINITY } else { MOST };
        let logits = Logits { scale: scale(value(&self.scale), most), bias };
        Found::Known(self.header, self.prefix, logits)
    }
}

/// The factor for cosines, at most `most`; `None` if the checkpoint's value is not valid.
fn scale(logarithm: f32, most: f64) -> Option<f32> {
    // In f64, because machines differ in the last bit of an f32 exponential, and files must not differ.
    let scale = f64::from(logarithm).exp().min(most) as f32;
    (logarithm.is_finite() && scale.is_finite() && scale > 0.0).then_some(scale)
}
