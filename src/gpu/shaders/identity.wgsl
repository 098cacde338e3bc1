fn activate(xs: vec4<f32>) -> vec4<f32> { return xs; }
