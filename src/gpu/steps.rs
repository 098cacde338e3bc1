//! A tower's list of dispatches, made once for an arena.

use std::collections::HashMap;

use super::arena::{Arena, COUNT_STRIDE, Count};
use super::device::Gpu;
use super::kernels::Put;
use super::kernels::{Kernel, Pipeline, Sides, TILE_COLUMNS, Tile};
use crate::model::config::Activation;

/// One dispatch.
pub struct Step {
    count: Count,
    grid: Grid,
    bindings: wgpu::BindGroup,
    /// Of a product, for each row; other steps have few.
    multiply_adds: u64,
}

/// How a step's workgroups cover its rows.
enum Grid {
    /// One for each row, and so many beside it: the heads.
    EachRow { across: u32, pipeline: wgpu::ComputePipeline },
    /// Tiles of a product with so many columns. Few rows take the small tile.
    Tiles { columns: u32, large: wgpu::ComputePipeline, small: wgpu::ComputePipeline },
}

/// A buffer and its number among a kernel's bindings.
pub type Binding<'a> = (u32, &'a wgpu::Buffer);

/// Up to so many rows, a product takes the small tile.
pub const FEW_ROWS: u32 = 128;

impl Step {
    /// Multiplications and additions of a product, for a batch with these counts.
    pub fn multiply_adds(&self, counts: &[u32]) -> u64 {
        self.multiply_adds * u64::from(counts[self.count as usize])
    }

    /// Adds the dispatch to a pass, for a batch with these counts.
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass, counts: &[u32]) {
        let count = counts[self.count as usize];
        if count == 0 {
            return;
        }
        pass.set_bind_group(0, &self.bindings, &[]);
        match &self.grid {
            Grid::EachRow { across, pipeline } => {
                pass.set_pipeline(pipeline);
                pass.dispatch_workgroups(count, *across, 1);
            }
            Grid::Tiles { columns, large, small } => {
                let (tile, pipeline) = match count <= FEW_ROWS {
                    true => (Tile::Small, small),
                    false => (Tile::Large, large),
                };
                pass.set_pipeline(pipeline);
                let across = columns.div_ceil(TILE_COLUMNS);
                pass.dispatch_workgroups(across, count.div_ceil(tile.rows()), 1);
            }
        }
    }
}

/// Makes the steps of a tower.
pub struct Recorder<'a> {
    pub gpu: &'a Gpu,
    pub arena: &'a Arena,
    pub steps: Vec<Step>,
    /// The uniforms that exist, by their values.
    sizes: HashMap<[u32; 8], wgpu::Buffer>,
}

impl<'a> Recorder<'a> {
    /// No steps yet.
    pub fn new(gpu: &'a Gpu, arena: &'a Arena) -> Self {
        Self { gpu, arena, steps: Vec::new(), sizes: HashMap::new() }
    }

    /// Adds a step with a workgroup for each row, and `across` of them beside each other.
    pub fn each_row(
        &mut self,
        kernel: Kernel,
        count: Count,
        across: u32,
        sizes: &[u32],
        buffers: &[Binding],
    ) {
        let Pipeline { pipeline, layout } = self.pipeline(kernel, buffers);
        let bindings = self.bind(&layout, count, sizes, buffers);
        let grid = Grid::EachRow { across, pipeline };
        self.steps.push(Step { count, grid, bindings, multiply_adds: 0 });
    }

    /// Adds a product. `sizes` are its columns, its inputs, and the first row of the weight.
    pub fn product(
        &mut self,
        (sides, activation, put): (Sides, Option<Activation>, Put),
        count: Count,
        sizes: [u32; 3],
        buffers: &[Binding],
    ) {
        let [large, small] = [Tile::Large, Tile::Small]
            .map(|tile| self.pipeline(Kernel::Product { sides, activation, put, tile }, buffers));
        let bindings = self.bind(&large.layout, count, &sizes, buffers);
        let (large, small) = (large.pipeline, small.pipeline);
        let grid = Grid::Tiles { columns: sizes[0], large, small };
        let multiply_adds = u64::from(sizes[0]) * u64::from(sizes[1]);
        self.steps.push(Step { count, grid, bindings, multiply_adds });
    }

    fn pipeline(&self, kernel: Kernel, buffers: &[Binding]) -> Pipeline {
        let numbers: Vec<u32> =
            [0, 1].into_iter().chain(buffers.iter().map(|(number, _)| *number)).collect();
        self.gpu.kernels().get(self.gpu.device(), kernel, &numbers)
    }

    fn bind(
        &mut self,
        layout: &wgpu::BindGroupLayout,
        count: Count,
        sizes: &[u32],
        buffers: &[Binding],
    ) -> wgpu::BindGroup {
        let sizes = self.uniform(sizes);
        let counted = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.arena.counts,
            offset: COUNT_STRIDE * count as u64,
            size: std::num::NonZeroU64::new(16),
        });
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let uniforms = [entry(0, counted), entry(1, sizes.as_entire_binding())];
        let entries = uniforms.into_iter().chain(
            buffers.iter().map(|(number, buffer)| entry(*number, buffer.as_entire_binding())),
        );
        self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout,
            entries: &entries.collect::<Vec<_>>(),
        })
    }

    fn uniform(&mut self, values: &[u32]) -> wgpu::Buffer {
        let sizes = std::array::from_fn(|i| values.get(i).copied().unwrap_or(0));
        let make = || {
            let buffer = self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("sizes"),
                size: size_of_val(&sizes) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let bytes: Vec<u8> = sizes.iter().flat_map(|size: &u32| size.to_le_bytes()).collect();
            self.gpu.queue().write_buffer(&buffer, 0, &bytes);
            buffer
        };
        self.sizes.entry(sizes).or_insert_with(make).clone()
    }
}
