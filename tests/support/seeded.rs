//! Seeded weights of CLIPs and SigLIPs, from a formula of (tensor name, index). `tests/reference/weights.py` uses the same
//! formula and explains why it is exact. Names are Hugging Face's.

use serde_json::{Value, json};

/// The sizes of a seeded model.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub projection: usize,
    pub text: Tower,
    pub context: usize,
    pub vocabulary: usize,
    pub vision: Tower,
    pub image: usize,
    pub patch: usize,
}

#[derive(Clone, Copy)]
pub struct Tower {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub wide: usize,
}

pub const VIT_B_32: Sizes = Sizes {
    projection: 512,
    text: Tower { width: 512, layers: 12, heads: 8, wide: 2048 },
    context: 77,
    vocabulary: 49_408,
    vision: Tower { width: 768, layers: 12, heads: 12, wide: 3072 },
    image: 224,
    patch: 32,
};

pub const TINY: Sizes = Sizes {
    projection: 64,
    text: Tower { width: 64, layers: 2, heads: 2, wide: 128 },
    vision: Tower { width: 96, layers: 2, heads: 3, wide: 160 },
    image: 64,
    patch: 16,
    ..VIT_B_32
};

pub const TINY_H: Sizes = Sizes {
    projection: 64,
    text: Tower { width: 80, layers: 2, heads: 2, wide: 160 },
    vision: Tower { width: 160, layers: 2, heads: 2, wide: 320 },
    image: 70,
    patch: 14,
    ..VIT_B_32
};

/// Small SigLIPs in the proportions of the published ones, by their names in `tests/reference/weights.py`.
pub const SIGLIPS: [(&str, Sizes); 4] = [
    // Heads of 72, an MLP that no block of 32 divides, and patches of 14.
    ("so400m-14", equal_towers(Tower { width: 288, layers: 2, heads: 4, wide: 1072 }, 74, 14)),
    ("l-16", equal_towers(Tower { width: 128, layers: 4, heads: 2, wide: 512 }, 64, 16)),
    ("b-32-256", equal_towers(Tower { width: 64, layers: 2, heads: 1, wide: 256 }, 256, 32)),
    ("b-16-384", equal_towers(Tower { width: 64, layers: 2, heads: 1, wide: 256 }, 384, 16)),
];

/// A SigLIP whose towers have the same sizes.
const fn equal_towers(tower: Tower, image: usize, patch: usize) -> Sizes {
    let (projection, text, vision) = (tower.width, tower, tower);
    Sizes { projection, text, context: 64, vocabulary: 363, vision, image, patch }
}

/// SigLIP 2, B/16 at 224.
pub const SIGLIP2_B_16: Sizes = Sizes {
    vocabulary: 256_000,
    ..equal_towers(Tower { width: 768, layers: 12, heads: 12, wide: 3072 }, 224, 16)
};

pub struct SeededTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The `config.json` of a SigLIP; that of each tower is in it too.
pub fn siglip_config(sizes: &Sizes) -> Value {
    let layers = |tower: &Tower| {
        json!({
            "hidden_size": tower.width, "intermediate_size": tower.wide,
            "num_hidden_layers": tower.layers, "num_attention_heads": tower.heads,
        })
    };
    let (mut text, mut vision) = (layers(&sizes.text), layers(&sizes.vision));
    text["model_type"] = json!("siglip_text_model");
    text["vocab_size"] = json!(sizes.vocabulary);
    text["max_position_embeddings"] = json!(sizes.context);
    vision["model_type"] = json!("siglip_vision_model");
    vision["image_size"] = json!(sizes.image);
    vision["patch_size"] = json!(sizes.patch);
    json!({ "model_type": "siglip", "text_config": text, "vision_config": vision })
}

/// Every tensor of a model, in f32.
pub fn model(sizes: &Sizes) -> Vec<SeededTensor> {
    let mut list = Vec::new();
    let tower = "text_model";
    let width = sizes.text.width;
    let embeddings = format!("{tower}.embeddings");
    list.push(scaled(
        format!("{embeddings}.token_embedding.weight"),
        &[sizes.vocabulary, width],
        0.5,
    ));
    list.push(scaled(
        format!("{embeddings}.position_embedding.weight"),
        &[sizes.context, width],
        0.3,
    ));
    layers(tower, &sizes.text, &mut list);
    norm(&format!("{tower}.final_layer_norm"), width, &mut list);
    list.push(linear("text_projection.weight".into(), sizes.projection, width, 1.0));

    let tower = "vision_model";
    let width = sizes.vision.width;
    let embeddings = format!("{tower}.embeddings");
    let grid = sizes.image / sizes.patch;
    list.push(scaled(format!("{embeddings}.class_embedding"), &[width], 0.3));
    let patch = format!("{embeddings}.patch_embedding.weight");
    let mut patch = linear(patch, width, 3 * sizes.patch * sizes.patch, 1.0);
    patch.shape = vec![width, 3, sizes.patch, sizes.patch];
    list.push(patch);
    list.push(scaled(
        format!("{embeddings}.position_embedding.weight"),
        &[grid * grid + 1, width],
        0.3,
    ));
    norm(&format!("{tower}.pre_layrnorm"), width, &mut list);
    layers(tower, &sizes.vision, &mut list);
    norm(&format!("{tower}.post_layernorm"), width, &mut list);
    list.push(linear("visual_projection.weight".into(), sizes.projection, width, 1.0));
    list
}

