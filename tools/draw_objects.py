"""Draws the 32x32 colour pictures that stand in for CIFAR-10: its ten classes as small illustrations.

Colours say nothing about the class: body, trim and background are drawn at random, the object now darker,
now lighter than what is behind it. Position, size, tilt, direction, proportions, light and clutter vary too.
"""

import numpy as np
from draw_canvas import Canvas, gradient, luminance, mix, shade
from PIL import Image, ImageFilter

SIZE = 32
ENLARGE = 4
STEP = 4  # 64 brightness levels a channel: no eye sees it, and the file shrinks by a third
SEED = 1000


def _airplane(c: Canvas, rng, body, trim, dark):
    sweep, span = rng.uniform(0.15, 0.5), rng.uniform(0.75, 0.95)
    for side in (-1, 1):
        c.polygon([(0.25, 0), (0.25 - sweep, side * span), (-0.02 - sweep, side * span), (-0.2, 0)], trim)
        c.polygon([(-0.65, 0), (-0.85, side * 0.4), (-0.98, side * 0.4), (-0.92, 0)], trim)
        c.ellipse(0.12 - sweep / 2, side * span * 0.5, 0.16, 0.06, dark)
    c.blob([(1, 0), (0.7, -0.15), (-0.6, -0.12), (-1, 0), (-0.6, 0.12), (0.7, 0.15)], body)
    c.ellipse(0.72, 0, 0.1, 0.1, dark)


def _automobile(c: Canvas, rng, body, trim, dark):
    roof, hood = rng.uniform(-0.5, -0.38), rng.uniform(0.5, 0.65)
    c.blob([(-0.62, 0), (-0.42, roof), (0.22, roof), (hood, 0)], shade(body, 0.85))
    c.polygon([(-0.48, -0.04), (-0.34, roof + 0.1), (-0.1, roof + 0.1), (-0.1, -0.04)], trim)
    c.polygon([(-0.02, -0.04), (-0.02, roof + 0.1), (0.2, roof + 0.1), (hood - 0.12, -0.04)], trim)
    c.blob([(-0.95, 0.3), (-0.95, 0.02), (-0.5, -0.06), (0.6, -0.06), (0.95, 0.08), (0.97, 0.32)], body)
    for x in (-0.55, 0.55):
        c.ellipse(x, 0.33, 0.24, 0.24, dark)
        c.ellipse(x, 0.33, 0.1, 0.1, trim)


def _bird(c: Canvas, rng, body, trim, dark):
    c.polygon([(-0.35, 0), (-1, rng.uniform(-0.25, 0.1)), (-0.9, 0.28), (-0.3, 0.3)], shade(body, 0.75))
    for x in (-0.05, 0.15):
        c.line([(x, 0.4), (x + 0.05, 0.9), (x + 0.2, 0.92)], dark, 0.07)
    c.ellipse(0, 0.1, 0.55, 0.4, body, -0.25)
    c.ellipse(0.48, -0.38, 0.3, 0.29, body)
    c.polygon([(0.7, -0.52), (1.08, -0.33), (0.7, -0.22)], trim)
    lift = rng.uniform(-0.75, 0.25)
    c.blob([(0.25, -0.05), (-0.1, -0.2), (-0.65, lift), (-0.35, 0.25), (0.1, 0.3)], trim)
    c.ellipse(0.55, -0.43, 0.08, 0.08, dark)


def _cat(c: Canvas, rng, body, trim, dark):
    ear = rng.uniform(0.85, 1.0)
    for side in (-1, 1):
        c.polygon([(side * 0.78, 0.0), (side * 0.72, -ear), (side * 0.12, -0.45)], body)
        c.polygon([(side * 0.66, -0.25), (side * 0.65, -ear + 0.2), (side * 0.3, -0.45)], trim)
    c.ellipse(0, 0.15, 0.85, 0.68, body)
    for y in (-0.42, -0.28):
        c.line([(-0.16, y), (0.16, y)], shade(body, 0.6), 0.07)
    for side in (-1, 1):
        c.ellipse(side * 0.36, 0, 0.2, 0.17, trim)
        c.ellipse(side * 0.36, 0, 0.07, 0.16, dark)
        for y in (0.28, 0.45):
            c.line([(side * 0.25, 0.36), (side * 1.1, y)], dark, 0.05)
    c.polygon([(-0.12, 0.25), (0.12, 0.25), (0, 0.38)], dark)
    c.line([(-0.2, 0.55), (0, 0.4), (0.2, 0.55)], dark, 0.06)


