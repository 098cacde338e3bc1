//! What both towers have: the blocks, the end, and how a batch runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::MOST_ROWS;
use super::arena::{Arena, COUNT_STRIDE, COUNTS, Capacity, Count, Forms, Widths, most_rows};
use super::block::{Block, HEAD, pool};
use super::device::{Gpu, unavailable};
use super::kernels::Heads;
use super::linear::{Into, LayerNorm, Linear};
use super::readback::read;
use super::sequences::{GROUP, Sequence, Tables, bytes_of};
use super::steps::{Recorder, Step};
use super::weights::{Upload, buffer_of};
use crate::error::Result;
use crate::model::config::{self, Activation, Family, LayerSizes};
use crate::weights::Weights;

/// The part of a tower that its inputs decide.
pub trait Front {
    /// Adds the steps before the blocks, whose result is `arena.residual`.
    fn record(&self, to: &mut Recorder);
}

/// The blocks of a tower, its last norm and its projection.
pub struct Tower<F> {
    gpu: Gpu,
    front: F,
    blocks: Vec<Block>,
    end: End,
    is_causal: bool,
    shape: Heads,
    widths: Widths,
    state: Mutex<State>,
}

/// How rows become vectors.
#[allow(clippy::large_enum_variant, reason = "a tower has one")]
enum End {
    /// The norm and the projection of a pooled row, whose other rows are not computed in the last block.
    Projection(LayerNorm, Linear),
    /// The attention that pools a SigLIP's images, and what attends.
    Head(Block, wgpu::Buffer),
}

/// What is made at the first batch, and made anew for a larger one.
#[derive(Default)]
struct State {
    list: Option<(Arena, Vec<Step>)>,
    /// Buffers for results that nobody is waiting for.
    readbacks: Vec<wgpu::Buffer>,
}

/// What a tower is made of beside its weights.
pub struct Plan<'a> {
    pub gpu: &'a Gpu,
    pub tower: config::Tower,
    pub family: Family,
    pub sizes: LayerSizes,
    pub activation: Activation,
    /// Rows of the longest input.
    pub longest: usize,
    pub pixel_bytes: usize,
    pub patch: usize,
}

/// How much work a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Dispatches.
    pub dispatches: usize,
    /// Multiplications and additions of the linear layers, each pair counted once.
    pub multiply_adds: u64,
    /// Bytes of the weights, each of which is read at least once.
    pub weight_bytes: u64,
    /// Bytes of the buffers that a batch is computed in.
    pub arena_bytes: u64,
}

impl<F: Front> Tower<F> {
    /// Takes the blocks and the end of a tower out of `weights`; `front` makes its beginning, given the forms that the
    /// blocks take.
    pub fn new(
        plan: &Plan,
        weights: &mut Weights<Upload>,
        front: impl FnOnce(Forms, &mut Weights<Upload>) -> Result<F>,
    ) -> Result<Self> {
        let &Plan { gpu, tower, family, sizes, activation, .. } = plan;
        let name = match tower {
            config::Tower::Text => "t",
            config::Tower::Vision => "v",
        };
        let shape = Heads::new(sizes.head_dim(), plan.longest).ok_or_else(|| {
            let (dim, longest) = (sizes.head_dim(), plan.longest);
            unavailable(format!("{longest} rows in heads of {dim} values are too many for a GPU"))
        })?;
        let block = |name: &str, weights: &mut Weights<Upload>| {
            Block::new(gpu, name, &sizes, activation, shape, weights)
        };
        let blocks = (0..sizes.layers).map(|layer| block(&format!("{name}.blk.{layer}"), weights));
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let mut forms = Forms::default();
        blocks.iter().for_each(|block| block.add_forms(&mut forms));
        let front = front(forms, weights)?;
        let norm = |weights: &mut Weights<Upload>| {
            LayerNorm::new(gpu, &format!("{name}.post_ln"), sizes.layer_norm_eps, weights)
        };
        let end = match (family, tower) {
            (Family::Clip, _) => {
                let projection = match tower {
                    config::Tower::Text => "text_projection.weight",
                    config::Tower::Vision => "visual_projection.weight",
                };
                let matrix = weights.linear(projection)?.matrix();
                End::Projection(norm(weights)?, Linear::without_bias(gpu, matrix))
            }
            (Family::Siglip, config::Tower::Text) => {
                End::Projection(norm(weights)?, Linear::new(gpu, "text_projection", weights)?)
            }
            (Family::Siglip, config::Tower::Vision) => {
                let probe = weights.plain("v.head.probe")?.flatten_all()?.to_vec1::<f32>()?;
                End::Head(block(HEAD, weights)?, buffer_of(gpu, "probe", &probe))
            }
        };
        match &end {
            End::Projection(_, projection) => {
                forms.is_int8 |= projection.is_int8();
                forms.is_float |= !projection.is_int8();
            }
            End::Head(block, _) => block.add_forms(&mut forms),
        }
        let widths = Widths {
            width: sizes.width,
            feed_forward: sizes.feed_forward,
            projection: end.outputs(sizes.width),
            pixel_bytes: plan.pixel_bytes,
            patch: plan.patch,
            forms,
        };
        let is_causal = family == Family::Clip && tower == config::Tower::Text;
        let state = Mutex::default();
        let gpu = gpu.clone();
        gpu.check()?;
        Ok(Self { gpu, front, blocks, end, is_causal, shape, widths, state })
    }

