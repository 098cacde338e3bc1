fn offset_sums(columns: vec4<u32>, row: u32, blocks: u32, sums: vec4<f32>) -> vec4<f32> { return sums; }
