"""Arrays of pictures as files: PNG sheets and animated GIFs, written in one step."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tf_study import cli

# What Pillow and NumPy raise for damaged files.
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    Image.DecompressionBombError,
    zipfile.BadZipFile,
)


def to_bytes(pictures: np.ndarray) -> np.ndarray:
    """Turn -1 ... 1 into uint8 0 ... 255."""
    return np.clip(np.rint((np.asarray(pictures) + 1) * 127.5), 0, 255).astype(np.uint8)


def grid(pictures: np.ndarray, columns: int, scale: int = 4, gap: int = 1) -> Image.Image:
    """Lay pictures (N, H, W, C) from -1 to 1 out in rows, every pixel ``scale`` wide."""
    tiles = to_bytes(pictures)
    rows = -(-len(tiles) // columns)
    height, width, channels = (tiles.shape[1] + gap, tiles.shape[2] + gap, tiles.shape[3])
    sheet = np.full((rows * height + gap, columns * width + gap, channels), 96, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = gap + index // columns * height, gap + index % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    sheet = sheet.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def png(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def gif(frames: Sequence[Image.Image], milliseconds: int = 80, rest: int = 1500) -> bytes:
    """Return an animation that repeats, as the bytes of a GIF file; ``rest`` is how long its last frame stays."""
    times = [milliseconds] * (len(frames) - 1) + [rest]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        StudyError: if it cannot be written.
    """
    cli.write(path, lambda part: part.write_bytes(content))
