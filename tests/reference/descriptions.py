"""Writes down how transformers and open_clip prepare images by each of what a checkpoint may say of that.

    python tests/reference/descriptions.py

writes `tests/fixtures/descriptions/`: `cases.json`, which has for each description the checksum of the tensor of each
image, and `*.png`, the squares of pixels that the tensors are made of, one below the other.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import open_clip
import PIL
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "descriptions"
# Wide and tall, smaller and larger than the model's square.
IMAGES = ["rgb8.png", "orientation_6.png", "baseline_444.jpg"]
# Of the demo model, and of the seeded one that open_clip's names are tested with.
SIZE = 72
OPEN_CLIP_SIZE = 64

HALF = {"image_mean": [0.5] * 3, "image_std": [0.25, 0.5, 1.0]}
SQUASH = {"size": {"height": SIZE, "width": SIZE}, "do_center_crop": False}
TRANSFORMERS = [
    {},
    {"size": {"shortest_edge": 96}},
    {"size": 90, "crop_size": SIZE},
    {"size": [80, 100], "crop_size": [SIZE, SIZE]},
    {"size": {"height": 100, "width": 80}, "crop_size": {"height": SIZE, "width": SIZE}},
    {"size": {"shortest_edge": 40}},
    {"size": SIZE, "default_to_square": True},
    SQUASH,
    SQUASH | {"resample": 2},
    {"do_resize": False},
    {"resample": 2},
    {"resample": 1},
    {"resample": 4},
    {"resample": 5},
    {"do_rescale": False, "do_normalize": False},
    {"do_rescale": False},
    {"do_normalize": False},
    {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    HALF,
    {"image_mean": 0.4, "image_std": 0.3} | SQUASH,
    {"do_convert_rgb": False},
]
OPEN_CLIP = [
    {},
    {"size": OPEN_CLIP_SIZE, "interpolation": "bicubic", "resize_mode": "squash"},
    {"size": [OPEN_CLIP_SIZE] * 2, "interpolation": "bilinear", "resize_mode": "shortest"},
    {"interpolation": "random"},
    {"resize_mode": "longest"},
    {"resize_mode": "longest", "fill_color": 255},
    {"resize_mode": "longest", "fill_color": [10, 200, 90], "interpolation": "bilinear"},
    {"mean": [0.5] * 3, "std": [0.5] * 3, "mode": "RGB", "resize_mode": "squash"},
]


def checksum(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def of_transformers(settings, image):
    whole = {"size": {"shortest_edge": SIZE}, "crop_size": SIZE} | settings
    prepare = CLIPImageProcessorPil.from_dict(whole)
    plain = prepare(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    pixels = np.asarray(plain).transpose(1, 2, 0)
    assert np.array_equal(pixels, pixels.astype(np.uint8))
    return pixels.astype(np.uint8), np.asarray(prepare(image, return_tensors="np")["pixel_values"][0], dtype="<f4")


def of_open_clip(settings, image):
    config = merge_preprocess_dict(PreprocessCfg(size=OPEN_CLIP_SIZE), settings)
    steps = image_transform_v2(PreprocessCfg(**config), is_train=False).transforms
    # The last two make a tensor and normalise it.
    square = image
    for step in steps[:-2]:
        square = step(square)
    tensor = steps[-1](steps[-2](square))
    return np.asarray(square), tensor.numpy().astype("<f4")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    images = [Image.fromarray(np.asarray(load_image(str(FIXTURES / "images" / name)))) for name in IMAGES]
    rows, written = [], {}
    for library, prepare, descriptions in (
        ("transformers", of_transformers, TRANSFORMERS),
        ("open_clip", of_open_clip, OPEN_CLIP),
    ):
        for settings in descriptions:
            squares, tensors = zip(*(prepare(settings, image) for image in images))
            stack = np.vstack(squares)
            name = written.setdefault(checksum(stack), f"{len(written)}.png")
            Image.fromarray(stack).save(OUT / name, optimize=True)
            samples = [[float(value) for value in tensor[:, 5, 7]] for tensor in tensors]
            sums = [checksum(tensor) for tensor in tensors]
            rows.append({"library": library, "settings": settings, "pixels": name, "crc32": sums, "samples": samples})
    versions = {library.__name__: library.__version__ for library in (PIL, transformers, open_clip)}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    head = json.dumps({"versions": versions, "images": IMAGES})[:-1]
    (OUT / "cases.json").write_text(head + ', "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
