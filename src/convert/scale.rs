//! The scale of a checkpoint's logits. It is a tensor there and metadata in a GGUF, whose header is written before
//! any tensor: so it has to come first, wherever it stands.

use std::ops::Range;

use safetensors::Dtype;

use crate::convert::piece::{values, width};
use crate::format::weights::Header;
use crate::memory;
use crate::{Error, ErrorKind, Result};

/// The scalar whose exponential the scale is, in either kind of checkpoint.
const NAME: &str = "logit_scale";
/// How far behind the header it may stand where the file comes in order, in bytes. safetensors files are sorted by type
/// and name: Hugging Face's begin with it, open_clip's with one norm and then it.
const REACH: u64 = 1 << 16;
/// OpenAI's training keeps the scale below this, as CLIP's paper says.
const MOST: f64 = 100.0;

/// A file whose header has come, and whose scale has not.
pub struct Waiting {
    /// Its header.
    pub header: Header,
    /// Its first bytes, the header among them.
    pub prefix: Vec<u8>,
    dtype: Dtype,
    /// Where the scale stands in the file.
    bytes: Range<u64>,
    /// Of a scale that is read apart from what comes before it: where the next chunk begins, and what has come of it.
    apart: Option<(u64, Vec<u8>)>,
}

/// What the first bytes of a file tell of its scale.
pub enum Scale {
    /// It, or that there is none.
    Known(Header, Vec<u8>, Option<f32>),
    /// More bytes are needed.
    Waiting(Waiting),
}

impl Scale {
    /// `seeks` says whether a part of the file that stands far behind can be had first.
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
    /// The next chunk begins there.
    pub fn seek(&mut self, to: u64) {
        if let Some((position, _)) = &mut self.apart {
            *position = to;
        }
    }

    /// The part of the file that is to come next, where that is not what follows.
    pub fn wanted(&self) -> Option<Range<u64>> {
        let (_, taken) = self.apart.as_ref()?;
        Some(self.bytes.start + taken.len() as u64..self.bytes.end)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `low_memory`; `internal` where the scale's bytes are out of order.
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
            // What is read apart may have come with the first chunk all the same.
            _ if self.bytes.end <= self.prefix.len() as u64 => {
                &self.prefix[self.bytes.start as usize..self.bytes.end as usize]
            }
            _ => return Scale::Waiting(self),
        };
        let scale = scale(values(self.dtype, bytes)[0]);
        Scale::Known(self.header, self.prefix, scale)
    }
}

/// What cosines are multiplied by before a softmax; `None` where the checkpoint does not tell.
fn scale(logarithm: f32) -> Option<f32> {
    // In f64, because machines differ in the last bit of an exponential, and files must not.
    let scale = f64::from(logarithm).exp().min(MOST) as f32;
    (logarithm.is_finite() && scale > 0.0).then_some(scale)
}
