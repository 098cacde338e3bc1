"""Says what Pillow makes of image files: one line of JSON for each file below a directory.

    PYTHONPATH=target/test-data/python python3 tests/support/pil.py DIRECTORY

    {"file": "a/b.png", "width": 3, "height": 2, "crc32": "d2951944"}
    {"file": "c.png", "error": "OSError: image file is truncated"}

The pixels are those of transformers' `load_image`: turned as Exif data says, and RGB. The versions of Pillow and of the
numbers it depends on stand in examples/demo_model/requirements.txt.
"""

import json
import sys
import warnings
import zlib
from pathlib import Path

from PIL import Image, ImageOps


def describe(path: Path) -> dict:
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    except Exception as error:  # Pillow raises what it likes.
        return {"error": f"{type(error).__name__}: {error}"}
    return {"width": image.width, "height": image.height, "crc32": f"{zlib.crc32(image.tobytes()):08x}"}


def main(directory: Path) -> None:
    warnings.simplefilter("ignore")
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            print(json.dumps({"file": path.relative_to(directory).as_posix(), **describe(path)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
