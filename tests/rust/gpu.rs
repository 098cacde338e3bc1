//! The towers on a GPU against those on the CPU, and what goes wrong on a GPU. Natively, on any Vulkan, Metal or DirectX
//! adapter, a software one such as lavapipe too; skipped, aloud, where there is none.
#![cfg(not(target_arch = "wasm32"))]

#[path = "gpu/command_line.rs"]
mod command_line;
#[path = "gpu/siglip.rs"]
mod siglip;
#[path = "../support/mod.rs"]
mod support;

use candle_core::quantized::GgmlDType;
use clip_wasm::gpu::{Gpu, GpuOptions, Product};
use clip_wasm::{ClipEncoder, Embedding, ErrorKind, Limits, ModelLoader};
use support::small::{Model, SIZES, Sizes};

/// The least cosine of a GPU's vector to the CPU's.
const LEAST: f64 = 0.99999;

/// Full-size models, which `./build.sh test` makes.
const FULL_SIZE: [&str; 2] = ["vit-b-32-gelu.q8_0.gguf", "vit-b-32-gelu.q4_1.gguf"];

fn options() -> GpuOptions {
    GpuOptions { allow_software: true, ..Default::default() }
}

/// A GPU, if there is one.
fn gpu(options: GpuOptions) -> Option<Gpu> {
    match Gpu::request_now(options) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            println!("SKIPPED: the towers on a GPU: {error}");
            None
        }
    }
}

fn load(bytes: &[u8], loader: ModelLoader) -> clip_wasm::Result<ClipEncoder> {
    let mut loader = loader;
    // In pieces that end within rows.
    for piece in bytes.chunks(100_003) {
        loader.push(piece)?;
    }
    loader.finish()
}

fn on_gpu(bytes: &[u8], gpu: &Gpu) -> clip_wasm::Result<ClipEncoder> {
    load(bytes, ModelLoader::new().on_gpu(gpu))
}

/// Two blocks, several rows of tiles, and heads that blocks of 32 divide or do not.
const SMALL: [Sizes; 3] = [
    Sizes { layers: 2, ..SIZES },
    Sizes {
        width: 96,
        wide: 160,
        heads: 3,
        layers: 2,
        projection: 64,
        context: 40,
        image: 56,
        patch: 8,
    },
    Sizes {
        width: 160,
        wide: 320,
        heads: 2,
        layers: 3,
        projection: 32,
        context: 8,
        image: 70,
        patch: 14,
    },
];

const TYPES: [GgmlDType; 5] =
    [GgmlDType::F32, GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_1];

/// A model with repeatable weights of both signs.
fn model(sizes: &Sizes, dtype: GgmlDType) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut float = [0; 4];
    Model::of(sizes).stored_as(dtype).bytes_with(move |tensor, at| match tensor.dtype {
        GgmlDType::F32 => {
            if at % 4 == 0 {
                let value = next() as f32 / u32::MAX as f32 - 0.5;
                let norm = tensor.name.contains("ln") && tensor.name.ends_with("weight");
                float = if norm { 1.0 + 0.2 * value } else { 0.4 * value }.to_le_bytes();
            }
            float[at as usize % 4]
        }
        // Scales and offsets near 1/64 and -1/32, in f16; every other byte is a quant of its own.
        dtype => match (at % dtype.type_size() as u64, dtype) {
            (1, _) => 0x24,
            (3, GgmlDType::Q4_1 | GgmlDType::Q5_1) => 0xa8,
            _ => next() as u8,
        },
    })
}

fn pictures(edge: usize, count: usize) -> Vec<Vec<u8>> {
    let picture = |seed: usize| {
        (0..3 * edge * edge)
            .map(|i| (i * (7 + seed) / 3 + i / edge * (seed + 1) * 5) as u8)
            .collect()
    };
    (0..count).map(picture).collect()
}

const TEXTS: [&str; 5] = ["a", "ab ab a b a b", "", "b a", "ab"];

/// The least cosine between two encoders' vectors.
fn compare(gpu: &ClipEncoder, cpu: &ClipEncoder, count: usize) -> f64 {
    let squares = pictures(cpu.info().image_size.unwrap(), count);
    let vectors = |encoder: &ClipEncoder| {
        let mut all: Vec<Embedding> = Vec::new();
        all.extend(
            encoder.embed_squares(&squares, true).unwrap().into_iter().map(|one| one.unwrap()),
        );
        all.extend(encoder.embed_texts(&TEXTS, true).unwrap().into_iter().map(|one| one.unwrap()));
        all
    };
    let cosines =
        vectors(gpu).iter().zip(&vectors(cpu)).map(|(a, b)| a.cosine(b)).collect::<Vec<_>>();
    assert_eq!(cosines.len(), count + TEXTS.len());
    cosines.into_iter().fold(1.0, f64::min)
}

