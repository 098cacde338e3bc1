//! The vision tower: pixels -> projection.

use super::arena::Count;
use super::check::{batches, compare, known_picture};
use super::device::Gpu;
use super::kernels::{Copied, Kernel, Put};
use super::linear::{Into, LayerNorm, Linear};
use super::sequences::Sequence;
use super::steps::Recorder;
use super::tower::{Front, Plan, Tower, Work};
use super::weights::{Matrix, Upload, Values, buffer_of, quantised};
use crate::error::Result;
use crate::model::config::{self, Family, ModelConfig, VisionConfig};
use crate::weights::Weights;
use crate::weights::blocks::BLOCK;

/// Embeddings of patches and positions, the blocks, and the projection.
pub struct VisionTower {
    tower: Tower<Patches>,
    /// Rows that an image takes.
    rows: usize,
    grid: usize,
    edge: usize,
    /// The CPU's vector of the known picture.
    known: Option<Vec<f32>>,
}

/// From pixels to the rows of the first block.
struct Patches {
    /// `[3, 256]`: what each level of a channel becomes.
    levels: wgpu::Buffer,
    embedding: Linear,
    positions: wgpu::Buffer,
    /// Of a CLIP: the class token, and the norm of it and the patches.
    class: Option<(wgpu::Buffer, LayerNorm)>,
    /// Patches along an edge, pixels along a patch's and along the picture's edge.
    grid: usize,
    patch: usize,
    edge: usize,
}

impl VisionTower {
    /// Takes the tower's tensors out of `weights`. `known` is the CPU's vector of the known picture.
    pub fn new(
        gpu: &Gpu,
        model: &ModelConfig,
        config: &VisionConfig,
        weights: &mut Weights<Upload>,
        known: Option<Vec<f32>>,
    ) -> Result<Self> {
        let tower = tower(gpu, model, config, weights)?;
        let (rows, grid) = (rows(model, config), config.grid());
        Ok(Self { tower, rows, grid, edge: config.image_size, known })
    }

    /// Compiles its kernels.
    pub fn compile(
        gpu: &Gpu,
        model: &ModelConfig,
        config: &VisionConfig,
        weights: &mut Weights<Upload>,
    ) -> Result<()> {
        tower(gpu, model, config, weights)?.work(1, 1, 1)?;
        Ok(())
    }

    /// The GPU that it is on.
    pub fn gpu(&self) -> &Gpu {
        self.tower.gpu()
    }

    /// Rows that an image takes in a batch: its patches, and the class token if there is one.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many rows it computes together at most.
    pub fn most_rows(&self) -> usize {
        self.tower.most_rows()
    }

    /// The projections of images, `[projection_dim]` each, f32, not normalised. `images` are `[S, S, 3]`, u8, each.
    ///
    /// # Errors
    /// `low_memory`, `gpu_lost`, `gpu_unavailable`
    pub async fn forward<P: AsRef<[u8]>>(&self, images: &[P]) -> Result<Vec<Vec<f32>>> {
        let sequences = vec![Sequence { length: self.rows(), pooled: 0 }; images.len()];
        let patches = images.len() * self.grid * self.grid;
        let running = self.tower.run(&sequences, patches, |arena| {
            let queue = self.gpu().queue();
            let bytes = 3 * self.edge * self.edge;
            if bytes.is_multiple_of(4) {
                for (image, at) in images.iter().zip((0..).step_by(bytes)) {
                    queue.write_buffer(&arena.pixels, at, image.as_ref());
                }
            } else {
                let mut all = images.iter().flat_map(AsRef::as_ref).copied().collect::<Vec<u8>>();
                all.resize(all.len().next_multiple_of(4), 0);
                queue.write_buffer(&arena.pixels, 0, &all);
            }
            Ok(())
        });
        running.await
    }

    /// Compares its vectors with the CPU's, and returns the least cosine; `None` if there is nothing to compare with.
    ///
    /// # Errors
    /// `gpu_unavailable` if one is wrong; those of [`VisionTower::forward`].
    pub async fn check(&self) -> Result<Option<f64>> {
        let Some(known) = &self.known else { return Ok(None) };
        let picture = known_picture(self.edge);
        let mut vectors = Vec::new();
        for count in batches(self.rows(), self.most_rows()) {
            vectors.extend(self.forward(&vec![&picture; count]).await?);
        }
        compare("picture", known, &vectors).map(Some)
    }

