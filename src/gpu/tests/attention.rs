//! Attention.

use super::*;
use crate::cpu::kernels::attention::{Heads, Sequence as CpuSequence};
use crate::gpu::kernels::{Heads as Shape, Kernel};
use crate::gpu::sequences::{GROUP, Sequence, Tables};
use crate::gpu::weights::buffer_of;
use crate::weights::blocks::{BLOCK, quantised};

/// What the kernel gives for sequences of these lengths, each with its pooled row: `[rows, width]`, or the pooled rows
/// only.
fn attend(
    gpu: &Gpu,
    heads: &Heads,
    qkv: &[f32],
    sequences: &[Sequence],
    pooled: bool,
    is_int8: bool,
) -> Activations {
    let width = heads.width();
    let longest = sequences.iter().map(|sequence| sequence.length).max().unwrap();
    let shape = Shape::new(heads.head_dim, longest).unwrap();
    let tables = Tables::new(sequences, heads.causal, shape.queries as usize);
    let (groups, rows) = match pooled {
        true => (&tables.pooled_groups, sequences.len()),
        false => (&tables.groups, tables.rows),
    };
    let words: Vec<f32> = groups.iter().map(|word| f32::from_bits(*word)).collect();
    let table = buffer_of(gpu, "groups", &words);
    let qkv_buffer = buffer_of(gpu, "qkv", qkv);
    let queries: Vec<f32> = tables
        .pooled_rows
        .iter()
        .flat_map(|row| &qkv[*row as usize * 3 * width..][..width])
        .copied()
        .collect();
    let queries = buffer_of(gpu, "queries", &queries);
    let out = activations(gpu, rows, width);
    run(gpu, Count::Groups, groups.len() / GROUP, |to| {
        let kernel = Kernel::Attention { shape, is_int8 };
        let (queries, stride) = if pooled { (&queries, width) } else { (&qkv_buffer, 3 * width) };
        let inputs = [(2, queries), (3, &qkv_buffer), (4, &table)];
        let outputs = match is_int8 {
            true => vec![(10, &out.quants), (11, &out.factors)],
            false => vec![(10, &out.floats)],
        };
        let sizes = [width, stride, 3 * width, width, 2 * width].map(|size| size as u32);
        let scale = (heads.head_dim as f32).sqrt().recip();
        let sizes = [&sizes[..], &[scale.to_bits()]].concat();
        let buffers = [&inputs[..], &outputs].concat();
        to.each_row(kernel, Count::Groups, heads.heads as u32, &sizes, &buffers);
    });
    out
}

fn expected(heads: &Heads, qkv: &[f32], sequences: &[Sequence], pooled: bool) -> Vec<f32> {
    let mut start = 0;
    let sequences: Vec<_> = sequences
        .iter()
        .map(|Sequence { length, pooled: row }| {
            let rows = start..start + length;
            start += length;
            match pooled {
                true => CpuSequence::of_row(rows.clone(), rows.start + row),
                false => CpuSequence::whole(rows),
            }
        })
        .collect();
    let rows = if pooled { sequences.len() } else { start };
    let mut out = vec![f32::NAN; rows * heads.width()];
    heads.attend(qkv, &sequences, &mut out);
    out
}

const LENGTHS: [&[usize]; 7] =
    [&[1], &[7], &[31, 1, 33], &[50, 50], &[63, 64, 65], &[77, 2, 130], &[577]];

#[test]
fn heads_of_awkward_sizes_are_the_cpus_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    for (heads, head_dim) in [(1, 1), (2, 20), (3, 64), (2, 80), (1, 96), (1, 256)] {
        for lengths in LENGTHS {
            for causal in [false, true] {
                let heads = Heads { heads, head_dim, causal };
                let rows: usize = lengths.iter().sum();
                let qkv = values(rows as u32, rows * 3 * heads.width());
                let sequences: Vec<_> = lengths
                    .iter()
                    .map(|length| Sequence { length: *length, pooled: length / 2 })
                    .collect();
                for pooled in [false, true] {
                    let what = format!("{heads:?}, {lengths:?}, pooled {pooled}");
                    let want = expected(&heads, &qkv, &sequences, pooled);
                    let out = attend(gpu, &heads, &qkv, &sequences, pooled, false);
                    let got = floats(gpu, &out.floats, want.len());
                    assert_equal(&got, &want, &what);
                    if head_dim % BLOCK != 0 {
                        continue;
                    }
                    let out = attend(gpu, &heads, &qkv, &sequences, pooled, true);
                    let own = got.chunks(heads.width()).flat_map(quantised);
                    let got = quants(gpu, &out.quants, want.len());
                    let factors = floats(gpu, &out.factors, want.len() / BLOCK * 2);
                    for (i, (scale, _, want)) in own.enumerate() {
                        assert_eq!(got[i * BLOCK..][..BLOCK], want, "{what}, block {i}");
                        assert_eq!(factors[2 * i], scale, "{what}, block {i}");
                    }
                }
            }
        }
    }
}
