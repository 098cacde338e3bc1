//! The kernels: which pieces of WGSL make each of them, and the pipelines they become.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::config::Activation;

/// What a dispatch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Normalises rows.
    LayerNorm { from: Rows, put: Put },
    /// Puts rows in another form.
    CopyRows { from: Copied, put: Put },
    /// The patches of pictures, as rows.
    Patches { put: Put },
    /// Activations times a weight.
    Product { sides: Sides, activation: Option<Activation>, put: Put, tile: Tile },
    /// Attention of groups of queries, for one head each.
    Attention { shape: Heads, is_int8: bool },
    /// A test's own.
    #[cfg(test)]
    Custom(&'static str),
}

/// Where a layer norm reads its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// From one buffer.
    Plain,
    /// From patches, the class token and positions.
    Picture,
}

/// Which rows are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Copied {
    /// All.
    All,
    /// Those of a list.
    Listed,
    /// All patches of pictures, with their positions.
    Patches,
}

/// What a kernel does with its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Put {
    /// Stores them in f32.
    Float,
    /// Adds them to the values that are there: a residual.
    Add,
    /// Rounds them to int8 in blocks of 32.
    Int8,
}

/// The forms of both sides of a product, and how they are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sides {
    /// Int8, by exact dot products of blocks.
    Dot { offsets: bool },
    /// Int8, unpacked to f32, whose sums of a block are exact too.
    Unpacked { offsets: bool },
    /// f32.
    Float,
}

/// The rows of a product that a workgroup computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// 64.
    Large,
    /// 32: fewer rows leave less of the GPU idle.
    Small,
}

/// Columns of a product that a workgroup computes.
pub const TILE_COLUMNS: u32 = 64;

/// Bytes of a workgroup's memory that attention's queries and scores may take: of the 16 KiB that every GPU has, the rest
/// is for its sums.
const ATTENTION_BYTES: usize = 15_000;

/// The shape of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heads {
    pub head_dim: u32,
    /// The most keys of a sequence.
    pub keys: u32,
    /// Queries that a workgroup takes, at most 8.
    pub queries: u32,
}

impl Heads {
    /// The shape for heads of this width and sequences of up to this length; `None` if a workgroup's memory is too small
    /// for a single query.
    pub fn new(head_dim: usize, longest: usize) -> Option<Self> {
        let fits = |queries: &u32| {
            4 * *queries as usize * head_dim.saturating_add(longest) <= ATTENTION_BYTES
        };
        let queries = [8, 4, 2, 1].into_iter().find(fits)?;
        Some(Self { head_dim: head_dim as u32, keys: longest as u32, queries })
    }
}

/// Bindings of this number and above are written, those below read. The first two are uniforms.
const FIRST_WRITTEN: u32 = 10;
const FIRST_STORAGE: u32 = 2;

impl Tile {
    /// That number.
    pub fn rows(self) -> u32 {
        match self {
            Self::Large => 64,
            Self::Small => 32,
        }
    }
}

impl Put {
    fn source(self) -> &'static str {
        match self {
            Self::Float => include_str!("shaders/put_f32.wgsl"),
            Self::Add => include_str!("shaders/put_add.wgsl"),
            Self::Int8 => include_str!("shaders/put_int8.wgsl"),
        }
    }
}

