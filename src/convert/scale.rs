//! The scale of a checkpoint's logits. It is a tensor there and metadata in a GGUF, whose header is written
//! before any tensor comes; so it has to stand early.

use crate::convert::piece::{values, width};
use crate::format::safetensors::Header;

/// The scalar whose exponential the scale is, in either kind of checkpoint.
const NAME: &str = "logit_scale";
/// How far behind the header it may stand, in bytes. Files are sorted by type and name: Hugging Face's begin with
/// it, open_clip's with one norm and then it.
const REACH: u64 = 1 << 16;
/// OpenAI's training keeps the scale below this, as CLIP's paper says.
const MOST: f64 = 100.0;

/// What cosines are multiplied by before a softmax, by the first bytes of the checkpoint's first file. The outer
/// `None` asks for more of them, the inner one says that the checkpoint does not tell.
pub fn logit_scale(header: &Header, prefix: &[u8]) -> Option<Option<f32>> {
    let scalar = header.get(NAME).filter(|tensor| {
        let near = tensor.bytes.end <= header.data_start() + REACH;
        near && width(tensor.dtype).is_some() && tensor.shape.iter().product::<usize>() == 1
    });
    let Some(scalar) = scalar else { return Some(None) };
    let bytes = prefix.get(scalar.bytes.start as usize..scalar.bytes.end as usize)?;
    let logarithm = values(scalar.dtype, bytes)[0];
    // In f64, because machines differ in the last bit of an exponential, and files must not.
    let scale = f64::from(logarithm).exp().min(MOST) as f32;
    Some((logarithm.is_finite() && scale > 0.0).then_some(scale))
}
