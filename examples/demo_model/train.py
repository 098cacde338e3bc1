"""Draws a data set, trains a small CLIP on it, and writes it as a Hugging Face checkpoint.

    python train.py DIRECTORY [--pictures N] [--steps N] [--seed N]

The model is transformers' own CLIPModel and the loss CLIP's own (symmetric cross-entropy over the
cosines of a batch), so `clip-wasm convert DIRECTORY -o model.gguf` turns the result into what the page
loads, as it would a model of yours.
"""

import argparse
import ctypes
import json
import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

import vocabulary
from draw import draw
from scenes import COLOURS, Case, Scene, describe, glyph_cases, held_out, held_out_cases, random_scene
from shapes import FIGURES
from tokenizer_file import END

IMAGE_SIZE = 72
PATCH_SIZE = 12
CONTEXT_LENGTH = 32
BATCH = 256
# transformers' OPENAI_CLIP_MEAN and OPENAI_CLIP_STD.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# CLIP's paper clips the scale of its logits here.
MOST_LOGIT_SCALE = math.log(100)


def architecture(vocabulary_size: int) -> CLIPConfig:
    end = vocabulary_size - 1
    return CLIPConfig(
        text_config=dict(
            hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=CONTEXT_LENGTH, vocab_size=vocabulary_size, hidden_act="gelu",
            bos_token_id=end - 1, eos_token_id=end, pad_token_id=end,
        ),
        vision_config=dict(
            hidden_size=160, intermediate_size=640, num_hidden_layers=5, num_attention_heads=5,
            image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, hidden_act="gelu",
        ),
        projection_dim=128,
        attn_implementation="eager",
    )


# ---- the data


def draw_chunk(task: tuple[int, int, int]) -> tuple[list[Scene], np.ndarray]:
    seed, chunk, count = task
    rng = np.random.default_rng([seed, chunk])
    scenes = [random_scene(rng) for _ in range(count)]
    for scene in scenes:
        for thing in (scene.thing, scene.other):
            assert thing is None or not held_out(thing.figure, thing.colour)
    return scenes, np.stack([np.asarray(draw(rng, scene, IMAGE_SIZE)) for scene in scenes])


def draw_pictures(seed: int, count: int) -> tuple[list[Scene], np.ndarray]:
    """Scenes, and their pictures [count, 72, 72, 3], u8."""
    size = 1000
    tasks = [(seed, chunk, size) for chunk in range(math.ceil(count / size))]
    scenes: list[Scene] = []
    pictures = np.empty((len(tasks) * size, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    with multiprocessing.Pool() as pool:
        for drawn, pixels in pool.imap(draw_chunk, tasks):
            pictures[len(scenes) : len(scenes) + len(drawn)] = pixels
            scenes += drawn
    return scenes, pictures


class Batches:
    """Batches in which most pictures share a few figures or a few colours, so that counts, textures
    and places tell them apart."""

    def __init__(self, rng: np.random.Generator, scenes: list[Scene]):
        self.rng = rng
        self.count = len(scenes)
        self.alike = []
        for values, of in ((FIGURES, lambda s: s.thing.figure), (COLOURS, lambda s: s.thing.colour)):
            kinds = np.array([list(values).index(of(scene)) for scene in scenes])
            self.alike.append([np.flatnonzero(kinds == kind) for kind in range(len(values))])

    def draw(self, step: int) -> np.ndarray:
        anything = self.rng.integers(0, self.count, BATCH)
        if step % 3 == 2:
            return anything
        groups = self.alike[step % 3]
        chosen = self.rng.choice(len(groups), 6 if step % 3 == 0 else 2, replace=False)
        like = np.concatenate([groups[kind] for kind in chosen])
        share = BATCH * 3 // 4
        return np.concatenate([self.rng.choice(like, share), anything[share:]])


def pixel_values(pictures: np.ndarray, rng: np.random.Generator | None = None) -> torch.Tensor:
    """[n, 3, 72, 72], normalised; with a generator, each picture is made a little lighter or darker."""
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    if rng is not None:
        gain = torch.from_numpy(rng.uniform(0.93, 1.04, (len(values), 1, 1, 1))).float()
        values = (values * gain).clamp(0, 1)
    return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def token_ids(tokenizer, captions: list[str]) -> torch.Tensor:
    """[n, longest], padded with end tokens; CLIP reads only the first of them."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(captions)]
    longest = max(map(len, ids))
    end = tokenizer.token_to_id(END)
    return torch.tensor([line + [end] * (longest - len(line)) for line in ids])


# ---- the training


def image_features(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    pooled = model.vision_model(pixel_values=pixels).pooler_output
    return torch.nn.functional.normalize(model.visual_projection(pooled), dim=-1)


def text_features(model: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    pooled = model.text_model(input_ids=ids).pooler_output
    return torch.nn.functional.normalize(model.text_projection(pooled), dim=-1)


def contrastive_loss(model: CLIPModel, pixels: torch.Tensor, ids: torch.Tensor, said: list) -> torch.Tensor:
    """CLIP's loss; a caption with the same meaning as a picture's own does not count as wrong for it."""
    logits = image_features(model, pixels) @ text_features(model, ids).T * model.logit_scale.exp()
    numbers: dict = {}
    groups = torch.tensor([numbers.setdefault(key, len(numbers)) for key in said])
    same = (groups[:, None] == groups[None, :]) & ~torch.eye(len(said), dtype=torch.bool)
    logits = logits.masked_fill(same, -math.inf)
    right = torch.arange(len(said))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


def optimizers(model: CLIPModel) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices of the layers, AdamW for the rest, each with its peak learning rate."""
    layers = [p for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2]
    inner = {id(p) for p in layers}
    rest = [p for p in model.parameters() if id(p) not in inner]
    decayed = [p for p in rest if p.ndim >= 2]
    others = [p for p in rest if p.ndim < 2]
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=1.5e-3, betas=(0.9, 0.98),
    )
    muon = torch.optim.Muon(layers, lr=3e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    return [(adam, 1.5e-3), (muon, 3e-3)]


def rate(step: int, steps: int) -> float:
    """The learning rate as a fraction of its peak: up in 150 steps, then down to 1 % along a cosine."""
    if step < 150:
        return (step + 1) / 150
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - 150) / max(1, steps - 150)))