#[test]
fn small_models_of_every_type_have_the_cpus_vectors() {
    for product in [Product::Dot, Product::Float] {
        let Some(gpu) = gpu(GpuOptions { product, ..options() }) else { return };
        for sizes in &SMALL {
            for dtype in TYPES {
                let bytes = model(sizes, dtype);
                let cpu = load(&bytes, ModelLoader::new()).unwrap();
                let on_gpu = on_gpu(&bytes, &gpu).unwrap();
                let least = compare(&on_gpu, &cpu, 3);
                let checked = on_gpu.check_gpu_now().unwrap().unwrap();
                println!(
                    "{product:?} {dtype:?} width {}: least cosine {least:.8}, check {checked:.8}",
                    sizes.width
                );
                assert!(
                    least >= LEAST && checked >= LEAST,
                    "{product:?} {dtype:?} {sizes:?}: {least}, {checked}"
                );
            }
        }
    }
}

#[test]
fn the_pages_model_has_the_cpus_vectors() {
    let Some(gpu) = gpu(options()) else { return };
    let bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/www/models/demo.gguf")).unwrap();
    let cpu = load(&bytes, ModelLoader::new()).unwrap();
    let on_gpu = on_gpu(&bytes, &gpu).unwrap();
    let least = compare(&on_gpu, &cpu, 5);
    println!("{}: least cosine {least:.8}", gpu.name());
    assert!(least >= LEAST, "{least}");
    for work in on_gpu.gpu_work(1, 1, 10).unwrap() {
        println!("{work:?}");
    }
}

#[test]
fn vectors_do_not_depend_on_the_batch() {
    let Some(gpu) = gpu(options()) else { return };
    let sizes = &SMALL[1];
    let on_gpu = on_gpu(&model(sizes, GgmlDType::Q8_0), &gpu).unwrap();
    let squares = pictures(sizes.image, 70);
    let together = on_gpu.embed_squares(&squares, true).unwrap();
    for at in [0, 33, 69, 1] {
        let alone = on_gpu.embed_square(&squares[at], true).unwrap();
        let cosine = alone.cosine(together[at].as_ref().unwrap());
        assert!(cosine >= 0.999_999, "{at}: {cosine}");
    }
    let texts: Vec<String> = (0..300).map(|i| "ab a ".repeat(i % 12)).collect();
    let together = on_gpu.embed_texts(&texts, true).unwrap();
    for at in [0, 150, 299] {
        let alone = on_gpu.embed_text(&texts[at], true).unwrap();
        let cosine = alone.cosine(together[at].as_ref().unwrap());
        assert!(cosine >= 0.999_999, "{at}: {cosine}");
    }
}

#[test]
fn threads_share_an_encoder() {
    let Some(gpu) = gpu(options()) else { return };
    let on_gpu = on_gpu(&model(&SMALL[1], GgmlDType::Q8_0), &gpu).unwrap();
    let squares = pictures(SMALL[1].image, 8);
    let alone: Vec<_> =
        squares.iter().map(|square| on_gpu.embed_square(square, true).unwrap()).collect();
    std::thread::scope(|scope| {
        for (square, alone) in squares.iter().zip(&alone) {
            let on_gpu = &on_gpu;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(on_gpu.embed_square(square, true).unwrap(), *alone);
                }
            });
        }
    });
}

#[test]
fn a_lost_device_is_an_error_and_another_one_works() {
    let Some(first) = gpu(options()) else { return };
    let bytes = model(&SMALL[0], GgmlDType::Q8_0);
    let encoder = on_gpu(&bytes, &first).unwrap();
    encoder.embed_text("a", true).unwrap();
    first.destroy();
    let error = encoder.embed_text("a", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GpuLost, "{error}");
    assert!(first.is_lost());
    let error = on_gpu(&bytes, &first).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::GpuLost, "{error}");
    let second = gpu(options()).unwrap();
    on_gpu(&bytes, &second).unwrap().embed_text("a", true).unwrap();
}

#[test]
fn a_gpu_with_small_buffers_refuses_a_model_and_splits_batches() {
    let bytes = model(&SMALL[1], GgmlDType::Q8_0);
    let Some(tiny) = gpu(GpuOptions { most_binding_bytes: Some(1 << 10), ..options() }) else {
        return;
    };
    let error = on_gpu(&bytes, &tiny).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::GpuUnavailable, "{error}");
    // Queries, keys and values of one picture, and not of two.
    let most = 4 * 3 * 96 * 60;
    let small = gpu(GpuOptions { most_binding_bytes: Some(most), ..options() }).unwrap();
    let encoder = on_gpu(&bytes, &small).unwrap();
    let cpu = load(&bytes, ModelLoader::new()).unwrap();
    assert!(compare(&encoder, &cpu, 4) >= LEAST);
}

