//! A model small enough to test changes of any byte, for the loader's tests and for fuzzing.

use candle_core::quantized::GgmlDType;
use clip_wasm::format::gguf::{TensorInfo, Value, byte_size, header_bytes, padding};

/// The sizes of both towers.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub width: usize,
    pub wide: usize,
    pub heads: usize,
    pub layers: usize,
    pub projection: usize,
    pub context: usize,
    pub image: usize,
    pub patch: usize,
}

pub const SIZES: Sizes = Sizes {
    width: 32,
    wide: 64,
    heads: 2,
    layers: 1,
    projection: 16,
    context: 8,
    image: 8,
    patch: 4,
};

pub const TOKENS: [&str; 7] =
    ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"];

/// A GGUF file before it is written, so that anything in it can be changed.
pub struct Model {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<TensorInfo>,
}

impl Model {
    pub fn new() -> Self {
        Self::of(&SIZES)
    }

    /// A model with these sizes; every tensor is f32.
    pub fn of(sizes: &Sizes) -> Self {
        let number = |n: usize| Value::U32(n as u32);
        let mut metadata = vec![
            ("general.architecture".into(), Value::String("clip".into())),
            ("clip.has_text_encoder".into(), Value::Bool(true)),
            ("clip.has_vision_encoder".into(), Value::Bool(true)),
            ("clip.use_gelu".into(), Value::Bool(true)),
            ("clip.text.context_length".into(), number(sizes.context)),
            ("clip.vision.image_size".into(), number(sizes.image)),
            ("clip.vision.patch_size".into(), number(sizes.patch)),
            ("clip.vision.image_mean".into(), Value::Array(vec![Value::F32(0.5); 3])),
            ("clip.vision.image_std".into(), Value::Array(vec![Value::F32(0.5); 3])),
        ];
        for tower in ["text", "vision"] {
            for (key, value) in [
                ("embedding_length", sizes.width),
                ("feed_forward_length", sizes.wide),
                ("projection_dim", sizes.projection),
                ("attention.head_count", sizes.heads),
                ("block_count", sizes.layers),
            ] {
                metadata.push((format!("clip.{tower}.{key}"), number(value)));
            }
            let eps = format!("clip.{tower}.attention.layer_norm_epsilon");
            metadata.push((eps, Value::F32(1e-5)));
        }
        let tokens = TOKENS.map(|token| Value::String(token.into())).to_vec();
        metadata.push(("tokenizer.ggml.tokens".into(), Value::Array(tokens)));
        let mut model = Self { metadata, tensors: Vec::new() };
        model.add_tower("t", sizes);
        model.add_tower("v", sizes);
        model
    }

    fn add_tower(&mut self, tower: &str, sizes: &Sizes) {
        let &Sizes { width, wide, layers, projection, context, image, patch, .. } = sizes;
        let grid = image / patch;
        let (embeddings, positions) = match tower {
            "t" => (vec![("token_embd.weight", vec![TOKENS.len(), width])], context),
            _ => (
                vec![
                    ("class_embd", vec![width]),
                    ("patch_embd.weight", vec![width, 3, patch, patch]),
                    ("pre_ln.weight", vec![width]),
                    ("pre_ln.bias", vec![width]),
                ],
                grid * grid + 1,
            ),
        };
        for (name, shape) in embeddings {
            self.add(&format!("{tower}.{name}"), &shape);
        }
        self.add(&format!("{tower}.position_embd.weight"), &[positions, width]);
        for block in (0..layers).map(|layer| format!("{tower}.blk.{layer}")) {
            for (part, rows, columns) in [
                ("attn_q", width, width),
                ("attn_k", width, width),
                ("attn_v", width, width),
                ("attn_out", width, width),
                ("ffn_down", wide, width),
                ("ffn_up", width, wide),
            ] {
                self.add(&format!("{block}.{part}.weight"), &[rows, columns]);
                self.add(&format!("{block}.{part}.bias"), &[rows]);
            }
            self.add_norm(&format!("{block}.ln1"), width);
            self.add_norm(&format!("{block}.ln2"), width);
        }
        self.add_norm(&format!("{tower}.post_ln"), width);
        let name = if tower == "t" { "text_projection" } else { "visual_projection" };
        self.add(&format!("{name}.weight"), &[projection, width]);
    }

    fn add_norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        self.tensors.push(TensorInfo {
            name: name.into(),
            dtype: GgmlDType::F32,
            shape: shape.to_vec(),
            offset: 0,
            size: 4 * shape.iter().product::<usize>() as u64,
        });
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        self.metadata.push((key.into(), value));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.metadata.retain(|(key, _)| key != name);
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    pub fn tensor(mut self, name: &str, change: impl Fn(&mut TensorInfo)) -> Self {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        change(tensor.unwrap_or_else(|| panic!("no tensor {name}")));
        self
    }

    /// Stores the weights of linear layers and the tables as `dtype`, if its blocks divide their rows.
    pub fn stored_as(mut self, dtype: GgmlDType) -> Self {
        for tensor in self.tensors.iter_mut().filter(|tensor| tensor.shape.len() == 2) {
            if let Some(size) = byte_size(dtype, &tensor.shape) {
                (tensor.dtype, tensor.size) = (dtype, size);
            }
        }
        self
    }

    /// Writes the file. A tensor's values are a ramp that depends only on its shape, not on its position or
    /// name. In types other than f32 the ramp is in the bytes, including the blocks' scales.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes_with(|tensor, at| {
            let seed: u32 = tensor.shape.iter().map(|n| *n as u32).sum();
            let step = (at as u32 / 4 * 31 + seed) % 23;
            match tensor.dtype {
                GgmlDType::F32 => (step as f32 / 23.0 - 0.4).to_le_bytes()[at as usize % 4],
                // As the high byte of an f16, 0x2c means a sixteenth or a little more.
                _ => {
                    if at % 2 == 1 {
                        0x2c
                    } else {
                        step as u8
                    }
                }
            }
        })
    }

    /// The bytes before the tensors; also sets the tensors' offsets.
    pub fn header(&mut self) -> Vec<u8> {
        header_bytes(&self.metadata, &mut self.tensors)
    }

    /// Writes the file; `byte` returns a tensor's byte at a position within it.
    pub fn bytes_with(mut self, mut byte: impl FnMut(&TensorInfo, u64) -> u8) -> Vec<u8> {
        let mut bytes = self.header();
        for tensor in &self.tensors {
            bytes.extend((0..tensor.size).map(|at| byte(tensor, at)));
            bytes.extend(vec![0; padding(tensor.size)]);
        }
        bytes
    }
}
