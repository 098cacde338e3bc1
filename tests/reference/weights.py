"""Seeded weights of CLIPs and SigLIPs: a formula of (tensor name, index), the same here and in tests/support/seeded.rs.

Every step is an integer operation, or an addition, multiplication, division or square root in f64,
which IEEE 754 rounds in one way only; so numpy and Rust agree to the bit. The values have heavy tails,
as trained weights do: plain small Gaussians hide errors of quantisation.

    python tests/reference/weights.py        prints fixtures/seeded.json, which holds both to it
"""

import json
import zlib
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent.parent / "fixtures" / "seeded.json"

CONFIGS = {
    "vit-b-32": dict(
        projection=512,
        text=dict(width=512, layers=12, heads=8, wide=2048, context=77, vocabulary=49408),
        vision=dict(width=768, layers=12, heads=12, wide=3072, image=224, patch=32),
    ),
    "tiny": dict(
        projection=64,
        text=dict(width=64, layers=2, heads=2, wide=128, context=77, vocabulary=49408),
        vision=dict(width=96, layers=2, heads=3, wide=160, image=64, patch=16),
    ),
    # Like H/14: a head that is no multiple of 32 wide, and a patch row that no block of 32 divides.
    "tiny-h": dict(
        projection=64,
        text=dict(width=80, layers=2, heads=2, wide=160, context=77, vocabulary=49408),
        vision=dict(width=160, layers=2, heads=2, wide=320, image=70, patch=14),
    ),
}

# Small ones in the proportions of the published ones.
SIGLIPS = {
    # Heads of 72, an MLP that no block of 32 divides, and patches of 14 that leave an edge of the image.
    "so400m-14": dict(
        text=dict(width=288, layers=2, heads=4, wide=1072, context=64, vocabulary=363),
        vision=dict(width=288, layers=2, heads=4, wide=1072, image=74, patch=14),
    ),
    "l-16": dict(
        text=dict(width=128, layers=4, heads=2, wide=512, context=64, vocabulary=363),
        vision=dict(width=128, layers=4, heads=2, wide=512, image=64, patch=16),
    ),
    "b-32-256": dict(
        text=dict(width=64, layers=2, heads=1, wide=256, context=64, vocabulary=363),
        vision=dict(width=64, layers=2, heads=1, wide=256, image=256, patch=32),
    ),
    "b-16-384": dict(
        text=dict(width=64, layers=2, heads=1, wide=256, context=64, vocabulary=363),
        vision=dict(width=64, layers=2, heads=1, wide=256, image=384, patch=16),
    ),
}

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# The standard deviation of a sum of four uniform 16-bit numbers.
SUM_DEVIATION = 37837.22682


def fnv1a(name: str) -> int:
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def normal(name: str, count: int) -> np.ndarray:
    """`count` values, close to N(0, 1): a sum of the four 16-bit parts of splitmix64."""
    index = np.arange(1, count + 1, dtype=np.uint64)
    z = np.uint64(fnv1a(name)) + index * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    mask = np.uint64(0xFFFF)
    total = sum((z >> np.uint64(shift)) & mask for shift in (0, 16, 32, 48))
    return (total.astype(np.float64) - 131070.0) / SUM_DEVIATION


def exponential(x: np.ndarray) -> np.ndarray:
    """(1 + x / 1024) ** 1024 by ten squarings: close to exp, and exact to the bit anywhere."""
    x = 1.0 + x / 1024.0
    for _ in range(10):
        x = x * x
    return x


def linear(name: str, rows: int, columns: int, factor: float = 1.0) -> np.ndarray:
    values = normal(name, rows * columns).reshape(rows, columns) / np.sqrt(np.float64(columns))
    values = values * exponential(0.3 * normal(name + "/row", rows))[:, None]
    values = values * exponential(0.6 * normal(name + "/column", columns))[None, :]
    return (values * factor).astype(np.float32)


def scaled(name: str, shape: tuple[int, ...], factor: float) -> np.ndarray:
    return (normal(name, int(np.prod(shape))) * factor).astype(np.float32).reshape(shape)


def norm(name: str, width: int) -> dict[str, np.ndarray]:
    weight = exponential(0.4 * normal(f"{name}.weight", width)).astype(np.float32)
    return {f"{name}.weight": weight, f"{name}.bias": scaled(f"{name}.bias", (width,), 0.1)}