#[test]
fn a_wrong_kernel_does_not_pass_the_check() {
    type Edit = fn(String) -> String;
    let edits: [(&str, Edit); 6] = [
        ("the activation", |source| source.replace("0.5 * xs", "0.45 * xs")),
        ("attention's scale", |source| source.replace("bitcast<f32>(sizes.d)", "1.0")),
        ("a quant's sign", |source| {
            source
                .replace("dot4I8Packed", "i32(dot4U8Packed")
                .replace("_low.x)", "_low.x))")
                .replace("_low.y)", "_low.y))")
                .replace("_low.z)", "_low.z))")
                .replace("_low.w)", "_low.w))")
                .replace("_high.x)", "_high.x))")
                .replace("_high.y)", "_high.y))")
                .replace("_high.z)", "_high.z))")
                .replace("_high.w)", "_high.w))")
        }),
        ("a row too few", |source| source.replace("row < count.x", "row + 1u < count.x")),
        ("products of many rows", |source| match source.contains("TILE_ROWS = 64u") {
            true => source.replace("shift + biases", "0.5 * shift + biases"),
            false => source,
        }),
        ("the mean", |source| source.replace("- mean)", "- 0.5 * mean)")),
    ];
    let bytes = model(&SMALL[1], GgmlDType::Q8_0);
    for (what, edit) in edits {
        let options = GpuOptions { edit_kernels: Some(edit), ..options() };
        let Some(gpu) = gpu(options) else { return };
        let encoder = on_gpu(&bytes, &gpu).unwrap();
        let error = encoder.check_gpu_now().err().unwrap_or_else(|| panic!("{what} passes"));
        println!("{what}: {error}");
        assert_eq!(error.kind(), ErrorKind::GpuUnavailable, "{what}: {error}");
    }
}

#[test]
fn an_invalid_kernel_is_an_error() {
    let options = GpuOptions { edit_kernels: Some(|_| "not WGSL".into()), ..options() };
    let Some(gpu) = gpu(options) else { return };
    let error = on_gpu(&model(&SMALL[0], GgmlDType::Q8_0), &gpu).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

#[test]
fn every_kernel_is_compiled_before_the_weights_have_come() {
    for product in [Product::Dot, Product::Float] {
        for dtype in TYPES {
            let Some(gpu) = gpu(GpuOptions { product, ..options() }) else { return };
            let bytes = model(&SMALL[1], dtype);
            let (header, weights) = bytes.split_at(bytes.len() * 3 / 4);
            let mut loader = ModelLoader::new().on_gpu(&gpu);
            loader.push(header).unwrap();
            let compiled = gpu.compiled();
            assert!(compiled >= 10, "{compiled}");
            loader.push(weights).unwrap();
            let encoder = loader.finish().unwrap();
            encoder.check_gpu_now().unwrap();
            encoder.embed_squares(&pictures(SMALL[1].image, 5), true).unwrap();
            encoder.embed_texts(&TEXTS, true).unwrap();
            assert_eq!(gpu.compiled(), compiled, "{dtype:?} {product:?}");
        }
    }
}

#[test]
fn the_faster_product_is_found_by_timing() {
    let Some(gpu) = gpu(options()) else { return };
    let race = clip_wasm::gpu::race_now(&gpu).unwrap();
    println!("{race:?}: {:?}", gpu.product());
    assert!(race.gpu > std::time::Duration::ZERO && race.gpu < std::time::Duration::MAX);
    assert!(race.cpu > std::time::Duration::ZERO);
    let bytes = model(&SMALL[1], GgmlDType::Q8_0);
    let cpu = load(&bytes, ModelLoader::new()).unwrap();
    assert!(compare(&on_gpu(&bytes, &gpu).unwrap(), &cpu, 3) >= LEAST);
}

#[test]
fn a_software_adapter_is_taken_only_if_it_is_asked_for() {
    let Some(gpu) = gpu(options()) else { return };
    if !gpu.is_software() {
        println!("SKIPPED: the refusal of a software adapter: {} is none", gpu.name());
        return;
    }
    let error = Gpu::request_now(GpuOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::GpuUnavailable);
    assert!(error.to_string().contains(gpu.name()), "{error}");
}

#[test]
fn a_damaged_file_is_refused_as_on_the_cpu() {
    let Some(gpu) = gpu(options()) else { return };
    let bytes = model(&SMALL[0], GgmlDType::Q8_0);
    let error = on_gpu(&bytes[..bytes.len() - 1000], &gpu).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TruncatedModel, "{error}");
}

#[test]
fn full_size_models_have_the_cpus_vectors() {
    let Some(gpu) = gpu(options()) else { return };
    for name in FULL_SIZE {
        let path = support::data_directory().join(name);
        if !path.exists() {
            println!("SKIPPED: {name} on a GPU: ./build.sh test makes it");
            continue;
        }
        let cpu = ClipEncoder::open(&path).unwrap();
        let on_gpu = ClipEncoder::open_on_gpu(&path, Limits::default(), &gpu).unwrap();
        let picture = &pictures(224, 1)[0];
        let text = "a photo of a cat";
        for (what, got, want) in [
            ("picture", on_gpu.embed_square(picture, true), cpu.embed_square(picture, true)),
            ("text", on_gpu.embed_text(text, true), cpu.embed_text(text, true)),
        ] {
            let (got, want) = (got.unwrap(), want.unwrap());
            let cosine = got.cosine(&want);
            println!("{name}: cosine of a {what} {cosine:.8}, equal to the bit: {}", got == want);
            assert!(cosine >= LEAST, "{name}, {what}: {cosine}");
        }
        let works = on_gpu.gpu_work(1, 1, 8).unwrap();
        println!("{name}, one picture and one text of 8 tokens: {works:?}");
    }
}