def _deer(c: Canvas, rng, body, trim, dark):
    for x, far in ((-0.5, 0.7), (0.18, 0.7), (-0.62, 1), (0.3, 1)):
        c.line([(x, 0.25), (x + rng.uniform(-0.08, 0.08), 0.98)], shade(body, far), 0.1)
    c.ellipse(-0.17, 0.2, 0.55, 0.24, body)
    c.polygon([(0.05, 0.2), (0.38, -0.3), (0.58, -0.25), (0.38, 0.3)], body)
    c.ellipse(0.62, -0.28, 0.24, 0.12, body, 0.35)
    c.ellipse(-0.74, 0.08, 0.09, 0.13, trim)
    tips = rng.uniform(-0.06, 0.06, 6)
    for x, lean in ((0.42, -0.35), (0.54, 0.3)):
        top = (x + lean, -1.0 + tips[0])
        c.line([(x, -0.36), (x + lean * 0.8, -0.6), top], dark, 0.09)
        c.line([(x + lean * 0.4, -0.48), (x + lean * 0.2, -0.85 + tips[1])], dark, 0.08)
        c.line([(x + lean * 0.8, -0.62), (x + lean * 1.7, -0.78 + tips[2])], dark, 0.08)
    for x in (-0.45, -0.25, -0.05):
        c.ellipse(x, 0.13 + 0.06 * (x == -0.25), 0.055, 0.055, trim)
    c.ellipse(0.56, -0.32, 0.045, 0.045, dark)


def _dog(c: Canvas, rng, body, trim, dark):
    c.ellipse(0, 0, 0.62, 0.72, body)
    drop = rng.uniform(0.45, 0.7)
    for side in (-1, 1):
        ear = [(side * 0.35, -0.72), (side * 0.78, -0.62), (side * 0.98, drop - 0.2), (side * 0.78, drop)]
        c.blob([*ear, (side * 0.58, drop - 0.35)], shade(body, 0.55))
    c.ellipse(0, 0.4, 0.4, 0.38, trim)
    for side in (-1, 1):
        c.ellipse(side * 0.26, -0.15, 0.11, 0.13, dark)
    c.ellipse(0, 0.22, 0.2, 0.14, dark)
    c.line([(0, 0.3), (0, 0.52)], dark, 0.06)
    if rng.random() < 0.6:
        c.ellipse(0, 0.74, 0.13, 0.24, mix(trim, (220, 60, 80), 0.7))


def _frog(c: Canvas, rng, body, trim, dark):
    spread = rng.uniform(0.85, 1.0)
    for side in (-1, 1):
        c.blob(
            [(side * 0.4, 0.2), (side * spread, 0.05), (side * spread, 0.6), (side * 0.5, 0.75)],
            shade(body, 0.75),
        )
        c.line(
            [(side * spread * 0.8, 0.65), (side * spread, 0.88), (side * 0.55, 0.9)], shade(body, 0.75), 0.13
        )
        c.line([(side * 0.3, 0.5), (side * 0.34, 0.9)], shade(body, 0.85), 0.14)
    c.ellipse(0, 0.22, 0.68, 0.55, body)
    c.ellipse(0, 0.5, 0.42, 0.26, trim)
    for side in (-1, 1):
        c.ellipse(side * 0.42, -0.42, 0.29, 0.29, body)
        c.ellipse(side * 0.42, -0.44, 0.19, 0.19, trim)
        c.ellipse(side * 0.42, -0.44, 0.13, 0.08, dark)
    c.line([(-0.5, 0.02), (-0.25, 0.18), (0.25, 0.18), (0.5, 0.02)], dark, 0.08, curved=True)


def _horse(c: Canvas, rng, body, trim, dark):
    c.blob([(-0.65, -0.1), (-0.95, 0.1), (-0.95, 0.6), (-0.82, 0.65), (-0.75, 0.2)], trim)
    for x, far in ((-0.45, 0.7), (0.2, 0.7), (-0.6, 1), (0.32, 1)):
        bend = rng.uniform(-0.15, 0.15)
        c.line([(x, 0.2), (x + bend, 0.6), (x + bend * 0.6, 0.98)], shade(body, far), 0.17)
    c.ellipse(-0.15, 0.08, 0.6, 0.33, body)
    c.polygon([(0.0, 0.05), (0.28, -0.85), (0.62, -0.75), (0.45, 0.2)], body)
    c.blob([(0.3, -0.9), (0.55, -0.85), (1.0, -0.38), (0.88, -0.22), (0.5, -0.5)], body)
    c.blob([(0.42, -1.0), (0.2, -0.88), (-0.12, -0.1), (0.1, -0.2), (0.34, -0.7)], trim)
    c.ellipse(0.58, -0.68, 0.055, 0.055, dark)


def _ship(c: Canvas, rng, body, trim, dark):
    if rng.random() < 0.5:
        c.line([(0, 0.4), (0, -1)], dark, 0.08)
        c.polygon([(0.07, -0.95), (0.07, 0.25), (rng.uniform(0.6, 0.8), 0.25)], trim)
        c.polygon([(-0.07, -0.75), (-0.07, 0.25), (-rng.uniform(0.45, 0.65), 0.25)], shade(trim, 0.8))
    else:
        c.polygon([(-0.5, 0.4), (-0.5, -0.05), (0.5, -0.05), (0.6, 0.4)], trim)
        c.polygon([(-0.35, 0), (-0.35, -0.35), (0.25, -0.35), (0.25, 0)], shade(trim, 0.8))
        for x in (-0.25, 0.05):
            c.polygon([(x, -0.35), (x, -0.85), (x + 0.17, -0.85), (x + 0.17, -0.35)], dark)
    c.polygon([(-1, 0.28), (1.02, 0.2), (0.72, 0.75), (-0.75, 0.75)], body)
    waves = [(x, 0.76 + 0.07 * (i % 2)) for i, x in enumerate(np.linspace(-1.1, 1.1, 9))]
    c.line(waves, mix(trim, (90, 150, 210), 0.5), 0.1)


