"""Makes the image fixtures and writes down what Pillow and transformers make of them.

    python tests/reference/images.py

writes `tests/fixtures/images/`: the image files; `decode.json` and `*.expected.png` with PIL's
pixels of each; `options.json` with checksums of what PIL makes of some by other choices;
`resize.json` and `resize_32.expected.png` with what PIL resizes patterns to; and
`pixel_values.json` with samples and checksums of the tensors of `CLIPImageProcessorPil`. It is seeded and needs no network. The versions it was run
with stand in the JSON files; Pillow and transformers decide the numbers.
"""

import json
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps
import transformers
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from image_files import OUT, make_bmp, make_gif, make_jpeg, make_orientations, make_png, make_webp
from tiff_files import make_tiff, make_tiff_orientations


def checksum(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def versions():
    return {"pillow": PIL.__version__, "transformers": transformers.__version__}


def write_json(name, rows):
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps({"versions": versions()})[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (OUT / name).write_text(text)


def record_decoding():
    rows, written = [], {}
    for path in sorted(OUT.iterdir()):
        if path.name.startswith("unsupported_"):
            continue
        pixels = np.asarray(load_image(str(path)))
        crc = checksum(pixels)
        # Many files hold the same picture: its pixels are kept once.
        expected = written.setdefault((crc, pixels.shape), path.name + ".expected.png")
        height, width, _ = pixels.shape
        rows.append({"file": path.name, "width": width, "height": height, "crc32": crc, "expected": expected})
    for row in rows:
        if row["expected"] == row["file"] + ".expected.png":
            image = Image.fromarray(np.asarray(load_image(str(OUT / row["file"]))))
            image.save(OUT / row["expected"], optimize=True)
    write_json("decode.json", rows)


def laid_over(image, level):
    """As transformers' `CLIPImageProcessorPil` lays an image with alpha over white."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (level,) * 3), image).convert("RGB")


def record_options():
    """What PIL makes of files by other choices than `load_image`'s."""
    rows = []

    def record(path, image, orientation, alpha):
        pixels = np.asarray(image)
        row = {"file": path.name, "orientation": orientation, "alpha": alpha}
        row |= {"width": image.width, "height": image.height, "row_crc32": "".join(checksum(line) for line in pixels)}
        rows.append(row)

    for path in sorted(OUT.iterdir()):
        if path.name.startswith("unsupported_") or path.name.endswith((".expected.png", ".json")):
            continue
        if "orientation_" in path.name or "exif" in path.name or path.name == "xmp_orientation.png":
            with Image.open(path) as image:
                record(path, image.convert("RGB"), "ignore", "drop")
        with Image.open(path) as image:
            # Of 16-bit grey, PIL loses the colour key when it converts it.
            if image.has_transparency_data and image.mode != "I;16":
                for name, level in (("white", 255), ("black", 0)):
                    record(path, laid_over(ImageOps.exif_transpose(image), level), "exif", name)
    write_json("options.json", rows)


def pattern(width, height):
    """Pixels that the test makes by the same rule, so that they need no file."""
    i = np.arange(width * height * 3, dtype=np.uint64)
    hashed = (i * 2654435761) % 2**32
    return ((hashed >> 13) & 0xFF).astype(np.uint8).reshape(height, width, 3)


SIZES = [
    (1, 1), (1, 2), (2, 1), (2, 640), (640, 2), (777, 9), (9, 777), (3, 5), (17, 17), (223, 223),
    (224, 224), (225, 225), (224, 500), (500, 224), (224, 225), (225, 224), (100, 101), (301, 300),
    (447, 1001), (1001, 447), (640, 480), (480, 640), (333, 2000), (2000, 333), (449, 448), (4, 1300),
    (1300, 4), (1023, 769), (513, 1111), (300, 1100), (250, 303),
]  # fmt: skip


def resize_and_crop(width, height, size):
    image = Image.fromarray(pattern(width, height))
    long = size * max(width, height) // min(width, height)
    resized = (size, long) if width <= height else (long, size)
    image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def record_resizing():
    """Of small results the pixels, one below the other; of large ones a checksum a row."""
    rows, stack = [], []
    for width, height in SIZES:
        stack.append(resize_and_crop(width, height, 32))
        rows.append({"size": 32, "width": width, "height": height})
    Image.fromarray(np.vstack(stack)).save(OUT / "resize_32.expected.png", optimize=True)
    for size, sizes in ((224, SIZES), (255, SIZES[::3]), (336, SIZES[1::3])):
        for width, height in sizes:
            pixels = resize_and_crop(width, height, size)
            sums = "".join(checksum(row) for row in pixels)
            rows.append({"size": size, "width": width, "height": height, "row_crc32": sums})
    write_json("resize.json", rows)


def record_pixel_values():
    rows = []
    processor = CLIPImageProcessorPil()
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    big = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
    cases = [
        ("rgb8.png", {}), ("rgba8.png", half), ("grey16.png", {}), ("palette8_trns.png", {}),
        ("orientation_6.png", {}), ("rgb24.bmp", big), ("offset_transparent.gif", {}),
        ("cmyk.tiff", {}), ("lossless_alpha.webp", {}), ("lossy.webp", big | half),
    ]  # fmt: skip
    for name, options in cases:
        # A new image without `info`: where that kept a colour key from the file, transformers 5.23
        # puts white in place of the key, though `load_image` has dropped alpha by then.
        image = Image.fromarray(np.asarray(load_image(str(OUT / name))))
        values = processor(image, return_tensors="np", **options)["pixel_values"][0]
        values = np.asarray(values, dtype="<f4")
        size = values.shape[-1]
        at = [(c, y, x) for c in range(3) for y in (0, size // 3, size - 1) for x in (0, size // 2, size - 1)]
        rows.append(
            {
                "file": name,
                "size": size,
                "mean": options.get("image_mean", processor.image_mean),
                "std": options.get("image_std", processor.image_std),
                "crc32": checksum(values),
                "samples": [[c, y, x, float(values[c, y, x])] for c, y, x in at],
            }
        )
    write_json("pixel_values.json", rows)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (make_png, make_jpeg, make_gif, make_bmp, make_webp, make_tiff, make_orientations, make_tiff_orientations):
        make()
    record_decoding()
    record_options()
    record_resizing()
    record_pixel_values()
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} files, {total} bytes")
