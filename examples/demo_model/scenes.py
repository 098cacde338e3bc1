"""What a picture shows and how it is described: scenes, their captions, and the combinations that
training never sees."""

from dataclasses import dataclass, replace

import numpy as np

from shapes import GLYPHS, SHAPES

# sRGB.
COLOURS = {
    "red": (214, 38, 38), "orange": (246, 134, 28), "yellow": (250, 216, 48),
    "green": (48, 150, 60), "blue": (42, 84, 204), "purple": (124, 52, 166),
    "pink": (246, 140, 186), "brown": (118, 72, 36), "black": (24, 24, 27),
    "white": (248, 248, 246), "gray": (138, 138, 141), "cyan": (56, 200, 212),
}
TEXTURES = ["plain", "striped", "dotted", "checkered"]
SIZES = ["small", "medium", "big"]
# A sketch is a shape drawn with a pen: its outline, or simpler strokes.
STYLES = ["filled", "outlined", "sketched"]
PLACES = {
    "on the left": (0.24, 0.5), "on the right": (0.76, 0.5), "at the top": (0.5, 0.24),
    "at the bottom": (0.5, 0.76), "in the middle": (0.5, 0.5),
    "in the top left corner": (0.22, 0.22), "in the top right corner": (0.78, 0.22),
    "in the bottom left corner": (0.22, 0.78), "in the bottom right corner": (0.78, 0.78),
}
NUMBERS = ["one", "two", "three", "four"]
DIGIT_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SYNONYMS = {
    "purple": ["violet"], "gray": ["grey"], "cyan": ["turquoise"], "big": ["large"],
    "small": ["little", "tiny"], "dotted": ["spotted"], "checkered": ["checked"],
    "moon": ["crescent", "crescent moon"], "face": ["smiley", "smiley face"],
    "cross": ["plus", "plus sign"], "diamond": ["rhombus"], "outlined": ["hollow"],
}
PLURALS = {
    "cross": "crosses", "plus": "pluses", "fish": "fish", "rhombus": "rhombuses",
}
RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}


@dataclass(frozen=True)
class Thing:
    figure: str
    colour: str
    texture: str = "plain"
    style: str = "filled"


@dataclass(frozen=True)
class Scene:
    """One to four copies of a thing, or two things and how they are placed."""

    thing: Thing
    background: str = "white"
    count: int = 1
    size: str = "medium"
    place: str | None = None
    relation: str | None = None
    other: Thing | None = None


# In a caption, None means that it does not mention this.
Mention = tuple


def held_out(figure: str, colour: str) -> bool:
    """Whether a figure in a colour is never drawn in training: a sixth of all pairs, so that each
    figure and each colour is held out in some and trained in most."""
    figures = list(SHAPES) + list(GLYPHS)
    return (figures.index(figure) * 5 + list(COLOURS).index(colour)) % 6 == 0


def apart(first: str, second: str) -> bool:
    """Whether two colours can be told apart, one on the other, in any lighting that draw.py makes."""
    difference = np.subtract(COLOURS[first], COLOURS[second])
    return float(np.linalg.norm(difference)) > 120


def random_thing(rng: np.random.Generator, background: str, glyphs: bool) -> Thing:
    figures = list(GLYPHS if glyphs else SHAPES)
    while True:
        figure, colour = str(rng.choice(figures)), str(rng.choice(list(COLOURS)))
        if apart(colour, background) and not held_out(figure, colour):
            break
    # A stroke has no inside to fill.
    if glyphs or figure == "spiral":
        return Thing(figure, colour)
    style = str(rng.choice(STYLES, p=[0.62, 0.19, 0.19]))
    if style != "filled":
        return Thing(figure, colour, style=style)
    texture = str(rng.choice(TEXTURES[1:])) if rng.random() < 0.35 else "plain"
    return Thing(figure, colour, texture)


def random_scene(rng: np.random.Generator) -> Scene:
    background = "white" if rng.random() < 0.5 else str(rng.choice(list(COLOURS)))
    kind = rng.random()
    thing = random_thing(rng, background, glyphs=kind < 0.22)
    if kind < 0.22:
        size = str(rng.choice(SIZES[1:]))
        return Scene(thing, background, size=size)
    if kind < 0.36:
        while True:
            other = random_thing(rng, background, glyphs=False)
            if other.figure != thing.figure or apart(thing.colour, other.colour):
                break
        return Scene(thing, background, relation=str(rng.choice(list(RELATIONS))), other=other)
    count = int(rng.choice([1, 2, 3, 4], p=[0.55, 0.15, 0.15, 0.15]))
    size = str(rng.choice(SIZES)) if count <= 2 else "medium"
    place = None
    if count == 1 and size != "big" and rng.random() < 0.5:
        place = str(rng.choice(list(PLACES)))
    return Scene(thing, background, count, size, place)


def pick(rng: np.random.Generator, word: str) -> str:
    if word in SYNONYMS and rng.random() < 0.14:
        return str(rng.choice(SYNONYMS[word]))
    return word


