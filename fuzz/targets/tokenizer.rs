#![no_main]

libfuzzer_sys::fuzz_target!(init: { clip_wasm_fuzz::tokenizer::prepare() }, |input: &[u8]| clip_wasm_fuzz::tokenizer::run(input));
