"""Training pictures: MNIST, Fashion-MNIST or a folder of classes."""

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tf_study import data, diffusion
from tf_study.errors import StudyError
from tf_study.pictures import DAMAGE

NAMED = ("mnist", "fashion")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
HELD_OUT = 0.15  # share of a folder's class that is kept for the evaluation
FEWEST = 4  # pictures in a class
# Pillow warns of large pictures and damaged EXIF; what cannot be read is listed with its reason.
warnings.filterwarnings("ignore", module="PIL")


@dataclass(frozen=True)
class Pictures:
    """Pictures float32 (N, side, side, channels) from -1 to 1 with labels int32 (N,), for training and held out.

    ``source``: a name of :data:`NAMED` or a folder's path. ``skipped``: (file, reason) of what could not be read.
    """

    source: str
    classes: tuple[str, ...]
    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def channels(self) -> int:
        return self.train.shape[-1]

    def fingerprint(self) -> str:
        """Return a digest of classes, labels and pixels: equal means the same training data."""
        hashed = hashlib.sha256("\n".join(self.classes).encode("utf-8", "surrogateescape"))
        for array in (self.train, self.labels):
            hashed.update(np.ascontiguousarray(array))
        return hashed.hexdigest()


def load(source: str, side: int) -> Pictures:
    """Read a named data set or a folder with one sub-folder per class.

    Raises:
        StudyError: if the data set does not come in this side, or the folder has too little that can be read.
    """
    if source not in NAMED:
        return _folder(Path(source), side)
    split = data.mnist() if source == "mnist" else data.fashion_mnist()
    try:
        (train, labels), (test, test_labels) = ((diffusion.shrink(x, side), y) for x, y in split)
    except ValueError:
        raise StudyError(
            f"{source}는 한 변 {side}로 줄일 수 없으니 7, 8, 14, 16, 28, 32 가운데 고르세요."
        ) from None
    classes = tuple(map(str, range(10))) if source == "mnist" else data.FASHION_CLASSES_KO
    return Pictures(source, classes, train, labels.astype(np.int32), test, test_labels.astype(np.int32))


def _folder(root: Path, side: int) -> Pictures:
    try:
        folders = sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError:
        raise StudyError(
            f"{root} 폴더를 열 수 없으니 mnist, fashion이나 클래스 폴더가 든 폴더를 주세요."
        ) from None
    if len(folders) < 2:
        raise StudyError(
            f"{root}에 클래스 폴더가 둘보다 적으니 클래스마다 하위 폴더를 만들어 그림을 넣으세요."
        )
    parts, skipped = [], []
    for folder in folders:
        good = []
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.is_dir():
                continue
            try:
                good.append(read(path, side))
            except StudyError as error:
                skipped.append((f"{folder.name}/{path.name}", str(error)))
        if len(good) < FEWEST:
            raise StudyError(
                f"클래스 '{folder.name}'에 읽을 수 있는 그림이 {len(good)}장뿐이니 "
                f"{FEWEST}장 이상 넣거나 폴더를 빼세요."
            )
        parts.append(np.stack(good))
    grey = all((part == part[..., :1]).all() for part in parts)
    train, test = [], []
    for label, part in enumerate(parts):
        rows = np.random.default_rng([0, label]).permutation(len(part))
        held = max(1, round(HELD_OUT * len(part)))
        part = (part[..., :1] if grey else part).astype(np.float32) / 127.5 - 1
        test.append(part[np.sort(rows[:held])])
        train.append(part[np.sort(rows[held:])])
    labels, test_labels = (
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in group])
        for group in (train, test)
    )
    names = tuple(folder.name for folder in folders)
    train, test = np.concatenate(train), np.concatenate(test)
    return Pictures(os.fspath(root.resolve()), names, train, labels, test, test_labels, skipped)


def read(path: Path, side: int) -> np.ndarray:
    """Return the middle square of a picture file as uint8 (side, side, 3), upright.

    Raises:
        StudyError: if it is no picture, or a damaged one.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (side, side), Image.Resampling.BOX))
    except DAMAGE:
        raise StudyError("읽을 수 있는 그림이 아니니 다시 저장하거나 폴더에서 빼세요.") from None