    /// The GPU that it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// How many rows it computes together at most.
    pub fn most_rows(&self) -> usize {
        most_rows(&self.gpu, &self.widths, MOST_ROWS)
    }

    /// The projections of inputs with these rows, `[projection_dim]` each. `write` writes the inputs into the buffers;
    /// `patches` is how many patches there are.
    ///
    /// # Errors
    /// `low_memory`, `gpu_lost`; `gpu_unavailable` if a buffer would be too large.
    pub async fn run(
        &self,
        sequences: &[Sequence],
        patches: usize,
        write: impl FnOnce(&Arena) -> Result<()>,
    ) -> Result<Vec<Vec<f32>>> {
        let (buffer, bytes) = self.submit(sequences, patches, write)?;
        let values = read(&self.gpu, &buffer, bytes).await?;
        self.state().readbacks.push(buffer);
        Ok(values.chunks_exact(self.widths.projection).map(<[f32]>::to_vec).collect())
    }

    /// How much work a batch of up to so many rows is.
    pub fn work(&self, rows: usize, pooled: usize, patches: usize) -> Result<Work> {
        let mut state = self.state();
        let (arena, steps) = self.list(&mut state, Capacity { rows, pooled })?;
        let mut counts = [0; COUNTS];
        counts[Count::Rows as usize] = rows as u32;
        counts[Count::Pooled as usize] = pooled as u32;
        counts[Count::Patches as usize] = patches as u32;
        let linears = self.blocks.iter().map(Block::weight_bytes).sum::<u64>();
        Ok(Work {
            dispatches: steps.len(),
            multiply_adds: steps.iter().map(|step| step.multiply_adds(&counts)).sum(),
            weight_bytes: linears
                + match &self.end {
                    End::Projection(_, projection) => projection.weight_bytes(),
                    End::Head(block, _) => block.weight_bytes(),
                },
            arena_bytes: arena.bytes(),
        })
    }