def layers(tower: str, width: int, count: int, wide: int) -> dict[str, np.ndarray]:
    residual = 1.0 / np.sqrt(np.float64(2 * count))
    tensors: dict[str, np.ndarray] = {}
    for layer in range(count):
        block = f"{tower}.encoder.layers.{layer}"
        tensors |= norm(f"{block}.layer_norm1", width) | norm(f"{block}.layer_norm2", width)
        for part, rows, columns, factor in [
            ("self_attn.q_proj", width, width, 1.0),
            ("self_attn.k_proj", width, width, 1.0),
            ("self_attn.v_proj", width, width, 1.0),
            ("self_attn.out_proj", width, width, residual),
            ("mlp.fc1", wide, width, 1.0),
            ("mlp.fc2", width, wide, residual),
        ]:
            name = f"{block}.{part}"
            tensors[f"{name}.weight"] = linear(f"{name}.weight", rows, columns, factor)
            tensors[f"{name}.bias"] = scaled(f"{name}.bias", (rows,), 0.1)
    return tensors


def text_tower(text: dict) -> dict[str, np.ndarray]:
    """What CLIP and SigLIP both have of it."""
    width, tower = text["width"], "text_model"
    tensors = {
        name: scaled(name, (rows, width), factor)
        for name, rows, factor in [
            (f"{tower}.embeddings.token_embedding.weight", text["vocabulary"], 0.5),
            (f"{tower}.embeddings.position_embedding.weight", text["context"], 0.3),
        ]
    }
    tensors |= layers(tower, width, text["layers"], text["wide"])
    return tensors | norm(f"{tower}.final_layer_norm", width)


def model(config: str) -> dict[str, np.ndarray]:
    """Every tensor of a configuration under its Hugging Face name, f32."""
    sizes = CONFIGS[config]
    text, vision = sizes["text"], sizes["vision"]
    tensors = text_tower(text)
    name = "text_projection.weight"
    tensors[name] = linear(name, sizes["projection"], text["width"])

    width, tower, patch = vision["width"], "vision_model", vision["patch"]
    positions = (vision["image"] // patch) ** 2 + 1
    name = f"{tower}.embeddings.class_embedding"
    tensors[name] = scaled(name, (width,), 0.3)
    name = f"{tower}.embeddings.patch_embedding.weight"
    tensors[name] = linear(name, width, 3 * patch * patch).reshape(width, 3, patch, patch)
    name = f"{tower}.embeddings.position_embedding.weight"
    tensors[name] = scaled(name, (positions, width), 0.3)
    tensors |= norm(f"{tower}.pre_layrnorm", width)
    tensors |= layers(tower, width, vision["layers"], vision["wide"])
    tensors |= norm(f"{tower}.post_layernorm", width)
    name = "visual_projection.weight"
    tensors[name] = linear(name, sizes["projection"], width)
    return tensors


def biased(name: str, rows: int, columns: int) -> dict[str, np.ndarray]:
    return {
        f"{name}.weight": linear(f"{name}.weight", rows, columns),
        f"{name}.bias": scaled(f"{name}.bias", (rows,), 0.1),
    }


def siglip(config: str) -> dict[str, np.ndarray]:
    """Every tensor of a SigLIP under its name in transformers, f32."""
    sizes = SIGLIPS[config]
    text, vision = sizes["text"], sizes["vision"]
    tensors = text_tower(text)
    tensors |= biased("text_model.head", text["width"], text["width"])

    width, tower, patch = vision["width"], "vision_model", vision["patch"]
    name = f"{tower}.embeddings.patch_embedding"
    tensors |= biased(name, width, 3 * patch * patch)
    tensors[f"{name}.weight"] = tensors[f"{name}.weight"].reshape(width, 3, patch, patch)
    name = f"{tower}.embeddings.position_embedding.weight"
    tensors[name] = scaled(name, ((vision["image"] // patch) ** 2, width), 0.3)
    tensors |= layers(tower, width, vision["layers"], vision["wide"])
    tensors |= norm(f"{tower}.post_layernorm", width)
    head = f"{tower}.head"
    tensors[f"{head}.probe"] = scaled(f"{head}.probe", (1, 1, width), 1.0)
    stacked = f"{head}.attention.in_proj"
    tensors[f"{stacked}_weight"] = linear(f"{stacked}_weight", 3 * width, width)
    tensors[f"{stacked}_bias"] = scaled(f"{stacked}_bias", (3 * width,), 0.1)
    tensors |= biased(f"{head}.attention.out_proj", width, width)
    tensors |= norm(f"{head}.layernorm", width)
    tensors |= biased(f"{head}.mlp.fc1", vision["wide"], width)
    tensors |= biased(f"{head}.mlp.fc2", width, vision["wide"])
    return tensors


if __name__ == "__main__":
    digests = {
        config: {
            name: zlib.crc32(tensor.tobytes())
            for name, tensor in sorted(model(config).items())
        }
        for config in ("tiny", "tiny-h")
    }
    FIXTURE.write_text(json.dumps(digests, indent=0) + "\n")
