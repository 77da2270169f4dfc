"""What graders judge trained models on: data that no function of ``tf_study.data`` returns.

In the small profile they are pictures newly drawn by the generators of the embedded ones, real digits and clothes
that the loaders hold back, and reviews newly written for this purpose (CC0), so that a label cannot be looked up in a
public set and a model that has learnt the public test set gains nothing but more training data. In the full profile
there is nothing that is not published: pictures are mirrored or shifted and reviews get a tag in front, which no
exact look-up finds, but a model trained on the test set is not found out. Nothing hinders an answer that imports this
module.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tf_study import profile
from tf_study.data import fetch, images, store, texts


def objects() -> images.Arrays:
    """Return pictures uint8 (N, 32, 32, 3) and labels (N,) of the classes of :func:`tf_study.data.cifar10`.

    Small: 300 drawings. Full: the test set, mirrored.

    Raises:
        StudyError: if the full set cannot be had.
    """
    if profile.is_full():
        pictures, labels = images.cifar10()[1]
        return pictures[:, :, ::-1].copy(), labels.ravel()
    pictures, labels = images._sheet("unseen/objects.png")
    return pictures, labels.ravel()


def clothes() -> images.Arrays:
    """Return pictures uint8 (N, 28, 28) and labels (N,) of the classes of :func:`tf_study.data.fashion_mnist`.

    Small: 500 pictures of the official test set that the loader does not return. Full: the test set, shifted by
    one pixel.

    Raises:
        StudyError: if the full set cannot be had.
    """
    if profile.is_full():
        pictures, labels = images.fashion_mnist()[1]
        return np.roll(pictures, 1, axis=2), labels
    return tuple(fetch.read_npz(store.path("unseen/clothes.npz"), ("x", "y")).values())


def digits() -> images.Arrays:
    """Return pictures uint8 (N, 28, 28) and labels (N,) as :func:`tf_study.data.mnist` does.

    Small: 500 real digits that the loader does not return. Full: the test set, shifted by one pixel.

    Raises:
        StudyError: if the full set cannot be had.
    """
    if profile.is_full():
        pictures, labels = images.mnist()[1]
        return np.roll(pictures, 1, axis=2), labels
    return tuple(fetch.read_npz(store.path("unseen/digits.npz"), ("x", "y")).values())


@contextmanager
def flowers() -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield paths of JPEG files whose names do not tell the class, in a random order, and labels (N,).

    Small: 30 drawings of each class of :func:`tf_study.data.flowers`. Full: 100 photographs a class, mirrored, that
    practice 5.2 keeps for testing. The files are gone when the block ends.

    Raises:
        StudyError: if the full set cannot be had.
    """
    from PIL import Image, ImageOps

    root = images.flowers() if profile.is_full() else store.path("unseen/flowers")
    folders = [sorted((root / name).glob("*.jpg")) for name in images.FLOWER_CLASSES]
    folders = [files[2::3][:100] for files in folders] if profile.is_full() else folders
    found = [(file, label) for label, files in enumerate(folders) for file in files]
    order = np.random.default_rng(507).permutation(len(found))
    with TemporaryDirectory() as work:
        paths = [str(Path(work) / f"{number:04d}.jpg") for number in range(len(found))]
        for path, place in zip(paths, order, strict=True):
            file = found[place][0]
            if profile.is_full():
                with Image.open(file) as image:
                    ImageOps.mirror(image.convert("RGB")).save(path, quality=95)
            else:
                Path(path).write_bytes(file.read_bytes())
        yield paths, np.array([found[place][1] for place in order])


def reviews(language: str) -> texts.Texts:
    """Return reviews and labels (N,), 0 negative, 1 positive, as :func:`imdb` ("en") and :func:`nsmc` ("ko") do.

    Small: 120 reviews. Full: 2,000 reviews of the test set with a tag or a blank in front, which every practice's
    cleaning removes.

    Raises:
        StudyError: if the full set cannot be had or is damaged.
    """
    if not profile.is_full():
        return texts._embedded(f"unseen/reviews_{language}.tsv")
    load, front = {"en": (texts.imdb, "<br />"), "ko": (texts.nsmc, " ")}[language]
    found, labels = load(test=2000)[1]
    return [front + text for text in found], labels
