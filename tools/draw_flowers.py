"""Draws the flower pictures that stand in for TF Flowers: five classes, photographed by nobody.

The classes differ in the number, shape and order of their petals and in their centres. Colours overlap
(white daisies, roses and tulips; yellow ones of every class), and pose, size, light, number of heads,
background and clutter vary, so that a few hundred pictures are too few to learn all this from nothing.
"""

from pathlib import Path

import numpy as np
from draw_canvas import Canvas, gradient, mix, shade
from PIL import Image, ImageFilter

CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
SIZE = 128
ENLARGE = 3
QUALITY = 80
SEED = 2000

WHITE, CREAM, YELLOW, ORANGE = (244, 242, 236), (245, 230, 180), (246, 206, 36), (240, 140, 40)
RED, RUST, PINK, ROSE = (200, 26, 40), (160, 62, 24), (240, 160, 190), (222, 70, 120)
LILAC, PURPLE = (196, 160, 226), (126, 60, 150)
BROWN, GREEN = (74, 44, 22), (96, 134, 58)
PETALS = {
    "daisy": (WHITE, WHITE, WHITE, CREAM, PINK, LILAC, YELLOW, ROSE),
    "dandelion": (YELLOW,),
    "roses": (RED, RED, PINK, ROSE, WHITE, CREAM, YELLOW, ORANGE, LILAC),
    "sunflowers": (YELLOW, YELLOW, YELLOW, ORANGE, RUST, CREAM),
    "tulips": (RED, PINK, ROSE, YELLOW, ORANGE, PURPLE, WHITE, CREAM),
}


def _vary(rng, colour, amount: float = 18):
    return tuple(int(v) for v in (np.asarray(colour) + rng.normal(0, amount, 3)).clip(0, 255))


def _lit(colour, angle: float, light: float, strength: float = 0.16):
    """Return the colour of a petal that points along ``angle`` under light from the direction ``light``."""
    return shade(colour, 1 - strength + strength * np.cos(angle - light))


def _petal(c: Canvas, rng, inner: float, outer: float, width: float, tip: float, colour) -> None:
    """Draw a petal from radius ``inner`` to ``outer``; ``tip`` 0 is pointed, 1 is round."""
    middle, wide = inner + (outer - inner) * 0.55, inner + (outer - inner) * 0.85
    half = [(inner, width * 0.35), (middle, width), (wide, width * (0.35 + 0.5 * tip))]
    edge = [*half, (outer, 0), *((x, -y) for x, y in reversed(half))]
    c.blob(edge, shade(colour, 0.72))
    c.blob([(x * 0.985, y * 0.86) for x, y in edge], colour)
    c.blob([(x, 0.1 * y + abs(y) * 0.4) for x, y in edge], shade(colour, 1.18))
    c.line([(inner, 0), (wide, rng.normal(0, 0.01))], shade(colour, 0.8), 0.018)


def _ring(c: Canvas, rng, count, inner, outer, width, tip, colour, light, jitter=0.06) -> None:
    """Draw a ring of petals in random order, each a little off its place."""
    angles = np.arange(count) * (2 * np.pi / count) + rng.uniform(0, 2 * np.pi)
    for angle in rng.permutation(angles):
        turned = angle + rng.normal(0, jitter)
        length = outer * rng.uniform(0.9, 1.06)
        tone = _vary(rng, _lit(colour, angle, light), 6)
        _petal(c.at(0, 0, angle=turned), rng, inner, length, width * rng.uniform(0.85, 1.15), tip, tone)


def _seeds(c: Canvas, rng, count: int, radius: float, colour, size: float) -> None:
    """Draw dots in the golden-angle spiral of a flower's disc."""
    for i in range(count):
        r, angle = radius * np.sqrt((i + 0.5) / count), i * 2.39996
        tone = shade(colour, rng.uniform(0.65, 1.35))
        c.ellipse(r * np.cos(angle), r * np.sin(angle), size, size, tone)


