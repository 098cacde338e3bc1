//! Which adapter computes, and the device made of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::faults::Faults;
use super::kernels::{Edit, Kernels};
use crate::error::{Error, ErrorKind, Result};

/// How a GPU is asked for.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Takes an adapter that computes on the CPU too, such as lavapipe, WARP or SwiftShader. It is slower than the CPU
    /// towers, and is for tests.
    pub allow_software: bool,
    /// How int8 weights are multiplied.
    pub product: Product,
    /// The most bytes a shader may read from one buffer, if that shall be less than the adapter allows. For tests.
    pub most_binding_bytes: Option<u64>,
    /// Changes the WGSL of each kernel, so that a test can make a wrong one.
    #[doc(hidden)]
    pub edit_kernels: Option<Edit>,
}

/// Bytes of weights that are written at most before they are submitted: until then they take this program's memory.
const SUBMIT_AFTER: u64 = 8 << 20;

/// How a GPU multiplies int8 weights with int8 activations. Weights in f32 are always multiplied in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Product {
    /// By its dot product of four int8 values (DP4A): exact integer sums within a block.
    #[default]
    Dot,
    /// In f32, whose sums of whole numbers are exact too: for GPUs on which the dot product is emulated, and slow.
    Float,
}

/// A GPU that is ready to compute. Clones share it.
#[derive(Clone)]
pub struct Gpu(Arc<Shared>);

struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    has_dot: bool,
    product: Mutex<Product>,
    most_binding_bytes: u64,
    faults: Arc<Faults>,
    kernels: Kernels,
    /// Bytes of weights since the last submission.
    written: AtomicU64,
}

impl Gpu {
    /// The fastest GPU there is.
    ///
    /// # Errors
    /// `gpu_unavailable` if there is none, or only one that computes on the CPU, or whose limits are below WebGPU's
    /// defaults. The message says why.
    pub async fn request(options: GpuOptions) -> Result<Self> {
        let instance = wgpu::Instance::default();
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance
            .request_adapter(&wanted)
            .await
            .map_err(|error| unavailable("there is no GPU adapter").with_source(error))?;
        let info = adapter.get_info();
        if is_software(&info) && !options.allow_software {
            let name = &info.name;
            return Err(unavailable(format!("the only GPU adapter, {name}, computes on the CPU")));
        }
        let has_dot = instance
            .wgsl_language_features()
            .contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct);
        let descriptor = wgpu::DeviceDescriptor { label: Some("clip-wasm"), ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            unavailable(format!("the GPU {} gives no device: {error}", info.name))
        })?;
        let faults = Faults::watch(&device);
        let product = Mutex::new(if has_dot { options.product } else { Product::Float });
        let allowed = device.limits().max_storage_buffer_binding_size;
        let most_binding_bytes =
            options.most_binding_bytes.map_or(allowed, |most| most.min(allowed));
        let kernels = Kernels::new(options.edit_kernels);
        Ok(Self(Arc::new(Shared {
            device,
            queue,
            info,
            has_dot,
            product,
            most_binding_bytes,
            faults,
            kernels,
            written: AtomicU64::new(0),
        })))
    }

    /// [`Gpu::request`] for programs that may wait.
    ///
    /// # Errors
    /// Those of [`Gpu::request`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn request_now(options: GpuOptions) -> Result<Self> {
        super::ready(Self::request(options))
    }

    /// The adapter's name, for people. In a browser it may be empty.
    pub fn name(&self) -> &str {
        &self.0.info.name
    }

    /// Whether it computes on the CPU.
    pub fn is_software(&self) -> bool {
        is_software(&self.0.info)
    }

    /// How it multiplies int8 weights.
    pub fn product(&self) -> Product {
        *self.0.product.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Multiplies so from now on, if the GPU can; otherwise nothing changes, and the result is `false`.
    pub(super) fn choose_product(&self, product: Product) -> bool {
        let is_possible = self.0.has_dot || product == Product::Float;
        if is_possible {
            *self.0.product.lock().unwrap_or_else(PoisonError::into_inner) = product;
        }
        is_possible
    }

    /// Bytes of GPU memory that it holds; `None` if the system does not tell.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn allocated_bytes(&self) -> Option<u64> {
        Some(self.0.device.generate_allocator_report()?.total_allocated_bytes)
    }

    /// How many kernels have been compiled.
    #[doc(hidden)]
    pub fn compiled(&self) -> usize {
        self.0.kernels.count()
    }

    /// Whether the system has taken the device away, or [`Gpu::destroy`] was called: then it computes nothing any more.
    pub fn is_lost(&self) -> bool {
        self.0.faults.is_lost()
    }

    /// Gives the device and all its memory back. Encoders on it fail with `gpu_lost` from then on.
    pub fn destroy(&self) {
        self.0.device.destroy();
    }

    /// The error that has happened since the last call, if one has.
    ///
    /// # Errors
    /// `gpu_lost`, `low_memory`, or `internal` if a kernel is invalid.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.faults.check()
    }

    /// Refuses a buffer that is larger than a shader may read.
    ///
    /// # Errors
    /// `gpu_unavailable`
    pub(crate) fn check_size(&self, what: &str, bytes: u64) -> Result<()> {
        let most = self.0.most_binding_bytes;
        if bytes <= most {
            return Ok(());
        }
        Err(unavailable(format!("{what} takes {bytes} bytes, and this GPU reads at most {most}")))
    }

    /// The most bytes that a shader may read from one buffer.
    pub(crate) fn most_binding_bytes(&self) -> u64 {
        self.0.most_binding_bytes
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Counts bytes that were written to buffers, and submits them if they have become many.
    pub(super) fn submit_writes(&self, bytes: u64) {
        if self.0.written.fetch_add(bytes, Ordering::Relaxed) + bytes > SUBMIT_AFTER {
            self.0.written.store(0, Ordering::Relaxed);
            self.0.queue.submit([]);
            // Frees what earlier submissions took; a lost device is seen at the next check.
            let _ = self.0.device.poll(wgpu::PollType::Poll);
        }
    }

    pub(super) fn kernels(&self) -> &Kernels {
        &self.0.kernels
    }
}

fn is_software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
}

/// The error for a GPU that cannot be used.
pub(crate) fn unavailable(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::GpuUnavailable, why.to_string())
}
