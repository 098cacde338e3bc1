//! The logit scale of a checkpoint. It is a tensor there but metadata in a GGUF, whose header is written
//! before any tensor. So it must be read first, wherever it is stored.

use std::ops::Range;

use safetensors::Dtype;

use crate::convert::piece::{values, width};
use crate::format::weights::Header;
use crate::memory;
use crate::{Error, ErrorKind, Result};

/// The scalar whose exponential is the scale, in both kinds of checkpoint.
const NAME: &str = "logit_scale";
/// If the file arrives in order, the scale is only read up to this many bytes after the header. safetensors
/// files are sorted by type and name: Hugging Face's start with the scale, open_clip's with one norm and
/// then the scale.
const REACH: u64 = 1 << 16;
/// OpenAI's training clips the scale to this, as CLIP's paper says.
const MOST: f64 = 100.0;

/// A file whose header has been read, but not its scale.
pub struct Waiting {
    /// Its header.
    pub header: Header,
    /// Its first bytes, including the header.
    pub prefix: Vec<u8>,
    dtype: Dtype,
    /// Position of the scale in the file.
    bytes: Range<u64>,
    /// For a scale that is read separately: where the next chunk starts, and the bytes of the scale so far.
    apart: Option<(u64, Vec<u8>)>,
}

/// What the first bytes of a file say about its scale.
pub enum Scale {
    /// The scale, or `None` if there is none.
    Known(Header, Vec<u8>, Option<f32>),
    /// More bytes are needed.
    Waiting(Waiting),
}

impl Scale {
    /// `seeks` says whether the caller can pass a later part of the file first.
    pub fn find(header: Header, prefix: Vec<u8>, seeks: bool) -> Self {
        let scalar = header.get(NAME).filter(|tensor| {
            width(tensor.dtype).is_some() && tensor.shape.iter().product::<usize>() == 1
        });
        let Some(scalar) = scalar else { return Self::Known(header, prefix, None) };
        let near = scalar.bytes.end <= header.data_start() + REACH;
        if !near && !seeks {
            return Self::Known(header, prefix, None);
        }
        let (dtype, bytes) = (scalar.dtype, scalar.bytes);
        let apart = (!near).then(|| (prefix.len() as u64, Vec::new()));
        Waiting { header, prefix, dtype, bytes, apart }.look()
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
    pub fn push(mut self, chunk: &[u8]) -> Result<Scale> {
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
                    return Ok(Scale::Waiting(self));
                }
                if start > next || start < next && !taken.is_empty() {
                    let message = format!("the bytes of tensor {NAME} are out of order");
                    return Err(Error::new(ErrorKind::Internal, message));
                }
                let to = self.bytes.end.min(end);
                taken.extend_from_slice(&chunk[(next - start) as usize..(to - start) as usize]);
            }
        }
        Ok(self.look())
    }

    fn look(self) -> Scale {
        let bytes = match &self.apart {
            Some((_, taken)) if taken.len() as u64 == self.bytes.end - self.bytes.start => taken,
            // Even a scale that is read separately may have arrived with the first chunk.
            _ if self.bytes.end <= self.prefix.len() as u64 => {
                &self.prefix[self.bytes.start as usize..self.bytes.end as usize]
            }
            _ => return Scale::Waiting(self),
        };
        let scale = scale(values(self.dtype, bytes)[0]);
        Scale::Known(self.header, self.prefix, scale)
    }
}

/// The factor for cosines before a softmax; `None` if the checkpoint's value is not valid.
fn scale(logarithm: f32) -> Option<f32> {
    // In f64, because machines differ in the last bit of an f32 exponential, and files must not differ.
    let scale = f64::from(logarithm).exp().min(MOST) as f32;
    (logarithm.is_finite() && scale > 0.0).then_some(scale)
}
