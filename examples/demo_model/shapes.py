"""What can be drawn: shapes, and letters and digits as pen strokes.

A figure is a list of parts, each `(kind, points)` with points in [-1, 1], y downwards:

    fill    a closed polygon, filled, or its outline in a line drawing
    line    an open stroke
    cut     a closed polygon inside a fill, in a contrasting colour, or its outline in a line drawing
"""

import math

import numpy as np

Part = tuple[str, np.ndarray]


def arc(cx, cy, rx, ry, start, end, steps=24) -> list[tuple[float, float]]:
    """Points of an ellipse; angles in degrees, clockwise from the right, as y points down."""
    angles = np.radians(np.linspace(start, end, steps))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def polygon(corners: int, radius: float = 1.0, turn: float = -90.0) -> list[tuple[float, float]]:
    return arc(0, 0, radius, radius, turn, turn + 360 * (corners - 1) / corners, corners)


def star() -> list[tuple[float, float]]:
    outer, inner = polygon(5), polygon(5, 0.42, -54)
    return [point for pair in zip(outer, inner) for point in pair]


def heart() -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return list(zip(x / 17, -(y + 2.5) / 16))


def moon() -> list[tuple[float, float]]:
    return arc(0, 0, 1, 1, 55, 305, 40) + arc(0.62, 0, 0.82, 0.82, 273, 87, 32)


def spiral() -> list[tuple[float, float]]:
    t = np.linspace(0.25, 1, 70)
    return list(zip(t * np.cos(t * 5.2 * math.pi), t * np.sin(t * 5.2 * math.pi)))


def part(kind: str, points) -> Part:
    return kind, np.array(points, dtype=np.float64)


def eye(x: float, y: float, radius: float) -> Part:
    return part("cut", arc(x, y, radius, radius, 0, 345, 16))


def shapes() -> dict[str, list[Part]]:
    petals = [
        part("fill", arc(0.58 * math.cos(a), 0.58 * math.sin(a), 0.42, 0.42, 0, 345, 20))
        for a in np.radians(np.arange(-90, 270, 72))
    ]
    smile = arc(0, 0.1, 0.52, 0.5, 15, 165, 16) + arc(0, 0.1, 0.52, 0.28, 165, 15, 16)
    return {
        "circle": [part("fill", arc(0, 0, 0.95, 0.95, 0, 352, 46))],
        "square": [part("fill", [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)])],
        "triangle": [part("fill", polygon(3))],
        "star": [part("fill", star())],
        "heart": [part("fill", heart())],
        "cross": [part("fill", [
            (-0.32, -1), (0.32, -1), (0.32, -0.32), (1, -0.32), (1, 0.32), (0.32, 0.32),
            (0.32, 1), (-0.32, 1), (-0.32, 0.32), (-1, 0.32), (-1, -0.32), (-0.32, -0.32),
        ])],
        "diamond": [part("fill", [(0, -1), (0.66, 0), (0, 1), (-0.66, 0)])],
        "hexagon": [part("fill", polygon(6, 0.98, 0))],
        "arrow": [part("fill", [
            (-1, -0.28), (0.1, -0.28), (0.1, -0.75), (1, 0), (0.1, 0.75), (0.1, 0.28), (-1, 0.28),
        ])],
        "moon": [part("fill", moon())],
        "house": [
            part("fill", [
                (0, -1), (0.95, -0.15), (0.72, -0.15), (0.72, 0.9), (-0.72, 0.9), (-0.72, -0.15),
                (-0.95, -0.15),
            ]),
            part("cut", [(-0.2, 0.9), (-0.2, 0.25), (0.2, 0.25), (0.2, 0.9)]),
        ],
        "flower": [*petals, part("cut", arc(0, 0, 0.3, 0.3, 0, 345, 20))],
        "tree": [part("fill", [
            (0, -1), (0.5, -0.3), (0.26, -0.3), (0.75, 0.45), (0.16, 0.45), (0.16, 1), (-0.16, 1),
            (-0.16, 0.45), (-0.75, 0.45), (-0.26, -0.3), (-0.5, -0.3),
        ])],
        "fish": [
            part("fill", [
                *arc(0.2, 0, 0.8, 0.55, 155, -155, 30), (-0.95, -0.6), (-0.8, 0), (-0.95, 0.6),
            ]),
            eye(0.62, -0.12, 0.1),
        ],
        "spiral": [part("line", spiral())],
        "face": [
            part("fill", arc(0, 0, 0.97, 0.97, 0, 352, 46)), eye(-0.35, -0.3, 0.14),
            eye(0.35, -0.3, 0.14), part("cut", smile),
        ],
    }


SHAPES = shapes()


