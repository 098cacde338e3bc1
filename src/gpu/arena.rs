//! The buffers that a tower computes in. They are made for so many rows, and made anew only for more.

use super::device::Gpu;
use super::weights::storage;
use crate::error::Result;
use crate::weights::blocks::BLOCK;

/// How many rows and inputs an arena has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Rows of all inputs of a batch together.
    pub rows: usize,
    /// Inputs of a batch: each has one row that is pooled.
    pub pooled: usize,
}

/// The sizes of a tower that decide how large its buffers are.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    pub width: usize,
    pub feed_forward: usize,
    pub projection: usize,
    /// Bytes of an input's pixels; 0 for texts.
    pub pixel_bytes: usize,
    /// Values of a patch, with their padding; 0 for texts.
    pub patch: usize,
    /// The forms in which its linear layers take their inputs.
    pub forms: Forms,
}

/// The forms of activations that a tower needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forms {
    pub is_int8: bool,
    pub is_float: bool,
}

/// Activations `[rows, width]`, in the forms that the layers after them need.
pub struct Activations {
    /// A byte each.
    pub quants: wgpu::Buffer,
    /// Scale and sum of each block of 32.
    pub factors: wgpu::Buffer,
    /// f32.
    pub floats: wgpu::Buffer,
}

/// Counts of the current batch, each of which a step may have as its number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// All rows.
    Rows,
    /// The rows that are pooled.
    Pooled,
    /// Patches of all pictures.
    Patches,
    /// Groups of queries.
    Groups,
    /// Groups of the queries that are pooled.
    PooledGroups,
}

/// Bytes between the counts in their buffer: no GPU aligns a uniform to more.
pub const COUNT_STRIDE: u64 = 256;
/// How many counts there are.
pub const COUNTS: usize = 5;

/// The buffers, `[rows, …]` or `[pooled, …]` each.
pub struct Arena {
    pub capacity: Capacity,
    /// The counts of the batch.
    pub counts: wgpu::Buffer,
    /// The pictures' bytes, one after the other.
    pub pixels: wgpu::Buffer,
    /// The rows of patches, `[patches, patch]`.
    pub patches: Activations,
    /// The residual, f32.
    pub residual: wgpu::Buffer,
    /// What a layer takes: normed rows, or the output of attention.
    pub normed: Activations,
    /// The values within an MLP.
    pub hidden: Activations,
    /// Queries, keys and values side by side, f32; before them the embedded patches.
    pub qkv: wgpu::Buffer,
    /// Attention's output before it is quantised, where blocks do not divide heads.
    pub attended: wgpu::Buffer,
    /// The residual of the pooled rows.
    pub pooled: wgpu::Buffer,
    /// The queries of the pooled rows.
    pub pooled_queries: wgpu::Buffer,
    /// The projections.
    pub projected: wgpu::Buffer,
    /// Groups of queries: see attention.wgsl.
    pub groups: wgpu::Buffer,
    pub pooled_groups: wgpu::Buffer,
    /// The pooled rows' places among all rows.
    pub pooled_rows: wgpu::Buffer,
    /// As many zeros: a list of the first row.
    pub first_rows: wgpu::Buffer,
}

impl Arena {
    /// Buffers for so many rows.
    ///
    /// # Errors
    /// `gpu_unavailable` if one would be larger than a shader may read; `low_memory`.
    pub fn new(gpu: &Gpu, capacity: Capacity, widths: &Widths) -> Result<Self> {
        let Capacity { rows, pooled } = capacity;
        let &Widths { width, feed_forward, projection, pixel_bytes, patch, forms } = widths;
        for (what, bytes) in largest(capacity, widths) {
            gpu.check_size(what, bytes)?;
        }
        let make = |label: &str, bytes: usize| storage(gpu, label, bytes as u64);
        let floats = |label: &str, rows: usize, width: usize| make(label, 4 * rows * width);
        let activations = |label: &str, rows: usize, width: usize| Activations {
            quants: make(label, if forms.is_int8 { rows * width } else { 0 }),
            factors: make(label, if forms.is_int8 { rows * width.div_ceil(BLOCK) * 8 } else { 0 }),
            floats: floats(label, if forms.is_float { rows } else { 0 }, width),
        };
        let counts = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("counts"),
            size: COUNT_STRIDE * COUNTS as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let arena = Self {
            capacity,
            counts,
            pixels: make("pixels", (pooled * pixel_bytes).next_multiple_of(4)),
            patches: activations("patches", rows, patch),
            residual: floats("residual", rows, width),
            normed: activations("normed", rows, width),
            hidden: activations("hidden", rows, feed_forward),
            qkv: floats("qkv", rows, 3 * width),
            attended: floats("attended", rows, width),
            pooled: floats("pooled", pooled, width),
            pooled_queries: floats("pooled queries", pooled, width),
            projected: floats("projected", pooled, projection),
            groups: make("groups", 32 * rows),
            pooled_groups: make("pooled groups", 32 * pooled),
            pooled_rows: make("pooled rows", 4 * pooled),
            first_rows: make("first rows", 4 * pooled),
        };
        gpu.check()?;
        Ok(arena)
    }

    /// Buffers for steps that are not a tower's: only the counts are used. `count` of them is `number`.
    pub fn of_count(gpu: &Gpu, count: Count, number: u32) -> Result<(Self, [u32; COUNTS])> {
        let widths = Widths {
            width: 1,
            feed_forward: 1,
            projection: 1,
            pixel_bytes: 0,
            patch: 0,
            forms: Forms::default(),
        };
        let arena = Self::new(gpu, Capacity { rows: 1, pooled: 1 }, &widths)?;
        let mut counts = [0; COUNTS];
        counts[count as usize] = number;
        let at = COUNT_STRIDE * count as u64;
        gpu.queue().write_buffer(&arena.counts, at, &number.to_le_bytes());
        Ok((arena, counts))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        let activations = [&self.patches, &self.normed, &self.hidden];
        let activations = activations
            .into_iter()
            .flat_map(|Activations { quants, factors, floats }| [quants, factors, floats]);
        let others = [
            &self.counts,
            &self.pixels,
            &self.residual,
            &self.qkv,
            &self.attended,
            &self.pooled,
            &self.pooled_queries,
            &self.projected,
            &self.groups,
            &self.pooled_groups,
            &self.pooled_rows,
            &self.first_rows,
        ];
        activations.chain(others).map(wgpu::Buffer::size).sum()
    }
}

/// The buffers that may become too large, with their bytes.
fn largest(capacity: Capacity, widths: &Widths) -> [(&'static str, u64); 4] {
    let rows = capacity.rows as u64;
    let float = |width: usize| 4 * rows * width as u64;
    let hidden = if widths.forms.is_float { 4 } else { 1 };
    let patch = if widths.forms.is_float { 4 } else { 1 };
    [
        ("queries, keys and values", float(3 * widths.width)),
        ("the values within an MLP", hidden * rows * widths.feed_forward as u64),
        ("patches", patch * rows * widths.patch as u64),
        ("pixels", capacity.pooled as u64 * widths.pixel_bytes as u64),
    ]
}

/// The most rows that an arena can have on this GPU, up to `wanted`.
pub fn most_rows(gpu: &Gpu, widths: &Widths, wanted: usize) -> usize {
    let one = Capacity { rows: 1, pooled: 1 };
    let row = largest(one, widths)[..3].iter().map(|(_, bytes)| *bytes).max().unwrap_or(1);
    wanted.min((gpu.most_binding_bytes() / row.max(1)) as usize).max(1)
}