def _daisy(c: Canvas, rng, colour, light) -> None:
    count = int(rng.integers(13, 23))
    width = rng.uniform(1.5, 2.1) / count
    if rng.random() < 0.5:
        _ring(c, rng, count, 0.2, 1.0, width, 0.9, shade(colour, 0.85), light)
    _ring(c, rng, count, 0.2, 0.97, width, 0.9, colour, light)
    disc, radius = _vary(rng, (236, 178, 30)), rng.uniform(0.22, 0.31)
    c.ellipse(0, 0, radius, radius, shade(disc, 0.7))
    _seeds(c, rng, 60, radius * 0.94, disc, 0.034)


def _dandelion(c: Canvas, rng, colour, light) -> None:
    if rng.random() < 0.55:
        for count, outer, tone in ((44, 1.0, 0.78), (38, 0.82, 0.9), (30, 0.6, 1.0), (20, 0.38, 1.1)):
            _ring(c, rng, count, 0.02, outer, 0.045, 0.8, shade(colour, tone), light, 0.1)
        return
    hair = _vary(rng, (236, 238, 232), 8)
    c.ellipse(0, 0, 0.9, 0.9, (*hair, 40))
    for radius in (0.95, 0.75, 0.5):
        for angle in np.arange(0, 2 * np.pi, 0.2 / radius) + rng.uniform(0, 1):
            x, y = radius * np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.9, 1.05)
            c.line([(0.1 * x, 0.1 * y), (x * 0.85, y * 0.85)], (*shade(hair, 0.85), 130), 0.012)
            for spread in np.linspace(-1.1, 1.1, 7):
                tip = 0.16 * np.array([np.cos(angle + spread), np.sin(angle + spread)])
                c.line([(x * 0.85, y * 0.85), (x * 0.85 + tip[0], y * 0.85 + tip[1])], (*hair, 170), 0.012)
    _seeds(c, rng, 30, 0.14, _vary(rng, (130, 100, 60)), 0.03)


def _rose(c: Canvas, rng, colour, light) -> None:
    turn = rng.uniform(0, 2 * np.pi)
    for layer, radius in enumerate(np.linspace(1.0, 0.2, int(rng.integers(6, 9)))):
        count = 5 if radius > 0.5 else 3
        for i in rng.permutation(count):
            angle = turn + i * 2 * np.pi / count + rng.normal(0, 0.08)
            tone = _vary(rng, shade(_lit(colour, angle, light, 0.2), 0.72 + 0.28 * radius), 5)
            p, wide = c.at(0, 0, radius, angle), 0.72 if count == 5 else 0.85
            edge = [
                (0.1, -wide * 0.7),
                (0.72, -wide),
                (1, -wide * 0.45),
                (0.94, 0),
                (1, wide * 0.45),
                (0.72, wide),
            ]
            edge = [(x * rng.uniform(0.96, 1.04), y) for x, y in [*edge, (0.1, wide * 0.7)]]
            p.blob(edge, shade(tone, 0.62))
            p.blob([(x * 0.97, y * 0.95) for x, y in edge], shade(tone, 1.12))
            p.blob([(x * 0.9 - 0.02, y * 0.88) for x, y in edge], tone)
        turn += np.pi / count + 0.35 * layer
    t = np.linspace(0, 3.6 * np.pi, 30)
    spiral = np.stack([t * np.cos(t + turn), t * np.sin(t + turn)], 1) * 0.016
    c.line(spiral, shade(colour, 0.45), 0.03)


def _sunflower(c: Canvas, rng, colour, light) -> None:
    count, disc = int(rng.integers(20, 32)), rng.uniform(0.38, 0.55)
    _ring(c, rng, count, disc * 0.8, 1.0, 2.3 / count, 0.1, shade(colour, 0.8), light)
    _ring(c, rng, count, disc * 0.8, 0.94, 2.2 / count, 0.1, colour, light)
    core = _vary(rng, BROWN, 12)
    c.ellipse(0, 0, disc, disc, shade(core, 0.7))
    _seeds(c, rng, 150, disc * 0.96, core, 0.028)
    middle = _vary(rng, mix(core, (110, 110, 40), 0.6))
    _seeds(c, rng, 50, disc * rng.uniform(0.35, 0.55), middle, 0.028)