def sketches() -> dict[str, list[Part]]:
    """Shapes as people draw them with a pen, for those that are not drawn as their outline."""
    face = [eye(-0.35, -0.3, 0.07), eye(0.35, -0.3, 0.07)]
    petals = [
        part("fill", arc(0.36 * math.cos(a), -0.4 + 0.36 * math.sin(a), 0.22, 0.22, 0, 345, 16))
        for a in np.radians(np.arange(-90, 270, 60))
    ]
    return {
        "star": [part("line", [polygon(5)[n] for n in (3, 0, 2, 4, 1, 3)])],
        "cross": [part("line", [(-0.95, 0), (0.95, 0)]), part("line", [(0, -0.95), (0, 0.95)])],
        "arrow": [
            part("line", [(-1, 0), (1, 0)]), part("line", [(0.45, -0.5), (1, 0), (0.45, 0.5)]),
        ],
        "house": [
            part("fill", [(-0.7, -0.1), (0.7, -0.1), (0.7, 0.9), (-0.7, 0.9)]),
            part("line", [(-0.9, -0.1), (0, -0.95), (0.9, -0.1)]),
            part("line", [(-0.2, 0.9), (-0.2, 0.3), (0.2, 0.3), (0.2, 0.9)]),
        ],
        "flower": [
            *petals, part("fill", arc(0, -0.4, 0.17, 0.17, 0, 345, 16)),
            part("line", [(0, 0.15), (0.05, 1)]),
        ],
        "tree": [
            part("fill", arc(0, -0.35, 0.68, 0.62, 0, 350, 36)),
            part("line", [(-0.14, 0.27), (-0.14, 1), (0.14, 1), (0.14, 0.27)]),
        ],
        "fish": [
            part("line", arc(0.1, 0.32, 0.95, 0.75, 205, 340) + arc(0.1, -0.32, 0.95, 0.75, 20, 155)),
            part("line", [(-0.72, 0.05), (-1, -0.4), (-1, 0.45), (-0.72, 0.02)]), eye(0.55, -0.1, 0.06),
        ],
        "face": [
            part("fill", arc(0, 0, 0.97, 0.97, 0, 352, 46)), *face,
            part("line", arc(0, 0.1, 0.5, 0.42, 15, 165)),
        ],
    }


SKETCHES = sketches()


def smooth(points: list[tuple[float, float]], steps: int = 6) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points; closed if the first point is also the last."""
    p = np.array(points)
    closed = np.allclose(p[0], p[-1])
    ends = (p[-2], p[1]) if closed else (2 * p[0] - p[1], 2 * p[-1] - p[-2])
    p = np.vstack([ends[0], p, ends[1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curve = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:])
    ]
    return [*map(tuple, np.vstack(curve)), points[-1]]


# Pen strokes, in a box 6 wide and 8 high, y downwards: "x y" points as two digits each; a stroke that
# begins with ~ is a curve through its points. The letters O and I are left out: drawn by hand they
# look like a circle, and a 1 or a bar.
STROKES = {
    "0": ["~30 12 14 38 54 52 30"],
    "1": ["12 30 38"],
    "2": ["~02 10 30 52 44", "44 08 58"],
    "3": ["~01 20 41 52 43 24", "~24 44 55 57 38 18 07"],
    "4": ["48 40 05 65"],
    "5": ["50 10 04", "~04 23 43 55 57 38 18 07"],
    "6": ["~50 30 12 05 17 38 57 55 34 14 06"],
    "7": ["00 50 18"],
    "8": ["~34 11 20 40 51 34 16 28 48 56 34"],
    "9": ["~52 34 14 02 20 40 52 54 46 28"],
    "a": ["08 30 68", "15 55"],
    "b": ["08 00", "~00 30 52 34 04", "~04 34 56 38 08"],
    "c": ["~51 30 11 04 17 38 57"],
    "d": ["08 00", "~00 30 52 55 38 08"],
    "e": ["50 00 08 58", "04 44"],
    "f": ["50 00 08", "04 44"],
    "g": ["~51 30 11 04 17 38 57 55", "55 35"],
    "h": ["00 08", "50 58", "04 54"],
    "j": ["40 46", "~46 38 18 06"],
    "k": ["00 08", "50 04 58"],
    "l": ["00 08 58"],
    "m": ["08 00 35 60 68"],
    "n": ["08 00 58 50"],
    "p": ["08 00", "~00 30 52 34 04"],
    "q": ["~30 12 04 16 38 56 64 52 30", "46 68"],
    "r": ["08 00", "~00 30 52 34 04", "24 58"],
    "s": ["~51 30 11 12 34 55 57 38 18 07"],
    "t": ["00 60", "30 38"],
    "u": ["00 05", "~05 17 38 57 65", "65 60"],
    "v": ["00 38 60"],
    "w": ["00 18 33 58 70"],
    "x": ["00 58", "50 08"],
    "y": ["00 34 60", "34 38"],
    "z": ["00 60 08 68"],
}


def glyph(strokes: list[str]) -> list[Part]:
    parts = []
    for stroke in strokes:
        points = [(int(x) / 4 - 0.75, int(y) / 4 - 1) for x, y in stroke.removeprefix("~").split()]
        parts.append(part("line", smooth(points) if stroke.startswith("~") else points))
    return parts


GLYPHS = {name: glyph(strokes) for name, strokes in STROKES.items()}
FIGURES = SHAPES | GLYPHS
