"""Draws scenes with Pillow: figures in perspective, textures, paper, light, blur, noise and JPEG.

    python draw.py SEED DIRECTORY      draws the test pictures, and cases.json with their captions
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scenes import COLOURS, PLACES, Case, Scene, Thing, glyph_cases, held_out_cases
from shapes import FIGURES, GLYPHS, SKETCHES

# Everything is drawn without anti-aliasing at this many times the size, and then scaled down.
OVERSAMPLING = 4
# The radius of a figure as a fraction of the picture's edge, by the count and size of a scene.
RADII = {
    (1, "small"): (0.10, 0.145), (1, "medium"): (0.2, 0.28), (1, "big"): (0.36, 0.44),
    (2, "small"): (0.09, 0.125), (2, "medium"): (0.16, 0.2), (2, "big"): (0.225, 0.245),
    (3, "medium"): (0.12, 0.18), (4, "medium"): (0.12, 0.17),
}
# Figures that become others when rotated far: a square becomes a diamond, a 6 becomes a 9.
UPRIGHT = {"square", "diamond", "cross", "house", "tree", "face", "triangle", *GLYPHS}


def jittered(rng: np.random.Generator, colour: str, spread: float = 13) -> tuple[int, ...]:
    """A random shade that still matches the colour's name."""
    base = np.array(COLOURS[colour], dtype=np.float64)
    if colour in ("black", "white", "gray"):
        shade = base + rng.normal(0, spread)
    else:
        shade = base * rng.uniform(0.86, 1.1) + rng.normal(0, spread * 0.7, 3)
    return tuple(int(value) for value in np.clip(shade, 0, 255))


def draw(rng: np.random.Generator, scene: Scene, size: int) -> Image.Image:
    """An RGB picture of `size` by `size` pixels."""
    edge = size * OVERSAMPLING
    image = ground(rng, scene.background, edge)
    warp = perspective(rng, edge)
    by_hand = rng.random() < 0.35
    for thing, x, y, radius in placed(rng, scene):
        paint(image, rng, figure(rng, thing, x, y, radius, by_hand), warp, thing, edge)
    image = image.resize((size, size), Image.Resampling.BICUBIC)
    return photographed(rng, image)


