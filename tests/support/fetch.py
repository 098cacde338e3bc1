"""Puts into a directory what the tests need from outside, each from a package of PyPI:

    tokenizer.json       CLIP's vocabulary and merges, from open_clip_torch, in Hugging Face's form
    photos/*.png         two photos whose licence is not clear enough to commit, from scikit-image
    clip-cpp/            clip.cpp's libraries
    pillow/              the test images of Pillow's source that are in formats decoded here

    python3 tests/support/fetch.py target/test-data

Does nothing where they are already there. Needs pip, and nothing beyond the standard library.
"""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/demo_model"))
from tokenizer_file import tokenizer_json  # noqa: E402

# Only read, never imported, so neither wheel need suit the Python that runs this.
OPEN_CLIP = ["--only-binary=:all:", "--python-version=3.11", "open_clip_torch==3.3.0"]
# The last release whose wheel still carries the photos; any platform's will do.
SCIKIT_IMAGE = [
    "--only-binary=:all:", "--python-version=3.8", "--implementation=cp", "--abi=cp38",
    "--platform=manylinux1_x86_64", "scikit-image==0.17.2",
]
PHOTOS = {
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
}
# Its source, which has the images; the version is free of the one that decodes them.
PILLOW = ["--no-binary=:all:", "pillow==11.3.0"]
PILLOW_IMAGES = "pillow-11.3.0/Tests/images/"
# clip.cpp, built for x86-64.
CLIP_CPP = ["--only-binary=:all:", "clip-cpp==0.5.0"]
CLIP_CPP_LIBRARIES = ["libclip.so", "libggml.so"]
FORMATS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM|II\x2a\0|MM\0\x2a|II\x2b\0|MM\0\x2b|RIFF....WEBP|\x28\0\0\0", re.DOTALL
)


def download(arguments: list[str]) -> io.BytesIO:
    """The one file that pip downloads."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory]
        run = subprocess.run(command + arguments, stderr=subprocess.PIPE, text=True)
        if "No module named pip" in run.stderr:
            sys.exit("fetch.py: pip is missing: apt-get install python3-pip")
        if run.returncode != 0:
            reason = run.stderr.strip().rpartition("\n")[2]
            sys.exit(f"fetch.py: pip could not download {arguments[-1]}: {reason}")
        (file,) = Path(directory).iterdir()
        return io.BytesIO(file.read_bytes())


def put(file: Path, data: bytes) -> None:
    """Writes a file whole or not at all: what is there is taken for complete from then on."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_bytes(data)
    os.replace(part, file)


def main(directory: Path) -> None:
    (directory / "photos").mkdir(parents=True, exist_ok=True)
    target = directory / "tokenizer.json"
    if not target.exists():
        wheel = zipfile.ZipFile(download(OPEN_CLIP))
        packed = wheel.read("open_clip/bpe_simple_vocab_16e6.txt.gz")
        lines = gzip.decompress(packed).decode().split("\n")
        merges = [line.split() for line in lines[1 : 49152 - 256 - 2 + 1]]
        put(target, json.dumps(tokenizer_json(merges), ensure_ascii=False).encode())
    missing = [name for name in PHOTOS if not (directory / "photos" / name).exists()]
    if missing:
        wheel = zipfile.ZipFile(download(SCIKIT_IMAGE))
        for name in missing:
            photo = wheel.read(f"skimage/data/{name}")
            assert hashlib.sha256(photo).hexdigest() == PHOTOS[name], f"{name} is another photo"
            put(directory / "photos" / name, photo)
    missing = [name for name in CLIP_CPP_LIBRARIES if not (directory / "clip-cpp" / name).exists()]
    if missing:
        (directory / "clip-cpp").mkdir(exist_ok=True)
        wheel = zipfile.ZipFile(download(CLIP_CPP))
        for name in missing:
            put(directory / "clip-cpp" / name, wheel.read(f"clip_cpp/{name}"))
    if not (directory / "pillow").exists():
        put_images(directory / "pillow")


def put_images(directory: Path) -> None:
    """Pillow's images, all of them or none."""
    part = directory.with_name(f"pillow.{os.getpid()}.part")
    with tarfile.open(fileobj=download(PILLOW)) as source:
        for member in source:
            name = member.name.removeprefix(PILLOW_IMAGES)
            if name == member.name or not member.isfile():
                continue
            image = source.extractfile(member).read()
            if FORMATS.match(image):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(image)
    os.replace(part, directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
