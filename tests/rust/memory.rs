//! How much memory a conversion uses.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::sync::atomic::Ordering::Relaxed;

use clip_wasm::convert::{Companions, Converter, FileType};
use support::counting::{Counting, HELD, MOST};
use support::data;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Must be the only test in this file: another one's memory would be counted too.
#[test]
fn a_conversion_holds_a_few_megabytes() {
    const MOST_BYTES: usize = 4 << 20;
    let directory = data("tiny-open_clip");
    let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let weights = fs::read(directory.join("open_clip_model.safetensors")).unwrap();
    for name in ["f32", "q8_0"] {
        let before = HELD.load(Relaxed);
        let companions = Companions {
            open_clip_config: text("open_clip_config.json"),
            tokenizer: text("tokenizer.json"),
            ..Companions::default()
        };
        let file_type = FileType::named(name).unwrap();
        let mut converter = Converter::new(companions, file_type, None);
        let mut chunks = weights.chunks(1 << 16);
        // The vocabulary, many times this size, is only in memory until the GGUF's header has been written.
        while converter.written() == 0 {
            converter.push(chunks.next().unwrap(), &mut |_, _| Ok(())).unwrap();
        }
        MOST.store(HELD.load(Relaxed), Relaxed);
        for chunk in chunks {
            converter.push(chunk, &mut |_, _| Ok(())).unwrap();
        }
        let most = MOST.load(Relaxed).saturating_sub(before);
        assert!(most <= MOST_BYTES, "{name}: {most} bytes of {}", weights.len());
    }
}
