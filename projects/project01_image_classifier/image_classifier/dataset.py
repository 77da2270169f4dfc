"""From a folder with one sub-folder per class to pictures, labels, a split and batches."""

import hashlib
import os
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from image_classifier import images
from tf_study.errors import StudyError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
FEWEST = len(SHARES)  # pictures in a class: each part gets at least one

Skipped = list[tuple[str, str]]  # (path relative to the folder, reason)


@dataclass(frozen=True)
class Folder:
    """Readable pictures, all of one size.

    ``files`` are paths relative to ``root``; ``labels`` int64 (N,) index ``classes``; ``pictures`` is
    uint8 (N, side, side, 3), kept in a nameless temporary file and not in memory.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: np.ndarray
    pictures: np.ndarray
    skipped: Skipped

    def fingerprint(self) -> str:
        """Return a digest of names, labels and pixels: equal means the same training data."""
        names = "\n".join((*self.classes, *self.files, *map(str, self.labels)))
        hashed = hashlib.sha256(names.encode("utf-8", "surrogateescape"))
        hashed.update(self.pictures)
        return hashed.hexdigest()


def scan(root: Path, side: int, classes: Sequence[str] | None = None) -> Folder:
    """Read a folder of classes. What cannot be read is left out and listed with its reason.

    Args:
        root: holds one sub-folder per class, whose name is the class's.
        side: pictures are cut square and scaled to this many pixels.
        classes: the classes of a trained model, in its order; ``None`` takes the sub-folders, sorted.

    Raises:
        StudyError: if the folder is missing, has no readable picture, or has a class that is unknown; and,
            when ``classes`` is None, if fewer than two classes remain or one has under three pictures.
    """
    try:
        entries = sorted(item for item in root.iterdir() if not item.name.startswith("."))
    except OSError:
        raise StudyError(f"{root} 폴더를 열 수 없으니 경로와 권한을 확인하세요.") from None
    outside = [item.name for item in entries if not os.path.isdir(item)]
    skipped = [(name, "클래스 폴더 밖에 있으니 알맞은 하위 폴더로 옮기세요.") for name in outside]
    names = {_class_name(item.name): item for item in entries if os.path.isdir(item)}
    if not names:
        raise StudyError(f"{root}에 클래스 폴더가 없으니 클래스마다 하위 폴더를 만들어 그림을 넣으세요.")
    if classes is not None and (unknown := set(names) - set(classes)):
        raise StudyError(f"모델이 모르는 클래스가 있으니 폴더를 빼세요: {', '.join(sorted(unknown))}.")
    files = []
    for folder in names.values():
        found, closed = images.find(folder)
        files += [path.relative_to(root).as_posix() for path in found]
        skipped += [(path.relative_to(root).as_posix(), reason) for path, reason in closed]
        if not found and not closed:
            skipped.append((folder.name, "빈 폴더이니 그림을 넣거나 지우세요."))
    return load(root, files, side, classes, skipped)


def load(
    root: Path,
    names: Sequence[str],
    side: int,
    classes: Sequence[str] | None = None,
    skipped: Sequence[tuple[str, str]] = (),
) -> Folder:
    """Decode the files ``names``, paths relative to ``root``. The rest as in :func:`scan`."""
    files, skipped = [], list(skipped)
    with tempfile.TemporaryFile() as store:
        decoded = images.read_many([root / name for name in names], side)
        progress = tqdm(decoded, "그림 읽기", len(names), disable=None, leave=False)
        for name, (_, picture) in zip(names, progress, strict=True):
            if isinstance(picture, StudyError):
                skipped.append((name, str(picture)))
                continue
            try:
                store.write(picture.tobytes())
            except OSError:
                raise StudyError(
                    "임시 폴더가 찼으니 공간을 비우거나 TMPDIR을 다른 곳으로 바꾸세요."
                ) from None
            files.append(name)
        if not files:
            raise StudyError(f"{root}에 읽을 수 있는 그림이 없으니 JPEG, PNG, WebP 파일을 넣으세요.")
        store.flush()
        pictures = np.memmap(store, np.uint8, "r", shape=(len(files), side, side, 3))
    owners = [_class_name(name) for name in files]
    if classes is None:
        classes = sorted(set(owners))
        _check_counts(classes, owners)
    order = {name: index for index, name in enumerate(classes)}
    labels = np.array([order[owner] for owner in owners], np.int64)
    return Folder(root, tuple(classes), tuple(files), labels, pictures, skipped)


def split(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Divide the rows into ``train``, ``val`` and ``test`` (:data:`SHARES`), each class in its share.

    The same labels and seed give the same parts. Every class has at least one row in each part.

    Args:
        labels: int (N,), at least three of each class.
        seed: fixes the choice.

    Returns:
        name of a part → its rows, sorted.
    """
    parts = {name: [] for name in SHARES}
    for label in np.unique(labels):
        rows = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        val, test = (max(1, round(SHARES[name] * len(rows))) for name in ("val", "test"))
        for name, chosen in zip(
            parts, np.split(rows, [len(rows) - val - test, len(rows) - test]), strict=True
        ):
            parts[name].append(chosen)
    return {name: np.sort(np.concatenate(chosen)) for name, chosen in parts.items()}


def batches(
    folder: Folder, rows: np.ndarray, batch: int, order: Sequence[int] | None = None
) -> tf.data.Dataset:
    """Return batches of (pictures float32 (B, side, side, 3) in 0..255, labels int64 (B,)).

    Args:
        order: numbers that seed the shuffling, such as (seed, epoch); ``None`` keeps the rows' order.
    """
    if order is not None:
        rows = np.random.default_rng(list(order)).permutation(rows)
    shape = (None, *folder.pictures.shape[1:])

    def fetch(chosen, labels):
        pictures = tf.numpy_function(lambda index: folder.pictures[index], [chosen], tf.uint8)
        return tf.cast(tf.ensure_shape(pictures, shape), tf.float32), labels

    pairs = tf.data.Dataset.from_tensor_slices((rows, folder.labels[rows]))
    return pairs.batch(batch).map(fetch).prefetch(tf.data.AUTOTUNE)


def _class_name(path: str) -> str:
    """Return the class of a relative path; macOS may store Hangul in pieces, so they are put together."""
    return unicodedata.normalize("NFC", Path(path).parts[0])


def _check_counts(classes: Sequence[str], owners: Sequence[str]) -> None:
    if len(classes) < 2:
        raise StudyError(f"클래스가 '{classes[0]}' 하나뿐이니 다른 클래스의 하위 폴더를 더 넣으세요.")
    for name in classes:
        if (count := owners.count(name)) < FEWEST:
            raise StudyError(
                f"클래스 '{name}'에 읽을 수 있는 그림이 {count}장뿐이니 {FEWEST}장 이상 넣거나 폴더를 빼세요."
            )