    fn submit(
        &self,
        sequences: &[Sequence],
        patches: usize,
        write: impl FnOnce(&Arena) -> Result<()>,
    ) -> Result<(wgpu::Buffer, u64)> {
        self.gpu.check()?;
        let tables = Tables::new(sequences, self.is_causal, self.shape.queries as usize);
        let pooled = sequences.len();
        let bytes = 4 * (pooled * self.widths.projection) as u64;
        let mut state = self.state();
        let found = state.readbacks.iter().position(|buffer| buffer.size() >= bytes);
        let readback = match found {
            Some(at) => state.readbacks.swap_remove(at),
            None => self.readback(bytes),
        };
        let (arena, steps) = self.list(&mut state, Capacity { rows: tables.rows, pooled })?;
        write(arena)?;
        let queue = self.gpu.queue();
        queue.write_buffer(&arena.groups, 0, &bytes_of(&tables.groups));
        queue.write_buffer(&arena.pooled_groups, 0, &bytes_of(&tables.pooled_groups));
        queue.write_buffer(&arena.pooled_rows, 0, &bytes_of(&tables.pooled_rows));
        let mut counts = [0; COUNTS];
        for (count, number) in [
            (Count::Rows, tables.rows),
            (Count::Pooled, pooled),
            (Count::Patches, patches),
            (Count::Groups, tables.groups.len() / GROUP),
            (Count::PooledGroups, pooled),
        ] {
            counts[count as usize] = number as u32;
        }
        queue.write_buffer(&arena.counts, 0, &spread(&counts));
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            steps.iter().for_each(|step| step.dispatch(&mut pass, &counts));
        }
        let vectors = match &self.end {
            End::Projection(..) => &arena.projected,
            End::Head(..) => &arena.pooled,
        };
        encoder.copy_buffer_to_buffer(vectors, 0, &readback, 0, bytes);
        queue.submit([encoder.finish()]);
        Ok((readback, bytes))
    }

    /// The buffers and steps for at least so many rows.
    fn list<'a>(&self, state: &'a mut State, needed: Capacity) -> Result<&'a (Arena, Vec<Step>)> {
        let has = state.list.as_ref().map(|(arena, _)| arena.capacity);
        let fits = has.is_some_and(|has| has.rows >= needed.rows && has.pooled >= needed.pooled);
        if !fits {
            // The old buffers go first.
            state.list = None;
            let has = has.unwrap_or(Capacity { rows: 0, pooled: 0 });
            let rows = grown(has.rows, needed.rows).min(self.most_rows().max(needed.rows));
            let pooled = grown(has.pooled, needed.pooled);
            let arena = Arena::new(&self.gpu, Capacity { rows, pooled }, &self.widths)?;
            let mut recorder = Recorder::new(&self.gpu, &arena);
            self.record(&mut recorder);
            let steps = recorder.steps;
            self.gpu.check()?;
            state.list = Some((arena, steps));
        }
        Ok(state.list.as_ref().expect("it has just been made"))
    }

    fn record(&self, to: &mut Recorder) {
        self.front.record(to);
        let arena = to.arena;
        match (&self.end, self.blocks.split_last()) {
            (End::Head(head, probe), _) => {
                self.blocks.iter().for_each(|block| block.record(to));
                head.record_head(to, probe);
                return;
            }
            (End::Projection(..), Some((last, first))) => {
                first.iter().for_each(|block| block.record(to));
                last.record_pooled(to);
            }
            (End::Projection(..), None) => pool(to, self.widths.width),
        }
        if let End::Projection(norm, projection) = &self.end {
            norm.record(to, Count::Pooled, &arena.pooled, &arena.normed, projection);
            projection.record(to, Count::Pooled, &arena.normed, Into::Floats(&arena.projected));
        }
    }

    fn readback(&self, bytes: u64) -> wgpu::Buffer {
        self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("results"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// The length of a vector of a tower of this width.
    fn outputs(&self, width: usize) -> usize {
        match self {
            Self::Projection(_, projection) => projection.outputs(),
            Self::Head(..) => width,
        }
    }
}

/// Room for what is needed, and, from the second time on, for twice what there was.
fn grown(has: usize, needed: usize) -> usize {
    if needed <= has { has } else { needed.max(2 * has) }
}

/// Counts as their buffer has them.
fn spread(counts: &[u32; COUNTS]) -> Vec<u8> {
    let mut bytes = vec![0; COUNT_STRIDE as usize * COUNTS];
    for (count, place) in counts.iter().zip(bytes.chunks_exact_mut(COUNT_STRIDE as usize)) {
        place[..4].copy_from_slice(&count.to_le_bytes());
    }
    bytes
}