def train(model: CLIPModel, tokenizer, scenes: list[Scene], pictures: np.ndarray, steps: int, seed: int) -> None:
    rng = np.random.default_rng([seed, 1 << 20])
    batches = Batches(rng, scenes)
    checks = [("shapes", held_out_cases(rng) * 2), ("glyphs", glyph_cases() * 2)]
    checks = [(name, cases, draw_cases(rng, cases)) for name, cases in checks]
    optimized = optimizers(model)
    start, losses = time.time(), []
    for step in range(steps):
        chosen = batches.draw(step)
        captions, said = zip(*(describe(rng, scenes[index]) for index in chosen))
        loss = contrastive_loss(
            model, pixel_values(pictures[chosen], rng), token_ids(tokenizer, list(captions)), list(said)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, highest in optimized:
            for group in optimizer.param_groups:
                group["lr"] = highest * rate(step, steps)
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MOST_LOGIT_SCALE)
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            right = [f"{name} {zero_shot(model, tokenizer, cases, pixels):.1%}" for name, cases, pixels in checks]
            print(
                f"step {step + 1} of {steps}, {time.time() - start:.0f} s, loss {np.mean(losses[-100:]):.3f}, "
                f"scale {model.logit_scale.exp():.1f}, held out: {', '.join(right)}",
                flush=True,
            )


def draw_cases(rng: np.random.Generator, cases: list[Case]) -> np.ndarray:
    return np.stack([np.asarray(draw(rng, case.scene, IMAGE_SIZE)) for case in cases])


@torch.no_grad()
def zero_shot(model: CLIPModel, tokenizer, cases: list[Case], pictures: np.ndarray) -> float:
    """The share of pictures for which the nearest of all captions is their own."""
    captions = sorted({case.caption for case in cases})
    texts = text_features(model, token_ids(tokenizer, captions))
    nearest = (image_features(model, pixel_values(pictures)) @ texts.T).argmax(dim=1)
    return sum(captions[n] == case.caption for n, case in zip(nearest.tolist(), cases)) / len(cases)


# ---- the checkpoint


def save(model: CLIPModel, directory: Path) -> None:
    """Weights in f16, so that the quantised and the float file are both made from the saved weights."""
    tensors = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    model.config.to_json_file(directory / "config.json", use_diff=False)
    preprocessor = {
        "crop_size": IMAGE_SIZE, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_resize": True, "image_mean": MEAN, "image_std": STD, "resample": 3,
        "size": {"shortest_edge": IMAGE_SIZE}, "image_processor_type": "CLIPImageProcessor",
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")


def keep_freed_memory() -> None:
    """Tells glibc not to return freed tensors to the system at every step, which doubles the speed."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
        libc.mallopt(top_pad, 1 << 28)
    except OSError:
        pass


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--pictures", type=int, default=240_000)
    arguments.add_argument("--steps", type=int, default=4000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()

    start = time.time()
    scenes, pictures = draw_pictures(given.seed, given.pictures)
    print(f"drew {len(scenes)} pictures in {time.time() - start:.0f} s", flush=True)
    rng = np.random.default_rng([given.seed, 2 << 20])
    tokenizer = vocabulary.write([describe(rng, scene)[0] for scene in scenes[:20_000]], given.directory)
    torch.manual_seed(given.seed)
    model = CLIPModel(architecture(tokenizer.get_vocab_size()))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    train(model, tokenizer, scenes, pictures, given.steps, given.seed)
    save(model, given.directory)


if __name__ == "__main__":
    main()