def _tulip(c: Canvas, rng, colour, light) -> None:
    open_, height = rng.uniform(-0.12, 0.3), rng.uniform(0.85, 1.1)

    def side(sign, lean, top, tone):
        points = [(0, 0.8), (sign * 0.55, 0.55), (sign * (0.7 + lean), 0), (sign * (0.5 + 1.3 * lean), -top)]
        points += [(sign * (0.2 + lean), -top * 0.65), (-sign * 0.1, 0)]
        c.blob(points, shade(tone, 0.7))
        c.blob([(x * 0.96, y * 0.96) for x, y in points], tone)
        streak = [(sign * 0.2, 0.6), (sign * (0.45 + lean / 2), 0.1), (sign * (0.42 + lean), -top * 0.7)]
        c.line(streak, shade(tone, 1.25), 0.05, curved=True)

    for x in (-0.28, 0.3):
        back = [(x - 0.3, 0.3), (x - 0.25, -0.5), (x + rng.normal(0, 0.05), -height * 0.98), (x + 0.25, -0.5)]
        c.blob([*back, (x + 0.3, 0.3)], shade(colour, 0.62))
    for sign in rng.permutation([-1, 1]):
        side(sign, open_, height * rng.uniform(0.85, 1), _lit(colour, 0 if sign > 0 else np.pi, light))
    front = [
        (0, 0.85),
        (-0.42, 0.45),
        (-0.4, -0.15),
        (rng.normal(0, 0.04), -height * 0.8),
        (0.4, -0.15),
        (0.42, 0.45),
    ]
    c.blob(front, shade(colour, 0.72))
    c.blob([(x * 0.92, y * 0.96) for x, y in front], shade(colour, 1.05))
    for x in (-0.18, 0, 0.18):
        c.line(
            [(x * 0.6, 0.65), (x * 1.2, 0), (x * 0.5, -height * 0.5)], shade(colour, 0.85), 0.02, curved=True
        )


HEADS = {"daisy": _daisy, "dandelion": _dandelion, "roses": _rose, "sunflowers": _sunflower, "tulips": _tulip}


def _leaf(c: Canvas, rng, colour, slim: bool) -> None:
    width = 0.1 if slim else rng.uniform(0.22, 0.36)
    bend = rng.normal(0, 0.12)
    edge = [(0, 0), (0.35, -width + bend), (0.75, -width * 0.7 + bend), (1, 0), (0.7, width * 0.7 + bend)]
    c.blob([*edge, (0.3, width + bend)], colour)
    c.line([(0, 0), (0.5, bend), (1, 0)], shade(colour, 1.15), 0.02, curved=True)


def _background(rng, size: int) -> Image.Image:
    """Return a blurred meadow, wall, soil or sky with leaves and patches of any flower's colour."""
    grounds = (
        (60, 92, 40),
        (34, 52, 30),
        (110, 140, 70),
        (92, 74, 52),
        (150, 180, 210),
        (150, 120, 104),
        (24, 24, 26),
    )
    first, second = (_vary(rng, grounds[rng.integers(len(grounds))], 14) for _ in range(2))
    image = gradient(size, first, second, rng.uniform(0, 2 * np.pi))
    c = Canvas(image, np.eye(2) * size, (0, 0))
    palette = [colour for colours in PETALS.values() for colour in colours]
    for _ in range(rng.integers(8, 26)):
        spot = mix(
            _vary(rng, GREEN, 30), palette[rng.integers(len(palette))], float(rng.random() < 0.35) * 0.7
        )
        c.ellipse(
            *rng.uniform(0, 1, 2), *rng.uniform(0.03, 0.16, 2), mix(spot, first, 0.3), rng.uniform(0, 3)
        )
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(3, 14))))
    c = Canvas(image, np.eye(2) * size, (0, 0))
    for _ in range(rng.integers(0, 12)):
        angle, slim = rng.uniform(-np.pi, np.pi), rng.random() < 0.5
        tone = shade(_vary(rng, GREEN, 16), rng.uniform(0.5, 1.0))
        _leaf(c.at(*rng.uniform(-0.1, 1.1, 2), rng.uniform(0.2, 0.5), angle), rng, tone, slim)
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))


