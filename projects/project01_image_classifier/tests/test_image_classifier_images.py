"""Reading pictures: every kind that is accepted, and every kind of bad file."""

import os
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_classifier import images
from tf_study.errors import StudyError

PROJECT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def pixels(height=24, width=40, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def refused(source, part):
    """Assert that a source is refused with one sentence containing ``part``."""
    with pytest.raises(StudyError, match=part) as caught:
        images.read(source)
    assert re.search(r"^[^\n]+세요( \(.*\))?\.$", str(caught.value))  # it ends with what to do


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {})])
def test_the_three_formats(encode, tmp_path, kind, options):
    smooth = np.add.outer(np.arange(24) * 5, np.arange(40) * 3)[..., None] + np.array([0, 9, 18])
    smooth = smooth.astype(np.uint8)
    path = tmp_path / "name.without.meaning"
    path.write_bytes(encode(Image.fromarray(smooth), kind, **options))
    for source in (path, str(path), path.read_bytes()):
        got = images.read(source)
        assert got.dtype == np.uint8 and got.shape == (24, 40, 3)
        assert np.abs(got.astype(int) - smooth).max() <= (12 if kind == "JPEG" else 0)


def test_grey_and_bilevel_become_three_equal_channels(encode):
    grey = pixels(channels=1)
    for kind in ("PNG", "JPEG"):
        got = images.read(encode(Image.fromarray(grey), kind, quality=100))
        assert got.shape == (24, 40, 3) and np.ptp(got, axis=-1).max() == 0
        assert np.abs(got[..., 0].astype(int) - grey).max() <= 3
    bits = grey > 127
    np.testing.assert_array_equal(images.read(encode(Image.fromarray(bits)))[..., 1], bits * 255)


def test_sixteen_bits_are_scaled_not_clipped(encode):
    grey = pixels(channels=1)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(images.read(encode(deep))[..., 0], grey)


def test_transparency_is_laid_over_white(encode):
    rgba = pixels(channels=4)
    alpha = rgba[..., 3:] / 255
    wanted = rgba[..., :3] * alpha + 255 * (1 - alpha)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        got = images.read(encode(Image.fromarray(rgba), kind, **options))
        assert np.abs(got - wanted).max() <= 1
    grey = Image.fromarray(rgba[..., [0, 3]], "LA")
    wanted = rgba[..., 0] * alpha[..., 0] + 255 * (1 - alpha[..., 0])
    assert np.abs(images.read(encode(grey))[..., 0] - wanted).max() <= 1


def test_palette_with_a_transparent_colour(encode):
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    got = images.read(encode(image, transparency=1))
    assert got.tolist() == [[[10, 20, 30], [255] * 3], [[70, 80, 90], [10, 20, 30]]]


