"""What gguf-py, the reference implementation of GGUF's types, makes of seeded weights, byte for byte.

    python tests/reference/quantised.py

Writes fixtures/quantised.json: for each type and each tensor, under its name in clip.cpp's files, the
CRC-32 of the bytes that a converted file must hold. Of `tiny` all 2-D weights; of `vit-b-32` the largest
and the oddest. `f16` holds the patch embeddings too.
"""

import json
import re
import zlib
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize

import weights

FIXTURE = Path(__file__).parent.parent / "fixtures" / "quantised.json"
TYPES = ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
OF_VIT_B_32 = [
    "t.token_embd.weight", "t.position_embd.weight", "t.blk.0.attn_q.weight", "t.blk.11.ffn_up.weight",
    "text_projection.weight", "v.blk.0.ffn_down.weight", "v.blk.11.attn_out.weight",
    "v.patch_embd.weight", "v.position_embd.weight", "visual_projection.weight",
]
# clip.cpp's names. Its ffn_down is fc1, which widens, and its ffn_up is fc2.
NAMES = {
    "embeddings.token_embedding": "token_embd",
    "embeddings.position_embedding": "position_embd",
    "embeddings.patch_embedding": "patch_embd",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_down",
    "mlp.fc2": "ffn_up",
    "encoder.layers": "blk",
    "text_model": "t",
    "vision_model": "v",
}


def gguf_name(name: str) -> str:
    return re.sub("|".join(map(re.escape, NAMES)), lambda found: NAMES[found[0]], name)


def stored(tensor: np.ndarray, name: str) -> bytes:
    """The bytes of a tensor in a type, rows one after the other."""
    return quantize(tensor.reshape(-1, tensor.shape[-1]), GGMLQuantizationType[name.upper()]).tobytes()


def digests(tensors: dict[str, np.ndarray], only: list[str] | None = None) -> dict:
    chosen = {gguf_name(name): tensor for name, tensor in tensors.items() if tensor.ndim in (2, 4)}
    names = only or sorted(chosen)
    return {
        kind: {
            name: zlib.crc32(stored(chosen[name], kind))
            for name in names
            if kind == "f16" or chosen[name].ndim == 2
        }
        for kind in TYPES
    }


if __name__ == "__main__":
    models = {
        "tiny": digests(weights.model("tiny")),
        "vit-b-32": digests(weights.model("vit-b-32"), OF_VIT_B_32),
    }
    FIXTURE.write_text(json.dumps(models, indent=0) + "\n")
