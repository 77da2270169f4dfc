"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import io

import numpy as np
import pytest
from PIL import Image

COLOURS = {"빨강": (200, 60, 60), "초록": (60, 180, 60), "파랑": (60, 60, 200)}
ARGUMENTS = ["--scratch", "--side", "32", "--batch", "16", "--epochs", "1", "3", "--backbone", "small"]


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """Return the picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encode():
    """Give tests :func:`encoded`."""
    return encoded


@pytest.fixture(scope="session")
def arguments():
    """Options of ``train`` with which the tiny classifier learns in seconds."""
    return list(ARGUMENTS)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 3 x 20 noisy colours of various sizes in the three formats, with three bad files."""
    root = tmp_path_factory.mktemp("사진")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(20):
            kind = ("JPEG", "PNG", "WEBP")[number % 3]
            size = (*rng.integers(30, 60, 2), 3)
            pixels = np.clip(rng.normal(colour, 40, size), 0, 255).astype(np.uint8)
            path = root / name / f"{number:02d}.{kind.lower()}"
            path.write_bytes(encoded(Image.fromarray(pixels), kind))
    whole = (root / "빨강" / "00.jpeg").read_bytes()
    (root / "빨강" / "잘림.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "초록" / "글.jpg").write_text("그림이 아닌 글", encoding="utf-8")
    (root / "파랑" / "빈.png").write_bytes(b"")
    return root


@pytest.fixture(scope="session")
def trained(pictures, arguments, tmp_path_factory):
    """The folder of a finished model of :func:`pictures`. Tests must not change it."""
    from image_classifier.__main__ import main

    output = tmp_path_factory.mktemp("모델")
    assert main(["train", str(pictures), "--output", str(output), *arguments]) == 0
    return output
