"""Makes what the contestants embed, each input also in the form that a bare tower takes.

    python benches/inputs.py DATA GEMMA OUT

DATA is the directory that tests/data.sh fills, GEMMA the tokenizer.json of SigLIP 2. Writes into OUT

    photo.jpg         1024 x 768
    square-N.bmp      the tests' eight photos at 224 x 224, cropped and resized as Pillow does it
    pixels.f32        the same, normalised: [8, 3, 224, 224], f32
    page.png …        the eight photos themselves
    inputs.json       `images`: photo.jpg and the eight; `texts`: sets of strings; `tokens`: by model and set
                      their ids, padded to the longest of the set, for SigLIP to its context
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tokenizers import Tokenizer

BENCHES = Path(__file__).parent
FIXTURES = BENCHES.parent / "tests" / "fixtures"
PHOTOS = BENCHES.parent / "www" / "check"
EDGE, CONTEXT, SIGLIP_CONTEXT = 224, 77, 64
# OpenAI's CLIP, clip/clip.py.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
SHORT, SHORT_TOKENS = "a photo of a cat sitting on a red sofa", 12
LONG = "a very long text " * 40


def square(photo: Image.Image) -> Image.Image:
    """As CLIPImageProcessor: the short edge to 224, then the middle."""
    short = min(photo.size)
    photo = photo.resize(tuple(EDGE * edge // short for edge in photo.size), Image.Resampling.BICUBIC)
    left, top = ((edge - EDGE) // 2 for edge in photo.size)
    return photo.crop((left, top, left + EDGE, top + EDGE))


def pixels(photo: Image.Image) -> np.ndarray:
    scaled = np.asarray(photo, np.float32) / 255
    return ((scaled - MEAN) / DEVIATION).transpose(2, 0, 1)


def contact_sheet(photos: list[Image.Image]) -> Image.Image:
    """Four photos at about their own size: the detail of a photo, which one enlarged has not."""
    sheet = Image.new("RGB", (1024, 768))
    for corner, photo in zip([(0, 0), (512, 0), (0, 384), (512, 384)], photos, strict=True):
        sheet.paste(ImageOps.fit(photo, (512, 384), Image.Resampling.BICUBIC), corner)
    return sheet


def tokens(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def siglip_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """As SigLIP 2's processor: lower case, an end token, padding."""
    ids = tokenizer.encode(text.lower(), add_special_tokens=False).ids + [tokenizer.token_to_id("<eos>")]
    return ids + [tokenizer.token_to_id("<pad>")] * (SIGLIP_CONTEXT - len(ids))


def main(data: Path, gemma: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    reference = json.loads((FIXTURES / "towers" / "inputs.json").read_text())
    names = reference["images"]
    files = [next(p for d in (PHOTOS, data / "photos") if (p := d / name).exists()) for name in names]
    photos = {path.name: Image.open(path).convert("RGB") for path in files}
    for path in files:
        shutil.copy(path, out)
    squares = [square(photo) for photo in photos.values()]
    for index, image in enumerate(squares):
        image.save(out / f"square-{index}.bmp")
    np.stack([pixels(image) for image in squares]).astype("<f4").tofile(out / "pixels.f32")
    sheet = [photos[name] for name in ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")]
    contact_sheet(sheet).save(out / "photo.jpg", quality=90)

    texts = {
        "short": [SHORT], "long": [LONG], "captions": (BENCHES / "captions.txt").read_text().splitlines(),
    }
    texts |= {f"reference {i}": [text] for i, text in enumerate(reference["texts"][: len(names)])}
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    tokenizer.enable_truncation(CONTEXT)
    # transformers pads with the end token, which is what CLIP's tokenizer is configured to.
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<|endoftext|>"), pad_token="<|endoftext|>")
    ids = {name: tokens(tokenizer, texts) for name, texts in texts.items()}
    assert len(ids["short"][0]) == SHORT_TOKENS and len(ids["long"][0]) == CONTEXT
    siglip = {"short": [siglip_tokens(Tokenizer.from_file(str(gemma)), SHORT)]}
    by_model = {"clip-vit-base-patch32": ids, "siglip2-base-patch16-224": siglip}
    inputs = {"images": ["photo.jpg", *names], "texts": texts, "tokens": by_model}
    (out / "inputs.json").write_text(json.dumps(inputs))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