impl Kernel {
    /// Its WGSL.
    pub fn source(self) -> String {
        let sizes = concat!(include_str!("shaders/sizes.wgsl"), include_str!("shaders/exact.wgsl"));
        match self {
            Self::LayerNorm { from, put } => {
                let load = match from {
                    Rows::Plain => include_str!("shaders/load_row.wgsl"),
                    Rows::Picture => include_str!("shaders/load_picture_row.wgsl"),
                };
                let body = include_str!("shaders/layer_norm.wgsl");
                join(&["const THREADS = 64u;", sizes, put.source(), load, body])
            }
            Self::CopyRows { from, put } => {
                let load = match from {
                    Copied::All | Copied::Listed => include_str!("shaders/load_row.wgsl"),
                    Copied::Patches => include_str!("shaders/load_patch_row.wgsl"),
                };
                let from = match from {
                    Copied::Listed => include_str!("shaders/listed_row.wgsl"),
                    Copied::All | Copied::Patches => include_str!("shaders/same_row.wgsl"),
                };
                let body = include_str!("shaders/copy_rows.wgsl");
                join(&["const THREADS = 64u;", sizes, put.source(), load, from, body])
            }
            Self::Patches { put } => {
                let body = include_str!("shaders/patches.wgsl");
                join(&["const THREADS = 64u;", sizes, put.source(), body])
            }
            Self::Product { sides, activation, put, tile } => {
                let activate = match activation {
                    None => include_str!("shaders/identity.wgsl"),
                    Some(Activation::Gelu) => include_str!("shaders/gelu.wgsl"),
                    Some(Activation::GeluTanh) => include_str!("shaders/gelu_tanh.wgsl"),
                    Some(Activation::QuickGelu) => include_str!("shaders/quick_gelu.wgsl"),
                };
                let constants =
                    format!("const THREADS = 256u;\nconst TILE_ROWS = {}u;", tile.rows());
                let [load, body] = sides.sources();
                join(&[sides.requires(), &constants, sizes, put.source(), activate, load, body])
            }
            #[cfg(test)]
            Self::Custom(source) => source.into(),
            Self::Attention { shape: Heads { head_dim, keys, queries }, is_int8 } => {
                let constants = format!(
                    "const THREADS = 64u;\nconst HEAD_DIM = {head_dim}u;\nconst KEYS = {keys}u;\nconst QUERIES = {queries}u;"
                );
                let body = include_str!("shaders/attention.wgsl");
                match is_int8 {
                    true => {
                        let heads = include_str!("shaders/put_heads_int8.wgsl");
                        join(&[&constants, sizes, Put::Int8.source(), heads, body])
                    }
                    false => {
                        join(&[&constants, sizes, include_str!("shaders/put_heads_f32.wgsl"), body])
                    }
                }
            }
        }
    }
}

impl Sides {
    fn requires(self) -> &'static str {
        match self {
            Self::Dot { .. } => "requires packed_4x8_integer_dot_product;",
            Self::Unpacked { .. } | Self::Float => "",
        }
    }

    fn sources(self) -> [&'static str; 2] {
        let shift = match self {
            Self::Dot { offsets: true } | Self::Unpacked { offsets: true } => {
                include_str!("shaders/offsets.wgsl")
            }
            _ => include_str!("shaders/no_offsets.wgsl"),
        };
        match self {
            Self::Dot { .. } => [shift, include_str!("shaders/product_dot.wgsl")],
            Self::Unpacked { .. } => [shift, include_str!("shaders/product_unpacked.wgsl")],
            Self::Float => {
                [include_str!("shaders/load_floats.wgsl"), include_str!("shaders/product_f32.wgsl")]
            }
        }
    }
}

fn join(pieces: &[&str]) -> String {
    pieces.join("\n")
}

/// Changes the WGSL of a kernel, in tests.
pub type Edit = fn(String) -> String;

/// The pipelines that have been made so far.
#[derive(Default)]
pub struct Kernels {
    edit: Option<Edit>,
    made: Mutex<HashMap<Kernel, Pipeline>>,
}

/// A kernel that is compiled, and the layout of its bindings.
#[derive(Clone)]
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Kernels {
    /// Kernels whose WGSL is changed by `edit`.
    pub fn new(edit: Option<Edit>) -> Self {
        Self { edit, ..Self::default() }
    }

    /// How many have been made.
    pub fn count(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The pipeline of a kernel with these bindings, which are always the same for it.
    pub fn get(&self, device: &wgpu::Device, kernel: Kernel, bindings: &[u32]) -> Pipeline {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || compile(device, kernel, bindings, self.edit);
        made.entry(kernel).or_insert_with(make).clone()
    }
}

fn compile(
    device: &wgpu::Device,
    kernel: Kernel,
    bindings: &[u32],
    edit: Option<Edit>,
) -> Pipeline {
    let source = kernel.source();
    let source = edit.map_or(source.clone(), |edit| edit(source));
    let label = format!("{kernel:?}");
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(&label),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let entries: Vec<_> = bindings.iter().map(|binding| layout_entry(*binding)).collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(&label),
        entries: &entries,
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        // Every kernel writes its workgroup's memory before it reads it.
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { pipeline, layout }
}

fn layout_entry(binding: u32) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding {
        ..FIRST_STORAGE => wgpu::BufferBindingType::Uniform,
        _ => wgpu::BufferBindingType::Storage { read_only: binding < FIRST_WRITTEN },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