def test_cmyk_jpeg(encode):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    red, green, blue = images.read(encode(image, "JPEG"))[8, 8]
    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize(
    "orientation, upright",
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_orientation(encode, orientation, upright):
    stored, exif = pixels(), Image.Exif()
    exif[0x0112] = orientation
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        got = images.read(encode(Image.fromarray(stored), kind, exif=exif, **options))
        np.testing.assert_array_equal(got, upright(stored))
    shape = images.read(encode(Image.fromarray(stored), "JPEG", exif=exif)).shape
    assert shape == upright(stored).shape


def test_damaged_exif_does_not_cost_the_picture(encode):
    content = encode(Image.fromarray(pixels()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert images.read(content).shape == (24, 40, 3)


def test_a_wrong_name_is_no_obstacle_and_no_disguise(encode, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(Image.fromarray(pixels())))
    np.testing.assert_array_equal(images.read(tmp_path / "a.jpg"), pixels())
    (tmp_path / "b.jpg").write_text("안녕하세요", encoding="utf-8")
    refused(tmp_path / "b.jpg", "JPEG, PNG, WebP 그림이 아니니")
    refused(encode(Image.fromarray(pixels()), "GIF"), "JPEG, PNG, WebP 그림이 아니니")
    refused(b"%PDF-1.7 ...", "JPEG, PNG, WebP 그림이 아니니")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_at_any_length(encode, kind):
    content = encode(Image.fromarray(pixels(64, 64)), kind)
    refused(b"", "빈 파일")
    for share in (0.02, 0.1, 0.5, 0.9):
        refused(content[: int(len(content) * share)], "그림")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_random_damage_gives_a_picture_or_a_sentence(encode, kind):
    content, rng = encode(Image.fromarray(pixels(32, 32)), kind), np.random.default_rng(0)
    failures = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        try:
            assert images.read(bytes(damaged)).ndim == 3
        except StudyError:
            failures += 1
    assert failures > 0


def test_huge_pictures_are_refused_before_they_are_decoded(encode, monkeypatch):
    def header(width, height):  # of a PNG that claims a size and has no pixels
        chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))

    end = struct.pack(">I", 4) + b"IDAT" + b"\x00" * 8
    refused(header(10_000, 5_001) + end, "10,000×5,001")
    refused(header(12_000, 12_000) + end, "12,000×12,000")  # where Pillow itself only warns
    refused(header(60_000, 60_000) + end, "줄여서")  # where Pillow raises
    bomb = encode(Image.new("1", (9_000, 6_000)))
    assert len(bomb) < 100_000
    refused(bomb, "9,000×6,000")
    monkeypatch.setattr(images, "MAX_PIXELS", 24 * 40)
    assert images.read(encode(Image.fromarray(pixels()))).shape == (24, 40, 3)
    refused(encode(Image.fromarray(pixels(25))), "40×25")


def test_too_many_bytes(encode, tmp_path, monkeypatch):
    content = encode(Image.fromarray(pixels()))
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.setattr(images, "MAX_BYTES", len(content) - 1)
    refused(content, "한계")
    refused(tmp_path / "a.png", "한계")


def test_what_cannot_be_opened(tmp_path, monkeypatch):
    refused(tmp_path / "없음.png", "파일이 없으니")
    refused(tmp_path, "보통 파일이 아니니")
    refused("a\0b", "파일을 읽을 수 없으니")
    os.mkfifo(tmp_path / "관")
    refused(tmp_path / "관", "보통 파일이 아니니")
    (tmp_path / "닫힘.png").write_bytes(b"x")

    def deny(path):
        raise PermissionError(13, "denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    refused(tmp_path / "닫힘.png", "권한")


def test_fit_takes_the_middle_square():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 200
    for wide in (picture, picture.transpose(1, 0, 2)):
        got = images.fit(wide, 10)
        assert got.shape == (10, 10, 3) and (got[1:-1, 1:-1] == 200).all()
    assert images.fit(picture[:1], 8).shape == (8, 8, 3)
    square = pixels(16, 16)
    assert images.fit(square, 16) is square


def test_read_many_keeps_the_order_and_goes_on_after_errors(encode, tmp_path):
    paths = []
    for number in range(100):  # more than one chunk
        paths.append(tmp_path / f"{number:03d}.png")
        paths[-1].write_bytes(encode(Image.new("RGB", (9, 9), (number, 0, 0))) if number % 7 else b"no")
    for number, (path, picture) in enumerate(images.read_many(paths, 4)):
        assert path == paths[number]
        assert isinstance(picture, StudyError) if number % 7 == 0 else (picture[..., 0] == number).all()
    assert number == 99


def test_find_skips_hidden_files_and_names_closed_folders(tmp_path, monkeypatch):
    for name in ("b/2.png", "a.txt", "b/1.jpg", ".DS_Store", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, closed = images.find(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.txt", "b/1.jpg", "b/2.png"]
    assert closed == []

    def scandir(path):  # os.walk asks this for every folder; the superuser could open a real closed one
        if Path(path).name == "b":
            raise PermissionError(13, "denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    found, closed = images.find(tmp_path)
    assert [path.name for path in found] == ["a.txt"] and closed[0][0] == tmp_path / "b"


def test_squares_are_what_read_and_fit_give(encode):
    for channels, height in ((3, 50), (4, 2 * images.BAND + 7), (1, images.BAND + 1)):
        content = encode(Image.fromarray(pixels(height, 40, channels)))
        for side, got in zip((16, 40), images.squares(content, 16, 40), strict=True):
            np.testing.assert_array_equal(got, images.fit(images.read(content), side))


def test_bands_leave_no_seam(encode):
    rgba = pixels(2 * images.BAND + 7, 20, 4)
    whole = Image.alpha_composite(Image.new("RGBA", (20, len(rgba)), "white"), Image.fromarray(rgba))
    np.testing.assert_array_equal(
        images.read(encode(Image.fromarray(rgba))), np.asarray(whole.convert("RGB"))
    )


def test_large_pictures_take_turns(encode, monkeypatch):
    content, lock, busy, most = encode(Image.fromarray(pixels())), threading.Lock(), 0, 0

    def slow(image, side):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.05)
        with lock:
            busy -= 1

    monkeypatch.setattr(images, "fit", slow)
    for limit, expected in ((24 * 40 - 1, 1), (24 * 40, 4)):
        most = 0
        monkeypatch.setattr(images, "LARGE", limit)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: images.squares(content, 8), range(4)))
        assert most == expected


PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from image_classifier import images

def peak():  # in MB; Linux hands ru_maxrss on from the parent process, its status file not
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

before = peak()
with ThreadPoolExecutor(2) as pool:  # taking turns, and neither keeps what the other needs
    list(pool.map(lambda _: images.squares(Path(sys.argv[1]).read_bytes(), 64, 256), range(2)))
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("kind", "mode", "options", "limit"),
    [
        ("PNG", "RGB", {"compress_level": 1}, 110),
        ("PNG", "RGBA", {"compress_level": 1}, 160),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}, 210),
        ("WEBP", "RGBA", {"method": 0}, 300),
    ],
)
def test_memory_of_a_large_picture(tmp_path, kind, mode, options, limit):
    """A third of the pixels of the largest: a third of the memory."""
    path = tmp_path / "large"
    Image.new(mode, (4100, 4100), "gold").save(path, kind, **options)
    command = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 50 < float(done.stdout) < limit  # the pixels alone are 48 MB
