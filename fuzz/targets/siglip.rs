#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| clip_wasm_fuzz::siglip::run(input));