def _truck(c: Canvas, rng, body, trim, dark):
    top, back = rng.uniform(-0.75, -0.55), rng.uniform(0.25, 0.4)
    c.polygon([(-1, 0.35), (-1, top), (back, top), (back, 0.35)], body)
    for x in np.linspace(-0.75, back - 0.25, 3):
        c.line([(x, top + 0.1), (x, 0.25)], shade(body, 0.7), 0.06)
    c.polygon([(back + 0.06, 0.4), (back + 0.06, -0.35), (0.72, -0.35), (0.97, 0.05), (0.97, 0.4)], trim)
    c.polygon([(back + 0.18, 0), (back + 0.18, -0.22), (0.66, -0.22), (0.8, 0)], dark)
    c.polygon([(-1, 0.35), (0.97, 0.35), (0.97, 0.46), (-1, 0.46)], dark)
    for x in (-0.7, -0.22, 0.62):
        c.ellipse(x, 0.5, 0.22, 0.22, dark)
        c.ellipse(x, 0.5, 0.09, 0.09, trim)


DRAWERS = (_airplane, _automobile, _bird, _cat, _deer, _dog, _frog, _horse, _ship, _truck)


def _colour(rng, away_from=(), distance: float = 0.0):
    """Draw a colour whose brightness is at least ``distance`` from that of the colours given."""
    while True:
        colour = tuple(int(v) for v in rng.integers(15, 241, 3))
        if all(abs(luminance(colour) - luminance(other)) >= distance for other in away_from):
            return colour


def _clutter(image: Image.Image, rng, ground) -> None:
    """Scatter blurred shapes of colours close to the ground's over the background."""
    size = image.width
    for _ in range(rng.integers(3, 8)):
        colour = mix(ground, _colour(rng), rng.uniform(0.15, 0.4))
        c = Canvas(image, np.eye(2) * size, rng.uniform(0, size, 2)).at(0, 0, angle=rng.uniform(0, np.pi))
        width, height = rng.uniform(0.05, 0.35, 2)
        kind = rng.integers(3)
        if kind == 0:
            c.ellipse(0, 0, width, height, colour)
        elif kind == 1:
            c.polygon([(-width, -height), (width, -height), (width, height), (-width, height)], colour)
        else:
            c.line([(-0.6, 0), (0.6, rng.uniform(-0.2, 0.2))], colour, rng.uniform(0.02, 0.07))


def draw(label: int, index: int) -> np.ndarray:
    """Draw picture number ``index`` of a class.

    Args:
        label: the class, 0..9 in the order of CIFAR-10.
        index: any non-negative number; each gives another picture.

    Returns:
        uint8, (32, 32, 3).
    """
    rng = np.random.default_rng([SEED, label, index])
    size = SIZE * ENLARGE
    ground = _colour(rng)
    image = gradient(size, ground, mix(ground, _colour(rng), 0.35), rng.uniform(0, 2 * np.pi))
    _clutter(image, rng, ground)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 5))))
    body = _colour(rng, [ground], 55)
    trim = _colour(rng, [body], 50)
    dark = _colour(rng, [body, trim], 45) if rng.random() < 0.3 else shade(mix(body, ground, 0.2), 0.25)
    if luminance(body) < 70:
        dark = shade(body, 1.75)
    radius = size * rng.uniform(0.3, 0.43)
    tilt = rng.normal(0, 0.9 if label == 0 else 0.16)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    shear = np.array([[1, rng.normal(0, 0.1)], [0, 1]])
    stretch = np.diag([rng.choice([-1, 1]) * rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)])
    slack = (size / 2 - radius) * 0.9
    centre = size / 2 + rng.uniform(-slack, slack, 2)
    DRAWERS[label](Canvas(image, turn @ shear @ stretch * radius, centre), rng, body, trim, dark)
    if rng.random() < 0.25:  # something in front
        c = Canvas(image, np.eye(2) * size, centre + rng.normal(0, 0.2 * size, 2))
        c.ellipse(0, 0, *rng.uniform(0.05, 0.13, 2), _colour(rng), rng.uniform(0, np.pi))
    pixels = np.asarray(image.reduce(ENLARGE), float)
    light = np.asarray(gradient(SIZE, (80,) * 3, (120,) * 3, rng.uniform(0, 2 * np.pi)), float) / 100
    levels = (pixels * light * rng.uniform(0.8, 1.1) / STEP).round() * STEP
    return levels.clip(0, 256 - STEP).astype(np.uint8)


def dataset(count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` pictures, classes in turn.

    Returns:
        (images uint8 (count, 32, 32, 3), labels uint8 (count,)).
    """
    labels = np.arange(count) % len(DRAWERS)
    images = [draw(int(label), start + i // len(DRAWERS)) for i, label in enumerate(labels)]
    return np.stack(images), labels.astype(np.uint8)
