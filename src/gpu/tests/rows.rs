//! Kernels that take rows one by one.

use super::*;
use crate::cpu::kernels::float::layer_norm;
use crate::gpu::kernels::{Copied, Kernel, Put, Rows};
use crate::gpu::weights::buffer_of;
use crate::preprocess::Preprocess;
use crate::weights::blocks::{BLOCK, quantised};

#[test]
fn quants_scales_and_sums_are_the_cpus_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    for rows in AWKWARD {
        for width in [32, 64, 96, 256, 288, 768] {
            let xs = values(rows as u32, rows * width);
            let out = activations(gpu, rows, width);
            let from = buffer_of(gpu, "xs", &xs);
            run(gpu, Count::Rows, rows, |to| {
                let kernel = Kernel::CopyRows { from: Copied::All, put: Put::Int8 };
                let buffers = [(4, &from), (10, &out.quants), (11, &out.factors)];
                to.each_row(kernel, Count::Rows, 1, &[width as u32], &buffers);
            });
            let got = quants(gpu, &out.quants, rows * width);
            let factors = floats(gpu, &out.factors, rows * width / BLOCK * 2);
            let blocks = xs.chunks(width).flat_map(quantised);
            for (i, (scale, _, want)) in blocks.enumerate() {
                assert_eq!(got[i * BLOCK..][..BLOCK], want, "{rows} x {width}, block {i}");
                let sum = scale * want.iter().map(|quant| i32::from(*quant)).sum::<i32>() as f32;
                assert_eq!(factors[2 * i..][..2], [scale, sum], "{rows} x {width}, block {i}");
            }
        }
    }
}

#[test]
fn layer_norms_are_the_cpus_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    for rows in [1, 7, 50] {
        for width in [1, 3, 31, 64, 80, 255, 256, 257, 768, 2049] {
            let (xs, weight, bias) = (values(1, rows * width), values(2, width), values(3, width));
            let mut want = vec![0.0; rows * width];
            layer_norm(&xs, &weight, &bias, 1e-5, &mut want);
            let out = activations(gpu, rows, width);
            let [from, weight, bias] = [&xs, &weight, &bias].map(|of| buffer_of(gpu, "norm", of));
            run(gpu, Count::Rows, rows, |to| {
                let kernel = Kernel::LayerNorm { from: Rows::Plain, put: Put::Float };
                let buffers = [(2, &weight), (3, &bias), (4, &from), (10, &out.floats)];
                let sizes = [width as u32, 1e-5f32.to_bits()];
                to.each_row(kernel, Count::Rows, 1, &sizes, &buffers);
            });
            let got = floats(gpu, &out.floats, rows * width);
            assert_equal(&got, &want, &format!("{rows} x {width}"));
        }
    }
}

#[test]
fn listed_rows_are_copied() {
    let Some(gpu) = gpu() else { return };
    for width in [1, 31, 64, 257] {
        let xs = values(5, 9 * width);
        let listed = [8u32, 0, 3];
        let from = buffer_of(gpu, "xs", &xs);
        let list = buffer_of(gpu, "list", &listed.map(f32::from_bits));
        let out = activations(gpu, 3, width);
        run(gpu, Count::Pooled, 3, |to| {
            let kernel = Kernel::CopyRows { from: Copied::Listed, put: Put::Float };
            let buffers = [(4, &from), (5, &list), (10, &out.floats)];
            to.each_row(kernel, Count::Pooled, 1, &[width as u32], &buffers);
        });
        let want = listed.map(|row| &xs[row as usize * width..][..width]).concat();
        assert_eq!(floats(gpu, &out.floats, 3 * width), want);
    }
}

#[test]
fn patches_are_the_preprocessors_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    // The last patch of 3 x 3 leaves two pixels of the edge out.
    for (edge, patch, pictures) in [(8, 4, 3), (11, 3, 2), (14, 7, 1), (64, 32, 2)] {
        let grid = edge / patch;
        let preprocess = Preprocess::openai(edge);
        let bytes: Vec<u8> =
            (0..pictures * 3 * edge * edge).map(|i| (i * 89 + i / 251) as u8).collect();
        let k = 3 * patch * patch;
        let padded = k.next_multiple_of(BLOCK);
        let rows = pictures * grid * grid;
        let mut want = vec![0.0; rows * padded];
        for (row, want) in want.chunks_exact_mut(padded).enumerate() {
            let (picture, y, x) = (row / (grid * grid), row / grid % grid, row % grid);
            let picture = &bytes[picture * 3 * edge * edge..][..3 * edge * edge];
            let tensor = preprocess.normalise(picture);
            for (i, want) in want.iter_mut().take(k).enumerate() {
                let (channel, line, column) = (i / (patch * patch), i / patch % patch, i % patch);
                *want = tensor[(channel * edge + y * patch + line) * edge + x * patch + column];
            }
        }
        let levels = buffer_of(gpu, "levels", &preprocess.levels());
        let pixels = storage(gpu, "pixels", bytes.len().next_multiple_of(4) as u64);
        let mut whole = bytes.clone();
        whole.resize(bytes.len().next_multiple_of(4), 0);
        gpu.queue().write_buffer(&pixels, 0, &whole);
        let out = activations(gpu, rows, padded);
        run(gpu, Count::Patches, rows, |to| {
            let kernel = Kernel::Patches { put: Put::Float };
            let buffers = [(4, &pixels), (5, &levels), (10, &out.floats)];
            let sizes = [padded, k, edge, patch, grid].map(|size| size as u32);
            to.each_row(kernel, Count::Patches, 1, &sizes, &buffers);
        });
        assert_eq!(floats(gpu, &out.floats, rows * padded), want, "{edge} by {patch}");
    }
}

#[test]
fn rows_of_pictures_are_class_token_patches_and_positions() {
    let Some(gpu) = gpu() else { return };
    let (pictures, rows) = (3, 5);
    for width in [4, 31, 300] {
        let patches = values(1, pictures * (rows - 1) * width);
        let (class_token, positions) = (values(2, width), values(3, rows * width));
        let (weight, bias) = (values(4, width), values(5, width));
        let mut xs = Vec::new();
        for row in 0..pictures * rows {
            for at in 0..width {
                let (picture, own) = (row / rows, row % rows);
                let value = match own {
                    0 => class_token[at],
                    _ => patches[(picture * (rows - 1) + own - 1) * width + at],
                };
                xs.push(value + positions[own * width + at]);
            }
        }
        let mut want = vec![0.0; xs.len()];
        layer_norm(&xs, &weight, &bias, 1e-5, &mut want);
        let out = activations(gpu, pictures * rows, width);
        let [patches, class_token, positions, weight, bias] =
            [&patches, &class_token, &positions, &weight, &bias].map(|of| buffer_of(gpu, "x", of));
        run(gpu, Count::Rows, pictures * rows, |to| {
            let kernel = Kernel::LayerNorm { from: Rows::Picture, put: Put::Float };
            let inputs = [(2, &weight), (3, &bias), (4, &patches), (5, &class_token)];
            let buffers = [&inputs[..], &[(6, &positions), (10, &out.floats)]].concat();
            let sizes = [width as u32, 1e-5f32.to_bits(), rows as u32];
            to.each_row(kernel, Count::Rows, 1, &sizes, &buffers);
        });
        let got = floats(gpu, &out.floats, want.len());
        assert_equal(&got, &want, &format!("{width}"));
    }
}
