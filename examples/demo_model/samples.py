"""Draws the sample pictures of the page.

    python samples.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from draw import draw
from scenes import Scene, Thing

# The file, a seed that gives a good picture, and what it shows.
SAMPLES = [
    ("hearts", 4, Scene(Thing("heart", "red"), count=3)),
    ("fish", 12, Scene(Thing("fish", "green", texture="striped"))),
    (
        "moon", 10,
        Scene(Thing("moon", "yellow"), "black", relation="above", other=Thing("star", "purple")),
    ),
    ("house", 7, Scene(Thing("house", "black", style="sketched"))),
    ("letter", 7, Scene(Thing("a", "blue"))),
    ("faces", 0, Scene(Thing("face", "yellow"), "blue", count=4)),
]
SIZE = 256


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, seed, scene in SAMPLES:
        picture = draw(np.random.default_rng(seed), scene, SIZE)
        # A palette halves the file size without a visible difference.
        picture = picture.quantize(64, dither=Image.Dither.NONE)
        picture.save(directory / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