    /// How much work a batch of images is.
    pub fn work(&self, images: usize) -> Result<Work> {
        self.tower.work(images * self.rows(), images, images * self.grid * self.grid)
    }
}

impl Patches {
    /// In f32 if some layer of the tower is, and in int8 otherwise, as on the CPU.
    fn new(
        gpu: &Gpu,
        family: Family,
        config: &VisionConfig,
        is_float: bool,
        weights: &mut Weights<Upload>,
    ) -> Result<Self> {
        let name = "v.patch_embd.weight";
        let sizes = config.sizes;
        let patch = config.patch_size;
        let (n, k) = (sizes.width, 3 * patch * patch);
        let values = weights.plain(name)?.flatten_all()?.to_vec1::<f32>()?;
        let matrix = match is_float {
            true => {
                gpu.check_size(name, 4 * values.len() as u64)?;
                Matrix { n, k, values: Values::Float(buffer_of(gpu, name, &values)) }
            }
            false => quantised(gpu, name, &values, n, k)?,
        };
        Ok(Self {
            levels: buffer_of(gpu, "levels", &config.preprocess.levels()),
            embedding: match family {
                Family::Clip => Linear::without_bias(gpu, matrix.into()),
                Family::Siglip => {
                    let bias = plain(gpu, "v.patch_embd.bias", weights)?;
                    Linear::of_parts(matrix.into(), bias)
                }
            },
            positions: plain(gpu, "v.position_embd.weight", weights)?,
            class: match family {
                Family::Clip => Some((
                    plain(gpu, "v.class_embd", weights)?,
                    LayerNorm::new(gpu, "v.pre_ln", sizes.layer_norm_eps, weights)?,
                )),
                Family::Siglip => None,
            },
            grid: config.grid(),
            patch,
            edge: config.image_size,
        })
    }
}

impl Front for Patches {
    fn record(&self, to: &mut Recorder) {
        let arena = to.arena;
        let from = &arena.patches;
        let (put, outputs) = self.embedding.takes(from);
        let buffers = [&[(4, &arena.pixels), (5, &self.levels)][..], &outputs].concat();
        let k = 3 * self.patch * self.patch;
        let sizes = [self.embedding.inputs(), k, self.edge, self.patch, self.grid];
        let sizes = sizes.map(|size| size as u32);
        to.each_row(Kernel::Patches { put }, Count::Patches, 1, &sizes, &buffers);
        self.embedding.record(to, Count::Patches, from, Into::Floats(&arena.qkv));
        let patches = self.grid * self.grid;
        if let Some((class_token, pre_norm)) = &self.class {
            let inputs = [&arena.qkv, class_token, &self.positions];
            pre_norm.record_pictures(to, inputs, patches + 1, &arena.residual);
        } else {
            let kernel = Kernel::CopyRows { from: Copied::Patches, put: Put::Float };
            let buffers = [(4, &arena.qkv), (6, &self.positions), (10, &arena.residual)];
            let sizes = [self.embedding.outputs() as u32, 0, patches as u32];
            to.each_row(kernel, Count::Rows, 1, &sizes, &buffers);
        }
    }
}

/// Rows that an image takes.
fn rows(model: &ModelConfig, config: &VisionConfig) -> usize {
    let class_tokens = match model.family {
        Family::Clip => 1,
        Family::Siglip => 0,
    };
    config.grid() * config.grid() + class_tokens
}

fn tower(
    gpu: &Gpu,
    model: &ModelConfig,
    config: &VisionConfig,
    weights: &mut Weights<Upload>,
) -> Result<Tower<Patches>> {
    let (patch, edge) = (config.patch_size, config.image_size);
    let plan = Plan {
        gpu,
        tower: config::Tower::Vision,
        family: model.family,
        sizes: config.sizes,
        activation: model.activation,
        longest: rows(model, config),
        pixel_bytes: 3 * edge * edge,
        patch: (3 * patch * patch).next_multiple_of(BLOCK),
    };
    Tower::new(&plan, weights, |forms, weights| {
        Patches::new(gpu, model.family, config, forms.is_float, weights)
    })
}

fn plain(gpu: &Gpu, name: &str, weights: &mut Weights<Upload>) -> Result<wgpu::Buffer> {
    let values = weights.plain(name)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(buffer_of(gpu, name, &values))
}
