"""What Hugging Face transformers gives for the photos, their captions and some hard texts.

    python tests/reference/towers.py DATA

DATA is the directory that tests/support/fetch.py fills. Writes fixtures/towers/inputs.json and
fixtures/towers/vit-b-32.safetensors: for each set of weights `{set}.image` [8, 512] and `{set}.text`
[n, 512], f32, the projections divided by their L2 norms. The sets are `gelu.f32` and `quick_gelu.f32`,
and `gelu.TYPE` for each type of GGUF: the same weights quantised and dequantised by gguf-py, the
reference implementation, wherever clip.cpp quantises (every 2-D weight; the patch embedding is f16).
And fixtures/towers/tiny.safetensors, the f32 sets of the small configurations.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionConfig
from transformers.image_utils import load_image

import weights

FIXTURES = Path(__file__).parent.parent / "fixtures"
PHOTOS = Path(__file__).parent.parent.parent / "www" / "check"
TYPES = ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
HARD_TEXTS = [
    "", " ", "a", "a photo of a cat", "Today is a nice day.", "HELLO, WORLD!!!", "it's what they'll say",
    "naïve café Ångström", "ﬁne ligatures", "привет мир", "你好，世界", "こんにちは", "مرحبا بالعالم",
    "שלום", "नमस्ते दुनिया", "😀 👩‍👩‍👧‍👦 🇫🇷", "3.14159 2,718", "tab\tand\nnewline", "<|endoftext|> and after",
    "before <|startoftext|> after", "x = f(y) != {z: [1, 2]}", "a very long text " * 40,
]


def build(config: str, activation: str, tensors: dict[str, np.ndarray]) -> CLIPModel:
    sizes = weights.CONFIGS[config]
    text, vision = sizes["text"], sizes["vision"]
    common = dict(hidden_act=activation, projection_dim=sizes["projection"])
    text_config = CLIPTextConfig(
        vocab_size=text["vocabulary"], hidden_size=text["width"], intermediate_size=text["wide"],
        num_hidden_layers=text["layers"], num_attention_heads=text["heads"],
        max_position_embeddings=text["context"], bos_token_id=49406, eos_token_id=49407, **common,
    )
    vision_config = CLIPVisionConfig(
        hidden_size=vision["width"], intermediate_size=vision["wide"],
        num_hidden_layers=vision["layers"], num_attention_heads=vision["heads"],
        image_size=vision["image"], patch_size=vision["patch"], **common,
    )
    model = CLIPModel(CLIPConfig(
        text_config=text_config.to_dict(), vision_config=vision_config.to_dict(),
        projection_dim=sizes["projection"],
    ))
    missing, unexpected = model.load_state_dict(
        {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=False
    )
    missing = [name for name in missing if "position_ids" not in name and name != "logit_scale"]
    assert not missing and not unexpected, (missing, unexpected)
    return model.eval()


def dequantised(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    kind = GGMLQuantizationType[name.upper()]
    out = {}
    for key, tensor in tensors.items():
        if tensor.ndim == 2:
            tensor = dequantize(quantize(tensor, kind), kind).reshape(tensor.shape)
        elif tensor.ndim == 4:
            tensor = tensor.astype(np.float16).astype(np.float32)
        out[key] = np.ascontiguousarray(tensor, dtype=np.float32)
    return out


def features(output) -> np.ndarray:
    output = output if torch.is_tensor(output) else output.pooler_output
    return (output / output.norm(dim=-1, keepdim=True))[0].numpy()


@torch.no_grad()
def vectors(model: CLIPModel, tokenizer: Tokenizer, images: list, texts: list[str]) -> dict:
    size = model.config.vision_config.image_size
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    pixels = [processor(images=image, return_tensors="pt")["pixel_values"] for image in images]
    ids = [torch.tensor([tokenizer.encode(text).ids]) for text in texts]
    return {
        "image": np.stack([features(model.get_image_features(pixel_values=p)) for p in pixels]),
        "text": np.stack([features(model.get_text_features(input_ids=i)) for i in ids]),
    }


def main(data: Path) -> None:
    torch.set_num_threads(2)
    table = json.loads((PHOTOS / "similarity.openai-vit-b-32.json").read_text())
    captions = [table["prefix"] + text for text in table["texts"]]
    texts = captions + HARD_TEXTS
    find = lambda name: next(p for d in (PHOTOS, data / "photos") if (p := d / name).exists())
    images = [load_image(Image.open(find(name))) for name in table["images"]]
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    tokenizer.enable_truncation(77)
    out = FIXTURES / "towers"
    inputs = {"images": table["images"], "texts": texts}
    (out / "inputs.json").write_text(json.dumps(inputs, indent=1, ensure_ascii=False) + "\n")

    base = weights.model("vit-b-32")
    sets = [("gelu.f32", "gelu", base), ("quick_gelu.f32", "quick_gelu", base)]
    sets += [(f"gelu.{name}", "gelu", name) for name in TYPES]
    arrays = {}
    for label, activation, tensors in sets:
        tensors = dequantised(base, tensors) if isinstance(tensors, str) else tensors
        results = vectors(build("vit-b-32", activation, tensors), tokenizer, images, texts)
        arrays |= {f"{label}.{part}": array for part, array in results.items()}
        print(label, flush=True)
    save_file(arrays, out / "vit-b-32.safetensors")

    arrays = {}
    for config in ("tiny", "tiny-h"):
        for activation in ("gelu", "quick_gelu"):
            model = build(config, activation, weights.model(config))
            results = vectors(model, tokenizer, images, texts)
            arrays |= {f"{config}.{activation}.{part}": a for part, a in results.items()}
    save_file(arrays, out / "tiny.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
