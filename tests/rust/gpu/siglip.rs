//! A SigLIP on a GPU against the CPU.

use clip_wasm::convert::{FileType, convert};

use super::support::seeded::SIGLIPS;
use super::support::siglip::{Layout, converted};
use super::*;

#[test]
fn a_siglip_has_the_cpus_vectors() {
    let Some(gpu) = gpu(options()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["f32", "q8_0", "q4_1"] {
        let path = folder.path().join(name);
        let from = root.join("tests/fixtures/siglip");
        let file_type = FileType::named(name).unwrap();
        convert(&from, &path, file_type, None, &Limits::default(), |_, _| {}).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let cpu = load(&bytes, ModelLoader::new()).unwrap();
        let compiled = gpu.compiled();
        let mut loader = ModelLoader::new().on_gpu(&gpu);
        loader.push(&bytes[..bytes.len() / 2]).unwrap();
        let ahead = gpu.compiled();
        loader.push(&bytes[bytes.len() / 2..]).unwrap();
        let on_gpu = loader.finish().unwrap();
        let least = compare(&on_gpu, &cpu, 5);
        let checked = on_gpu.check_gpu_now().unwrap().unwrap();
        println!("SigLIP, {name}: least cosine {least:.8}, check {checked:.8}");
        assert!(least >= LEAST && checked >= LEAST, "{name}: {least}, {checked}");
        assert!(compiled < ahead || name == "q4_1", "{name}");
        assert_eq!(gpu.compiled(), ahead, "{name}: all kernels are compiled ahead");
    }
}

#[test]
fn shapes_of_published_siglips_have_the_cpus_vectors() {
    let Some(gpu) = gpu(options()) else { return };
    for (name, sizes) in &SIGLIPS {
        // Of so few values, one activation that the two round apart weighs more than in a published model.
        for (file_type, bound) in [("f32", LEAST), ("q8_0", 0.9998)] {
            let folder = tempfile::tempdir().unwrap();
            let path = converted(sizes, Layout::Whole, file_type, folder.path());
            let bytes = std::fs::read(path).unwrap();
            let cpu = load(&bytes, ModelLoader::new()).unwrap();
            let least = compare(&on_gpu(&bytes, &gpu).unwrap(), &cpu, 3);
            println!("{name}, {file_type}: least cosine {least:.8}");
            assert!(least >= bound, "{name} {file_type}: {least}");
        }
    }
}
