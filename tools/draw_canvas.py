"""A small vector canvas: shapes in object coordinates, drawn large and scaled down for smooth edges."""

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, ...]


def luminance(colour) -> float:
    """Return the perceived brightness of an RGB colour, 0..255 (ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def shade(colour, factor: float) -> Colour:
    """Return the colour made darker (``factor`` below 1) or, towards white, lighter (above 1)."""
    if factor <= 1:
        return tuple(int(c * factor) for c in colour)
    return tuple(int(c + (255 - c) * min(factor - 1, 1)) for c in colour)


def mix(first, second, weight: float) -> Colour:
    """Return ``first`` with the share ``weight`` of ``second``."""
    return tuple(int(a + (b - a) * weight) for a, b in zip(first, second, strict=True))


def smooth(points, closed: bool = True, steps: int = 6) -> np.ndarray:
    """Return a Catmull-Rom curve through the points, (N * steps, 2) if closed."""
    points = np.asarray(points, float)
    count = len(points)
    index = np.arange(count if closed else count - 1)
    around = [index - 1, index, index + 1, index + 2]
    p0, p1, p2, p3 = (points[i % count if closed else i.clip(0, count - 1)][:, None] for i in around)
    t = (np.arange(steps) / steps)[None, :, None]
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    ).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


class Canvas:
    """An RGB picture onto which shapes are drawn through an affine map.

    Args:
        image: the (enlarged) picture; drawn on in place.
        matrix: (2, 2) map from object coordinates (x right, y down) to pixels.
        offset: (2,) pixel position of the object's origin.
    """

    def __init__(self, image: Image.Image, matrix, offset):
        self.image = image
        self.matrix = np.asarray(matrix, float)
        self.offset = np.asarray(offset, float)
        self.pen = ImageDraw.Draw(image, "RGBA")
        self.unit = float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> "Canvas":
        """Return a canvas on the same picture whose origin, size and direction are those given."""
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return Canvas(self.image, self.matrix @ turn * scale, self.matrix @ [x, y] + self.offset)

    def _pixels(self, points) -> list[tuple[float, float]]:
        return [tuple(p) for p in (np.asarray(points, float) @ self.matrix.T + self.offset).tolist()]

    def polygon(self, points, colour: Colour) -> None:
        """Fill the polygon through the points, (N, 2)."""
        self.pen.polygon(self._pixels(points), fill=tuple(colour))

    def blob(self, points, colour: Colour) -> None:
        """Fill the smooth closed curve through the points, (N, 2)."""
        self.polygon(smooth(points), colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, angle: float = 0.0) -> None:
        """Fill an ellipse with the given centre, radii and angle (radians)."""
        t = np.arange(32) * (2 * np.pi / 32)
        across, along = rx * np.cos(t), ry * np.sin(t)
        cos, sin = np.cos(angle), np.sin(angle)
        self.polygon(np.stack([x + across * cos - along * sin, y + across * sin + along * cos], 1), colour)

    def line(self, points, colour: Colour, width: float, curved: bool = False) -> None:
        """Draw an open line; ``width`` in object units."""
        points = smooth(points, closed=False) if curved else points
        pixels = self._pixels(points)
        self.pen.line(pixels, fill=tuple(colour), width=max(1, round(width * self.unit)), joint="curve")


def gradient(size: int, first, second, angle: float) -> Image.Image:
    """Return a square picture that goes from one colour to the other along the angle."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    weight = (0.5 + (x * np.cos(angle) + y * np.sin(angle)) / 1.5)[..., None]
    pixels = np.asarray(first) * (1 - weight) + np.asarray(second) * weight
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
