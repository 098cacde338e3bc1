//! The towers on a GPU, in WGSL, by the `wgpu` crate: WebGPU in a browser, natively Vulkan, Metal or DirectX.
//!
//! The arithmetic of a quantised file is the CPU's, rounding by rounding: see shaders/exact.wgsl. Less would not do.
//! Activations become int8 after every layer, so a last bit that differs becomes a whole step now and then; that changes
//! thousands of values of the next layer a little, and after twelve layers a vector is as far from the CPU's as two
//! models that are quantised independently: a cosine of 0.9998 instead of 1. A file of floats has no such steps, and is
//! computed in f32 in whatever order is fast.
//!
//! A tower is a list of dispatches, made once, over buffers that are made once and grown
//! rarely. A batch writes its input, runs the list in one submission, and maps the vectors back.

#![cfg_attr(
    target_arch = "wasm32",
    allow(clippy::arc_with_non_send_sync, reason = "natively threads share them")
)]

mod ahead;
mod arena;
mod block;
mod check;
mod device;
mod faults;
mod kernels;
mod linear;
mod loading;
mod race;
mod readback;
mod sequences;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod tower;
mod vision;
mod weights;

pub use device::{Gpu, GpuOptions, Product};
#[cfg(not(target_arch = "wasm32"))]
pub use race::race_now;
pub use race::{Race, race};
#[doc(hidden)]
pub use tower::Work as GpuWork;

pub(crate) use loading::{ClipModel, Loading};
pub(crate) use readback::ready;
pub(crate) use text::TextTower;
pub(crate) use vision::VisionTower;

/// A tensor that is being loaded.
pub(crate) type Incoming = crate::weights::Incoming<weights::Upload>;

/// The most rows that are computed in one submission: 32 pictures of a ViT-B/32. More are hardly faster, and a GPU that
/// works on one submission for seconds is reset by the system.
pub(crate) const MOST_ROWS: usize = 1600;
