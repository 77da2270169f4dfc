"""Reads picture files safely. The content of a file decides what it is, not its name."""

import contextlib
import io
import math
import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tf_study.errors import StudyError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 50 * 2**20
MAX_PIXELS = 50_000_000  # 150 MB as RGB; photographs of today's phones have up to 50 million.

# What Pillow raises for damaged data, besides OSError.
DAMAGE = (AttributeError, EOFError, IndexError, KeyError, MemoryError, OverflowError, struct.error)
DAMAGE += (SyntaxError, TypeError, ValueError, ZeroDivisionError)

CHUNK = 64  # pictures decoded ahead of the consumer
LARGE = 12_500_000  # pixels above which pictures are decoded one at a time
BAND = 256  # rows converted at a time

T = TypeVar("T")
_turn = threading.Lock()

# What a thread frees, glibc keeps for that thread, unless it is larger than 32 MB. Pillow's own blocks have 16 MB.
Image.core.set_block_size(64 * 2**20)

# Pillow warns of large pictures and of damaged EXIF. Sizes are judged below, before any pixel is decoded, and
# a picture that can be read without its EXIF is not worth an English line among the Korean ones.
warnings.filterwarnings("ignore", module="PIL")


def read(source: bytes | str | os.PathLike) -> np.ndarray:
    """Decode one JPEG, PNG or WebP picture, upright and in colour.

    The EXIF orientation is applied, grey becomes RGB, transparency is laid over white, 16-bit values are
    scaled to 8 bits, and of an animation the first frame is taken.

    Args:
        source: the bytes of a file, or its path.

    Returns:
        uint8 (H, W, 3), values 0..255.

    Raises:
        StudyError: if the file cannot be read, is no such picture, is damaged or is too large. The sentence
            does not name the file; the caller knows it.
    """
    return _decode(source, np.asarray)


def squares(source: bytes | str | os.PathLike, *sides: int) -> list[np.ndarray]:
    """Decode one picture as :func:`read` and :func:`fit` it to several sides, without an array of all its pixels."""
    return _decode(source, lambda image: [fit(image, side) for side in sides])


def fit(image: np.ndarray | Image.Image, side: int) -> np.ndarray:
    """Cut the middle square out of a picture, uint8 (H, W, 3), and scale it to (side, side, 3)."""
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (side, side):
            return image
        image = Image.fromarray(image)
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR))


def read_many(
    paths: Sequence[Path], side: int, threads: int = 4
) -> Iterator[tuple[Path, np.ndarray | StudyError]]:
    """Yield each path with its picture, uint8 (side, side, 3), or with the error that it gave, in order."""

    def attempt(path):
        try:
            return path, squares(path, side)[0]
        except StudyError as error:
            return path, error

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(attempt, paths[start : start + CHUNK])


def find(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """List the files below a folder, sorted, without hidden ones.

    Returns:
        The files of whatever kind, and the folders that could not be listed, each with the reason.
    """
    found, closed = [], []

    def refuse(error):
        closed.append((Path(error.filename), "폴더를 열 수 없으니 읽기 권한을 주세요."))

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found), sorted(closed)


def _decode(source: bytes | str | os.PathLike, use: Callable[[Image.Image], T]) -> T:
    """Return what ``use`` makes of a picture, upright RGB. Large ones take turns, since memory is not endless."""
    content = source if isinstance(source, bytes) else _content(Path(source))
    if not content:
        raise StudyError("빈 파일이니 원본을 다시 복사하세요.")
    if len(content) > MAX_BYTES:
        raise StudyError(_too_many_bytes(len(content)))
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_pixels(*image.size)
            with _turn if math.prod(image.size) > LARGE else contextlib.nullcontext():
                image.load()
                return use(_to_rgb(_upright(image)))
    except UnidentifiedImageError:
        raise StudyError("JPEG, PNG, WebP 그림이 아니니 그 형식으로 저장한 파일로 바꾸세요.") from None
    except Image.DecompressionBombError:
        raise StudyError(f"그림이 {MAX_PIXELS:,}픽셀보다 훨씬 크니 줄여서 저장하세요.") from None
    except (OSError, *DAMAGE):
        raise StudyError("그림이 잘렸거나 깨졌으니 원본을 다시 복사하세요.") from None


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # Opening a pipe or a device could wait for ever.
            raise StudyError("보통 파일이 아니니 그림 파일의 경로를 주세요.")
        if status.st_size > MAX_BYTES:
            raise StudyError(_too_many_bytes(status.st_size))
        return path.read_bytes()
    except FileNotFoundError:
        raise StudyError("파일이 없으니 경로를 확인하세요.") from None
    except PermissionError:
        raise StudyError("파일을 읽을 권한이 없으니 권한을 주세요.") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"파일을 읽을 수 없으니 저장 장치와 경로를 확인하세요 ({error}).") from None


def _too_many_bytes(size: int) -> str:
    return f"파일이 {size / 2**20:.0f}MB로 한계 {MAX_BYTES // 2**20}MB를 넘으니 줄여서 저장하세요."


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise StudyError(f"그림이 {width:,}×{height:,}로 한계 {MAX_PIXELS:,}픽셀을 넘으니 줄여서 저장하세요.")


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(
        OSError, *DAMAGE
    ):  # The pixels are whole; a damaged note is no reason to refuse.
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):  # The steps between would take a copy of all pixels each.
        band = image.crop((0, top, image.width, min(top + BAND, image.height)))
        whole.paste(_band_to_rgb(band), (0, top))
    return whole


def _band_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255 instead of scaling.
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
