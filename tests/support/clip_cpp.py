"""Asks clip.cpp itself, as PyPI's clip-cpp carries it.

    python3 tests/support/clip_cpp.py LIBRARIES embed MODEL <REQUEST
    python3 tests/support/clip_cpp.py LIBRARIES quantise MODEL OUT TYPE

`embed` reads `{"tokens": [[49406, …]], "images": ["pixels.f32"], "size": 224}` and prints
`{"texts": [[…]], "images": [[…]]}`, vectors of unit length. An image is a file of f32, `[size, size, 3]`, normalised.
TYPE is ggml's number of a file type: 2 for q4_0, 8 for q8_0. clip.cpp ends the process where it does not like a file.
"""

import ctypes
import json
import sys
from pathlib import Path

# Of several, each that waits for the others takes a core.
THREADS = 1
_folder = Path(sys.argv[1])
# What the second needs of the first is looked for among what is loaded already.
ctypes.CDLL(str(_folder / "libggml.so"), mode=ctypes.RTLD_GLOBAL)
LIBRARY = ctypes.CDLL(str(_folder / "libclip.so"))


class Tokens(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_int32)), ("size", ctypes.c_size_t)]


class Image(ctypes.Structure):
    _fields_ = [("nx", ctypes.c_int), ("ny", ctypes.c_int), ("data", ctypes.POINTER(ctypes.c_float))]


class Sizes(ctypes.Structure):
    """`clip_vision_hparams`, of which the fifth is the vectors' length."""

    _fields_ = [(f"number_{place}", ctypes.c_int32) for place in range(4)] + [("projection", ctypes.c_int32)]


def embed(model: str) -> None:
    request = json.load(sys.stdin)
    LIBRARY.clip_model_load.restype = ctypes.c_void_p
    LIBRARY.clip_get_vision_hparams.restype = ctypes.POINTER(Sizes)
    context = LIBRARY.clip_model_load(model.encode(), 0)
    assert context, "clip.cpp does not read the model"
    context = ctypes.c_void_p(context)
    length = LIBRARY.clip_get_vision_hparams(context).contents.projection

    def vector(encode, of) -> list[float]:
        out = (ctypes.c_float * length)()
        encode.restype = ctypes.c_bool
        assert encode(context, THREADS, ctypes.byref(of), out, True), "clip.cpp does not encode it"
        return list(out)

    texts, images = [], []
    for ids in request["tokens"]:
        texts.append(vector(LIBRARY.clip_text_encode, Tokens((ctypes.c_int32 * len(ids))(*ids), len(ids))))
    size = request["size"]
    for path in request["images"]:
        pixels = (ctypes.c_float * (size * size * 3)).from_buffer_copy(Path(path).read_bytes())
        images.append(vector(LIBRARY.clip_image_encode, Image(size, size, pixels)))
    print("\n" + json.dumps({"texts": texts, "images": images}))


def quantise(model: str, out: str, kind: str) -> None:
    LIBRARY.clip_model_quantize.restype = ctypes.c_bool
    assert LIBRARY.clip_model_quantize(model.encode(), out.encode(), int(kind)), "clip.cpp does not quantise it"


if __name__ == "__main__":
    {"embed": embed, "quantise": quantise, "load": lambda: None}[sys.argv[2]](*sys.argv[3:])