def ground(rng: np.random.Generator, colour: str, edge: int) -> Image.Image:
    """Flat, or with a faint gradient; white is often ruled paper, as in an exercise book."""
    shade = jittered(rng, colour, 7)
    image = Image.new("RGB", (edge, edge), shade)
    if colour == "white" and rng.random() < 0.12:
        pen = ImageDraw.Draw(image)
        line = tuple(int(v) for v in np.clip(np.array(shade) - rng.uniform(15, 50, 3), 0, 255))
        gap = edge * rng.uniform(0.05, 0.12)
        crossed, start = rng.random() < 0.5, rng.uniform(0, gap)
        for at in np.arange(start, edge, gap):
            pen.line([(0, at), (edge, at)], line, max(1, edge // 220))
            if crossed:
                pen.line([(at, 0), (at, edge)], line, max(1, edge // 220))
    return image


def perspective(rng: np.random.Generator, edge: int):
    """A map from the unit square to pixels, sometimes in perspective, as for a sheet seen from an angle."""
    matrix = np.eye(3)
    if rng.random() < 0.4:
        matrix[2, :2] = rng.uniform(-0.16, 0.16, 2)
        matrix[0, 1], matrix[1, 0] = rng.uniform(-0.08, 0.08, 2)

    def warp(points: np.ndarray) -> np.ndarray:
        centred = np.column_stack([points - 0.5, np.ones(len(points))]) @ matrix.T
        return (centred[:, :2] / centred[:, 2:] + 0.5) * edge

    return warp


def placed(rng: np.random.Generator, scene: Scene) -> list[tuple[Thing, float, float, float]]:
    """Each thing with its centre and radius, as fractions of the picture's edge."""
    if scene.other is not None:
        radii = rng.uniform(0.14, 0.2, 2)
        gap, offset = rng.uniform(0.22, 0.26), rng.uniform(-0.06, 0.06, 2)
        sign = -1 if scene.relation in ("left", "above") else 1
        centres = [(0.5 + sign * gap, 0.5 + offset[0]), (0.5 - sign * gap, 0.5 + offset[1])]
        if scene.relation in ("above", "below"):
            centres = [(y, x) for x, y in centres]
        things = zip((scene.thing, scene.other), centres, radii)
        return [(thing, x, y, radius) for thing, (x, y), radius in things]
    low, high = RADII[scene.count, scene.size]
    radii = rng.uniform(low, high) * rng.uniform(0.9, 1.05, scene.count)
    if scene.count == 1:
        radius = float(radii[0])
        if scene.place:
            x, y = np.array(PLACES[scene.place]) + rng.uniform(-0.04, 0.04, 2)
            radius = min(radius, 0.19)
        else:
            room = max(0.0, 0.47 - radius)
            x, y = 0.5 + rng.uniform(-room, room, 2) * 0.7
        return [(scene.thing, float(x), float(y), radius)]
    centres = scattered(rng, radii)
    return [(scene.thing, x, y, float(radius)) for (x, y), radius in zip(centres, radii)]


def scattered(rng: np.random.Generator, radii: np.ndarray) -> list[tuple[float, float]]:
    """Centres of circles that do not touch one another or the edge, by rejection."""
    while True:
        centres: list[tuple[float, float]] = []
        for radius in radii:
            for _ in range(40):
                x, y = rng.uniform(radius + 0.03, 0.97 - radius, 2)
                if all(np.hypot(x - u, y - v) > (radius + r) * 1.12 for (u, v), r in zip(centres, radii)):
                    centres.append((float(x), float(y)))
                    break
            else:
                break
        if len(centres) == len(radii):
            return centres


def figure(rng, thing: Thing, x: float, y: float, radius: float, by_hand: bool) -> list:
    """The parts of a figure in the unit square, rotated and stretched, with unsteady lines if drawn by hand."""
    most = 14 if thing.figure in UPRIGHT else 180 if thing.figure in ("arrow", "spiral") else 30
    angle = np.radians(rng.uniform(-most, most))
    stretch = 1 + rng.uniform(-0.12, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = -1 if thing.figure in ("fish", "moon", "arrow", "spiral") and rng.random() < 0.5 else 1
    matrix = turn @ np.diag([mirror * stretch, 1 / stretch]) * radius
    by_hand = by_hand or thing.style == "sketched" and rng.random() < 0.7
    unsteady = rng.uniform(0.01, 0.05) if by_hand else 0.0
    form = FIGURES[thing.figure]
    if thing.style == "sketched":
        form = SKETCHES.get(thing.figure, form)
    parts = []
    for kind, points in form:
        if unsteady:
            points = trembling(rng, points, unsteady, closed=kind != "line")
        parts.append((kind, points @ matrix.T + (x, y)))
    return parts


def trembling(rng: np.random.Generator, points: np.ndarray, amount: float, closed: bool) -> np.ndarray:
    """The same line drawn with an unsteady hand: it drifts slowly and randomly, and its ends may not meet."""
    if closed:
        points = np.vstack([points, points[:1]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], max(12, int(along[-1] / 0.12)))
    # Corners stay sharp.
    at = np.union1d(at, along)
    even = np.column_stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)])
    drift = np.zeros_like(even)
    for _ in range(3):
        frequency, phase = rng.uniform(0.5, 2.2), rng.uniform(0, 2 * np.pi, 2)
        drift += np.sin(at[:, None] * frequency * 2 + phase) * rng.normal(0, 0.6, 2)
    return even + drift * amount


def paint(image: Image.Image, rng, parts: list, warp, thing: Thing, edge: int) -> None:
    colour = jittered(rng, thing.colour)
    parts = [(kind, [tuple(point) for point in warp(points)]) for kind, points in parts]
    width = max(2, round(edge * rng.uniform(0.014, 0.045)))
    pen = ImageDraw.Draw(image)
    if thing.style != "filled":
        for kind, points in parts:
            thin = max(2, width * 2 // 3) if kind == "cut" else width
            stroke(pen, points if kind == "line" else [*points, points[0]], colour, thin)
        return
    fills = [points for kind, points in parts if kind == "fill"]
    if thing.texture == "plain":
        for points in fills:
            pen.polygon(points, colour)
    elif fills:
        mask = Image.new("L", (edge, edge))
        masked = ImageDraw.Draw(mask)
        for points in fills:
            masked.polygon(points, 255)
        image.paste(textured(rng, thing, colour, fills, edge), mask=mask)
    mark = contrasting(rng, thing.colour)
    for kind, points in parts:
        if kind == "cut":
            pen.polygon(points, mark)
        elif kind == "line":
            stroke(pen, points, colour, round(width * rng.uniform(1.2, 2.2)))
    # The edge colour: a texture's own colour; for plain figures sometimes a darker one, or ink.
    if len(fills) == 1 and (thing.texture != "plain" or rng.random() < 0.2):
        edging = colour if thing.texture != "plain" else tuple(int(value * 0.55) for value in colour)
        if thing.colour != "black" and rng.random() < 0.3:
            edging = jittered(rng, "black")
        stroke(pen, [*fills[0], fills[0][0]], edging, max(2, width // 3))


def stroke(pen: ImageDraw.ImageDraw, points: list, colour, width: int) -> None:
    """Draws a line with round joints and ends."""
    pen.line(points, colour, width)
    radius = width / 2
    for x, y in points:
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], colour)


def contrasting(rng: np.random.Generator, colour: str) -> tuple[int, ...]:
    light = sum(COLOURS[colour]) > 380
    if light:
        return jittered(rng, "black")
    return jittered(rng, "white" if rng.random() < 0.7 or colour == "black" else "black")


def textured(rng, thing: Thing, colour, fills: list, edge: int) -> Image.Image:
    """The figure's colour with a lighter or darker one, in a pattern as fine as the figure is large."""
    points = np.array([point for fill in fills for point in fill])
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    shade = np.array(colour, dtype=np.float64)
    dark = sum(COLOURS[thing.colour]) > 560 or (rng.random() < 0.3 and thing.colour != "black")
    second = tuple(int(v) for v in (shade * rng.uniform(0.25, 0.5) if dark else shade + (255 - shade) * rng.uniform(0.65, 1)))
    image = Image.new("RGB", (edge, edge), colour)
    pen = ImageDraw.Draw(image)
    centre = (low + high) / 2
    angle = rng.uniform(0, np.pi)
    u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    period = extent / rng.uniform(4, 6.5)
    steps = np.arange(-5, 6)
    quad = lambda c, a, b: [tuple(c + s * a * u + t * b * v) for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    if thing.texture == "striped":
        for i in steps:
            pen.polygon(quad(centre + i * period * u, period * rng.uniform(0.22, 0.28), extent), second)
    elif thing.texture == "dotted":
        radius = period * rng.uniform(0.26, 0.34)
        for i in steps:
            for j in steps:
                x, y = centre + (i + (j % 2) / 2) * period * u + j * period * 0.87 * v
                pen.ellipse([x - radius, y - radius, x + radius, y + radius], second)
    else:
        for i in steps:
            for j in steps:
                if (i + j) % 2:
                    pen.polygon(quad(centre + i * period * 0.8 * u + j * period * 0.8 * v, period * 0.4, period * 0.4), second)
    return image


def photographed(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Makes some pictures blurred, some unevenly lit, some noisy, some compressed."""
    size = image.width
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(size / 72 * rng.uniform(0.2, 0.9)))
    if rng.random() < 0.45:
        pixels = np.asarray(image, dtype=np.float32)
        if rng.random() < 0.5:
            y, x = np.mgrid[-1:1:size * 1j, -1:1:size * 1j].astype(np.float32)
            a, b = rng.uniform(-0.14, 0.14, 2)
            pixels = pixels * (1 + a * x + b * y)[..., None]
        pixels = pixels * rng.uniform(0.85, 1.06) * rng.uniform(0.95, 1.05, 3)
        if rng.random() < 0.5:
            pixels = pixels + rng.normal(0, rng.uniform(2, 11), pixels.shape)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.25:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(35, 96)))
        image = Image.open(file).convert("RGB")
    return image


# How many sets of the held-out pairs of shape and colour, each with other counts, textures and
# backgrounds.
SETS = 3


def main(seed: int, directory: Path) -> None:
    """Writes pictures of `Case`s, and in `cases.json` their captions: sets of held-out pairs of shape and
    colour, those of the first set in other drawings, files and sizes as well, and letters and digits."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    sets = [(f"shapes-{number}", held_out_cases(rng)) for number in range(SETS)]
    written = {}
    for name, cases in [*sets, ("glyphs", glyph_cases())]:
        written[name] = []
        for number, case in enumerate(cases):
            file = f"{name}-{number:03}"
            picture = draw(rng, case.scene, 256)
            picture.save(directory / f"{file}.png")
            written[name].append({"file": file, "caption": case.caption})
            if name == sets[0][0]:
                save_variants(picture, directory / file)
                draw(rng, case.scene, 256).save(directory / f"{file}-again.png")
    (directory / "cases.json").write_text(json.dumps(written, indent=1) + "\n")


def save_variants(picture: Image.Image, path: Path) -> None:
    for quality in (90, 40):
        picture.save(f"{path}-quality-{quality}.jpg", quality=quality)
    for size in (128, 600):
        picture.resize((size, size), Image.Resampling.LANCZOS).save(f"{path}-size-{size}.png")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