def _plant(image: Image.Image, rng, name: str, colour, x, y, radius, light) -> None:
    """Draw one stem with its leaves and the head, seen at an angle."""
    size = image.width
    base = Canvas(image, np.eye(2) * size, (x * size, y * size))
    stem = _vary(rng, GREEN, 12)
    foot = rng.normal(0, 0.12)
    base.line([(0, 0), (foot * 0.3, 0.4), (foot, 1.2)], shade(stem, 0.85), radius * 0.13, curved=True)
    for _ in range(rng.integers(0, 3)):
        slim = name in ("tulips", "dandelion")
        tilt = -np.pi / 2 + rng.normal(0, 0.5) if slim else rng.uniform(-np.pi, np.pi)
        start = radius * (rng.uniform(2, 3.5) if slim else rng.uniform(0.8, 1.8))
        _leaf(
            base.at(0, start, radius * rng.uniform(1.2, 2.2), tilt),
            rng,
            shade(stem, rng.uniform(0.6, 1.1)),
            slim,
        )
    upright = name == "tulips"
    turn = rng.normal(0, 0.25) if upright else rng.uniform(0, 2 * np.pi)
    flat = rng.uniform(0.85, 1.0) if upright else rng.uniform(0.5, 1.0)
    axis = 0.0 if upright else rng.uniform(0, np.pi)
    direction = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
    tilted = Canvas(image, direction @ np.diag([flat, 1]) @ direction.T * radius * size, base.offset)
    HEADS[name](tilted.at(0, 0, angle=turn), rng, _vary(rng, colour, 10), light - turn)


def draw(name: str, index: int) -> Image.Image:
    """Draw picture number ``index`` of a class, RGB, 128 x 128."""
    rng = np.random.default_rng([SEED, CLASSES.index(name), index])
    size = SIZE * ENLARGE
    image = _background(rng, size)
    colours, light = PETALS[name], rng.uniform(0, 2 * np.pi)
    colour = colours[rng.integers(len(colours))]
    for _ in range(rng.choice(4, p=[0.45, 0.25, 0.2, 0.1])):
        _plant(image, rng, name, colour, *rng.uniform(0.05, 0.95, 2), rng.uniform(0.08, 0.18), light)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3))))
    radius = rng.uniform(0.2, 0.44)
    _plant(image, rng, name, colour, *rng.uniform(0.34, 0.66, 2), radius, light)
    if rng.random() < 0.4:
        c = Canvas(image, np.eye(2) * size, (0, 0))
        for _ in range(rng.integers(1, 4)):
            corner = (rng.choice([-0.1, 1.1]), rng.uniform(0, 1))
            tone = shade(_vary(rng, GREEN, 16), rng.uniform(0.4, 0.9))
            _leaf(
                c.at(*corner, rng.uniform(0.3, 0.6), rng.uniform(-np.pi, np.pi)),
                rng,
                tone,
                rng.random() < 0.5,
            )
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.2)))).reduce(ENLARGE)
    low, high, tint = rng.uniform(45, 90), rng.uniform(105, 150), rng.normal(0, 6, 3)
    lamp = np.asarray(gradient(SIZE, (int(low),) * 3, (int(high),) * 3, light), float) + tint
    pixels = np.asarray(image, float) * lamp / 100 + rng.normal(0, 3, (SIZE, SIZE, 3))
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def write(folder: Path, count: int, start: int = 0) -> None:
    """Write ``count`` JPEG files per class into ``folder/<class>/<class>_<number>.jpg``, from number ``start``."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(start, start + count):
            path = folder / name / f"{name}_{index:03d}.jpg"
            draw(name, index).save(path, quality=QUALITY, optimize=True)
