"""What Hugging Face transformers gives for the sample pictures and captions with the demo model's checkpoint.

    python tests/reference/demo_cosines.py

Writes www/check/similarity.demo.json, which the page's Check view holds the built-in model to. The weights are
those of the checkpoint in f32, so what the built-in file loses by its 8 bits is in the tolerance.
"""

import json
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel
from transformers.image_utils import load_image

ROOT = Path(__file__).parent.parent.parent
CHECKPOINT = ROOT / "examples" / "demo_model" / "shapes-and-colours"
OUT = ROOT / "www" / "check" / "similarity.demo.json"


def unit(output) -> torch.Tensor:
    output = output if torch.is_tensor(output) else output.pooler_output
    return output / output.norm(dim=-1, keepdim=True)


@torch.no_grad()
def main() -> None:
    samples = json.loads((ROOT / "www" / "samples.json").read_text())["samples"]
    images = [sample["image"] for sample in samples]
    # The first of a sample's captions and the one after: of the two at most one is right.
    texts = list(dict.fromkeys(caption for sample in samples for caption in sample["captions"][:2]))
    model = CLIPModel.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    processor = CLIPImageProcessorPil.from_pretrained(CHECKPOINT)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    pixels = [processor(images=load_image(Image.open(ROOT / "www" / image)), return_tensors="pt") for image in images]
    image_vectors = torch.cat([unit(model.get_image_features(**one)) for one in pixels])
    text_vectors = torch.cat([unit(model.get_text_features(**tokenizer(text, return_tensors="pt"))) for text in texts])
    cosines = (text_vectors @ image_vectors.T).tolist()
    rows = ",\n    ".join(f"[{', '.join(f'{value:.4f}' for value in row)}]" for row in cosines)
    config = model.config
    about = {
        "of": "the demo model as transformers computes it",
        "source": "Hugging Face transformers on the checkpoint of the demo model, f32",
        "prefix": "",
        "decimals": 3,
        "tolerance": {"float": 0.001, "quantised": 0.02},
        "model": {
            "embeddingDimension": config.projection_dim,
            "imageSize": config.vision_config.image_size,
            "patchSize": config.vision_config.patch_size,
        },
        "images": images,
        "texts": texts,
    }
    head = json.dumps(about, indent=2, ensure_ascii=False).removesuffix("\n}")
    OUT.write_text(f'{head},\n  "cosine": [\n    {rows}\n  ]\n}}\n')
    print(OUT.read_text())


if __name__ == "__main__":
    main()