def noun(rng: np.random.Generator, thing: Thing, mention: list, count: int = 1) -> str:
    """ "striped red stars"; `mention` says which of texture, style and colour are named."""
    texture, style, colour = mention
    words = [pick(rng, word) for word in (style, texture, colour) if word]
    if thing.figure in GLYPHS:
        digit = thing.figure.isdigit()
        name = "digit" if digit and rng.random() < 0.6 else "number" if digit else "letter"
        spelt = digit and rng.random() < 0.25
        return " ".join([*words, name, DIGIT_WORDS[int(thing.figure)] if spelt else thing.figure])
    name = pick(rng, thing.figure)
    return " ".join([*words, PLURALS.get(name, name + "s") if count > 1 else name])


def article(rng: np.random.Generator, words: str, count: int = 1) -> str:
    if count > 1 or rng.random() < 0.06:
        return f"{NUMBERS[count - 1]} {words}"
    if rng.random() < 0.08:
        return words
    if words.startswith(("letter", "digit", "number")):
        return f"the {words}"
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def named(rng: np.random.Generator, thing: Thing) -> list:
    """Which of a thing's texture, style and colour a caption names."""
    return [
        thing.texture if thing.texture != "plain" and rng.random() < 0.75 else None,
        "outlined" if thing.style == "outlined" and rng.random() < 0.6 else None,
        thing.colour if rng.random() < 0.85 else None,
    ]


def describe(rng: np.random.Generator, scene: Scene) -> tuple[str, Mention]:
    """A caption and its meaning: captions with the same meaning are true of the same pictures."""
    background = scene.background if rng.random() < 0.4 else None
    names = named(rng, scene.thing)
    if scene.other is not None:
        first, second, relation = (scene.thing, names), (scene.other, named(rng, scene.other)), scene.relation
        if rng.random() < 0.5:
            first, second, relation = second, first, INVERSE[relation]
        words = [article(rng, noun(rng, *first)), article(rng, noun(rng, *second))]
        if rng.random() < 0.2:
            text, said = f"{words[0]} and {words[1]}", None
        else:
            text, said = f"{words[0]} {RELATIONS[relation]} {words[1]}", relation
        whole = ((first[0].figure, *first[1]), (second[0].figure, *second[1]), said)
    else:
        size = scene.size if scene.size != "medium" and rng.random() < 0.6 else None
        place = scene.place if rng.random() < 0.6 else None
        words = noun(rng, scene.thing, names, scene.count)
        if size:
            words = f"{pick(rng, size)} {words}"
        text = article(rng, words, scene.count)
        if place:
            text = f"{text} {place}"
        whole = ((scene.thing.figure, *names), scene.count, size, place)
    if background:
        text = f"{text} on {article(rng, f'{pick(rng, background)} background')}"
    end = "." if rng.random() < 0.08 else ""
    return prefix(rng, scene) + text + end, (*whole, background)


def prefix(rng: np.random.Generator, scene: Scene) -> str:
    if rng.random() < 0.5:
        return ""
    if rng.random() < 0.1:
        return "this is "
    kinds = ["drawing", "picture", "image", "photo"]
    if all(thing is None or thing.style != "filled" for thing in (scene.thing, scene.other)):
        kinds += ["line drawing", "sketch"] * 2
    kind = str(rng.choice(kinds))
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind} of "


@dataclass(frozen=True)
class Case:
    """A scene of a held-out pair, and the one caption that describes it completely."""

    caption: str
    scene: Scene


def held_out_cases(rng: np.random.Generator) -> list[Case]:
    """For every held-out pair of shape and colour four captions: one, several, textured or in outline,
    and on a coloured background."""
    cases = []
    for shape in SHAPES:
        for colour in COLOURS:
            if not held_out(shape, colour):
                continue
            backgrounds = [name for name in COLOURS if name != "white" and apart(name, colour)]
            ground = "white" if apart(colour, "white") else str(rng.choice(backgrounds))
            on = "" if ground == "white" else f" on a {ground} background"
            thing = Thing(shape, colour)
            one = Scene(thing, ground)
            cases.append(Case(f"{an(colour)} {shape}{on}", one))
            count = int(rng.integers(2, 5))
            plural = PLURALS.get(shape, shape + "s")
            cases.append(Case(f"{NUMBERS[count - 1]} {colour} {plural}{on}", replace(one, count=count)))
            if shape != "spiral":
                texture = str(rng.choice(TEXTURES[1:]))
                textured = replace(one, thing=replace(thing, texture=texture))
                cases.append(Case(f"a {texture} {colour} {shape}{on}", textured))
            ground = str(rng.choice([name for name in backgrounds if name != ground]))
            cases.append(Case(
                f"{an(colour)} {shape} on {an(ground)} background", replace(one, background=ground)
            ))
    return cases


def an(word: str) -> str:
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


def glyph_cases() -> list[Case]:
    """Every letter and digit in one colour that training never gave it."""
    cases = []
    for figure in GLYPHS:
        colour = next(name for name in COLOURS if held_out(figure, name) and apart(name, "white"))
        kind = "digit" if figure.isdigit() else "letter"
        cases.append(Case(f"a {colour} {kind} {figure}", Scene(Thing(figure, colour))))
    return cases
