//! The seeded weights equal those of the reference programs, to the bit.

use std::collections::HashMap;

use crate::support::{crc32, fixture, seeded};

#[test]
fn every_tensor_equals_pythons() {
    let text = std::fs::read_to_string(fixture("seeded.json")).unwrap();
    let digests: HashMap<String, HashMap<String, u32>> = serde_json::from_str(&text).unwrap();
    for (config, sizes) in [("tiny", seeded::TINY), ("tiny-h", seeded::TINY_H)] {
        let tensors = seeded::model(&sizes);
        assert_eq!(tensors.len(), digests[config].len());
        for tensor in tensors {
            let bytes = tensor.values.iter().flat_map(|x| x.to_le_bytes());
            assert_eq!(crc32(bytes), digests[config][&tensor.name], "{config} {}", tensor.name);
        }
    }
}