/// Every tensor of a SigLIP, in f32.
pub fn siglip(sizes: &Sizes) -> Vec<SeededTensor> {
    let mut list = Vec::new();
    let (tower, width) = ("text_model", sizes.text.width);
    let embeddings = format!("{tower}.embeddings");
    for (name, rows, factor) in [("token", sizes.vocabulary, 0.5), ("position", sizes.context, 0.3)]
    {
        list.push(scaled(format!("{embeddings}.{name}_embedding.weight"), &[rows, width], factor));
    }
    layers(tower, &sizes.text, &mut list);
    norm(&format!("{tower}.final_layer_norm"), width, &mut list);
    biased(&format!("{tower}.head"), sizes.projection, width, &mut list);

    let (tower, width, wide) = ("vision_model", sizes.vision.width, sizes.vision.wide);
    let embeddings = format!("{tower}.embeddings");
    let grid = sizes.image / sizes.patch;
    let patch = format!("{embeddings}.patch_embedding");
    biased(&patch, width, 3 * sizes.patch * sizes.patch, &mut list);
    let at = list.len() - 2;
    list[at].shape = vec![width, 3, sizes.patch, sizes.patch];
    let positions = format!("{embeddings}.position_embedding.weight");
    list.push(scaled(positions, &[grid * grid, width], 0.3));
    layers(tower, &sizes.vision, &mut list);
    norm(&format!("{tower}.post_layernorm"), width, &mut list);
    let head = format!("{tower}.head");
    list.push(scaled(format!("{head}.probe"), &[1, 1, width], 1.0));
    let stacked = format!("{head}.attention.in_proj");
    list.push(linear(format!("{stacked}_weight"), 3 * width, width, 1.0));
    list.push(scaled(format!("{stacked}_bias"), &[3 * width], 0.1));
    biased(&format!("{head}.attention.out_proj"), width, width, &mut list);
    norm(&format!("{head}.layernorm"), width, &mut list);
    biased(&format!("{head}.mlp.fc1"), wide, width, &mut list);
    biased(&format!("{head}.mlp.fc2"), width, wide, &mut list);
    list
}

fn biased(name: &str, rows: usize, columns: usize, list: &mut Vec<SeededTensor>) {
    list.push(linear(format!("{name}.weight"), rows, columns, 1.0));
    list.push(scaled(format!("{name}.bias"), &[rows], 0.1));
}

fn layers(tower: &str, sizes: &Tower, list: &mut Vec<SeededTensor>) {
    let (width, wide) = (sizes.width, sizes.wide);
    let residual = 1.0 / ((2 * sizes.layers) as f64).sqrt();
    for layer in 0..sizes.layers {
        let block = format!("{tower}.encoder.layers.{layer}");
        norm(&format!("{block}.layer_norm1"), width, list);
        norm(&format!("{block}.layer_norm2"), width, list);
        for (part, rows, columns, factor) in [
            ("self_attn.q_proj", width, width, 1.0),
            ("self_attn.k_proj", width, width, 1.0),
            ("self_attn.v_proj", width, width, 1.0),
            ("self_attn.out_proj", width, width, residual),
            ("mlp.fc1", wide, width, 1.0),
            ("mlp.fc2", width, wide, residual),
        ] {
            list.push(linear(format!("{block}.{part}.weight"), rows, columns, factor));
            list.push(scaled(format!("{block}.{part}.bias"), &[rows], 0.1));
        }
    }
}

fn norm(name: &str, width: usize, list: &mut Vec<SeededTensor>) {
    let name_of_weight = format!("{name}.weight");
    let values = normal(&name_of_weight, width).map(|n| exponential(0.4 * n) as f32).collect();
    list.push(SeededTensor { name: name_of_weight, shape: vec![width], values });
    list.push(scaled(format!("{name}.bias"), &[width], 0.1));
}

fn linear(name: String, rows: usize, columns: usize, factor: f64) -> SeededTensor {
    let tails = |part: &str, count, spread: f64| -> Vec<f64> {
        normal(&format!("{name}/{part}"), count).map(|n| exponential(spread * n)).collect()
    };
    let (row, column) = (tails("row", rows, 0.3), tails("column", columns, 0.6));
    let root = (columns as f64).sqrt();
    let values = normal(&name, rows * columns)
        .enumerate()
        .map(|(i, n)| (n / root * row[i / columns] * column[i % columns] * factor) as f32)
        .collect();
    SeededTensor { name, shape: vec![rows, columns], values }
}

fn scaled(name: String, shape: &[usize], factor: f64) -> SeededTensor {
    let values = normal(&name, shape.iter().product()).map(|n| (n * factor) as f32).collect();
    SeededTensor { name, shape: shape.to_vec(), values }
}

/// `count` values, close to N(0, 1): a sum of the four 16-bit parts of splitmix64.
fn normal(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    const SUM_DEVIATION: f64 = 37837.22682;
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    (1..=count as u64).map(move |index| {
        let mut z = seed.wrapping_add(index.wrapping_mul(GOLDEN));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let total = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48);
        (total as f64 - 131_070.0) / SUM_DEVIATION
    })
}

/// `(1 + x / 1024) ^ 1024` by ten squarings: close to exp, and the same bits on every machine.
fn exponential(x: f64) -> f64 {
    (0..10).fold(1.0 + x / 1024.0, |x, _| x * x)
}
