//! Many inputs through one encoder: none leaks memory, and none changes the vector of a later one.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::Ordering::Relaxed;

use clip_wasm::ClipEncoder;
use support::counting::{Counting, HELD};
use support::{data, images, photo, reliability};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PASSES: usize = 20;
/// Number of inputs per pass; one in ten is invalid.
const PASS: usize = 100;

enum Input {
    Text(String),
    Image(Vec<u8>),
}

/// Must be the only test in this file: another one's memory would be counted too.
#[test]
fn two_thousand_inputs_leave_no_byte_behind() {
    let encoder = ClipEncoder::open(data("tiny-gelu.q8_0.gguf")).unwrap();
    let inputs = inputs();
    // Twice, because threads and tables allocate some memory once and keep it.
    let vectors: Vec<_> = inputs.iter().map(|input| embed(&encoder, input)).collect();
    inputs.iter().for_each(|input| drop(embed(&encoder, input)));
    let bad = vectors.iter().filter(|vector| vector.is_none()).count();
    assert_eq!(bad, PASS / 10);

    let held = HELD.load(Relaxed);
    for pass in 1..PASSES {
        for (i, (input, expected)) in inputs.iter().zip(&vectors).enumerate() {
            let vector = embed(&encoder, input);
            assert!(vector == *expected, "pass {pass}, input {i}: another vector than at first");
            drop(vector);
            let now = HELD.load(Relaxed);
            assert_eq!(now, held, "pass {pass}, input {i}: bytes held, and after the first pass");
        }
    }
    reliability::record(
        "life",
        "inputs through one encoder, native",
        &format!("{} texts and images of six formats, {} of them bad", PASSES * PASS, PASSES * bad),
        &format!("{held} bytes held after the first pass, and as many after every further input"),
    );
}

/// The bits of a vector; `None` if the input fails.
fn embed(encoder: &ClipEncoder, input: &Input) -> Option<Vec<u32>> {
    let embedding = match input {
        Input::Text(text) => encoder.embed_text(text, true),
        Input::Image(bytes) => encoder.embed_image(bytes, true),
    };
    embedding.ok().map(|embedding| embedding.values().iter().map(|value| value.to_bits()).collect())
}

fn inputs() -> Vec<Input> {
    let names = [
        "adobe_deflate.tiff",
        "animated.gif",
        "animated.webp",
        "baseline_420.jpg",
        "cmyk_adobe.jpg",
        "exif.webp",
        "grey16.png",
        "grey8.bmp",
    ];
    let mut pictures: Vec<_> = names.iter().map(|name| images::read(name)).collect();
    pictures.extend(["rocket.jpg", "horse.png"].map(photo));
    (0..PASS)
        .map(|i| {
            let picture = &pictures[i % pictures.len()];
            match i {
                _ if i % 10 == 9 => Input::Image(match i / 10 % 3 {
                    0 => pictures[3][..pictures[3].len() / 2].to_vec(),
                    1 => b"these are notes".to_vec(),
                    _ => pictures[6][..40].to_vec(),
                }),
                _ if i % 2 == 0 => {
                    Input::Text(format!("{i} things {}", "and more ".repeat(i % 60)))
                }
                _ => Input::Image(picture.clone()),
            }
        })
        .collect()
}
