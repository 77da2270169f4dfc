"""The picture sets: shapes, order, sizes, films, and the claims the embedded stand-ins make."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tf_study.data import fetch, images
from tf_study.errors import StudyError

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("TF_STUDY_DATA") or ROOT.parent / "shared" / "data")
SETS = {
    "mnist": ((28, 28), (), 5000, 1000),
    "fashion_mnist": ((28, 28), (), 5000, 1000),
    "cifar10": ((32, 32, 3), (1,), 4000, 1000),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")


@pytest.fixture
def full(monkeypatch):
    if not REAL.is_dir():
        pytest.skip("the real data sets are not here")
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    monkeypatch.setenv("TF_STUDY_DATA", str(REAL))


@pytest.mark.parametrize("name", SETS)
def test_small_set_has_its_shape_and_equal_classes(name):
    shape, label_shape, train, test = SETS[name]
    for (x, y), count in zip(getattr(images, name)(), (train, test), strict=True):
        assert x.shape == (count, *shape) and x.dtype == np.uint8
        assert y.shape == (count, *label_shape) and y.dtype == np.uint8
        assert np.array_equal(np.bincount(y.ravel()), [count // 10] * 10)


@pytest.mark.parametrize("name", SETS)
def test_no_picture_occurs_twice(name):
    (x_train, _), (x_test, _) = getattr(images, name)()
    pictures = np.concatenate([x_train, x_test])
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.parametrize("name", SETS)
def test_subset_is_the_balanced_beginning_of_the_whole(name):
    load = getattr(images, name)
    (x, y), (x_test, y_test) = load(train=200, test=50, seed=3)
    (x_all, y_all), (x_test_all, y_test_all) = load(seed=3)
    assert np.array_equal(x, x_all[:200]) and np.array_equal(y, y_all[:200])
    assert np.array_equal(x_test, x_test_all[:50]) and np.array_equal(y_test, y_test_all[:50])
    assert set(np.bincount(y.ravel())) == {20} and set(np.bincount(y_test.ravel())) == {5}
    (other, _), _ = load(train=200, seed=4)
    assert not np.array_equal(x, other)


@pytest.mark.parametrize("sizes", [{"train": 5001}, {"test": 1001}, {"train": -1}])
def test_impossible_size_says_what_is_possible(sizes):
    with pytest.raises(StudyError, match="까지로 정하세요"):
        images.mnist(**sizes)


def test_flowers_is_a_folder_of_jpeg_files_by_class():
    folder = images.flowers()
    assert tuple(sorted(path.name for path in folder.iterdir())) == images.FLOWER_CLASSES
    for name in images.FLOWER_CLASSES:
        paths = sorted((folder / name).iterdir())
        assert len(paths) == 120
        with Image.open(paths[0]) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (128, 128), "RGB")


def test_display_names_match_the_classes():
    for kind in ("FASHION", "CIFAR10", "FLOWER"):
        assert len(getattr(images, f"{kind}_CLASSES")) == len(getattr(images, f"{kind}_CLASSES_KO"))


def test_films_have_their_shape_and_depend_on_seed_and_index_alone():
    films = images.moving_mnist(3, length=12, size=48, digits=1, seed=5)
    assert films.shape == (3, 12, 48, 48) and films.dtype == np.uint8
    assert np.array_equal(films[:2, :7], images.moving_mnist(2, length=7, size=48, digits=1, seed=5))
    assert not np.array_equal(films, images.moving_mnist(3, length=12, size=48, digits=1, seed=6))


def test_digit_moves_whole_and_bounces():
    film = images.moving_mnist(1, length=60, size=40, digits=1)[0]
    assert len(set(film.sum(axis=(1, 2), dtype=int))) == 1, "no pixel may be cut off"
    columns = (film.sum(axis=1, dtype=int) * np.arange(40)).sum(1) / film.sum(axis=(1, 2), dtype=int)
    steps = np.diff(columns)
    assert (steps > 0).any() and (steps < 0).any() and np.abs(steps).max() <= 6


def test_film_of_the_smallest_size_stands_still():
    film = images.moving_mnist(1, length=5, size=28, digits=1)[0]
    assert (film == film[0]).all() and film.any()


@pytest.mark.parametrize("sizes", [{"size": 27}, {"length": 0}, {"digits": 0}])
def test_impossible_film_says_what_is_possible(sizes):
    with pytest.raises(StudyError, match="인수를 고치세요"):
        images.moving_mnist(**{"sequences": 1, **sizes})


def test_linear_model_fails_on_the_coloured_objects():
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_test, y_test) = images.cifar10()
    flat = [part[:, ::2, ::2].reshape(len(part), -1) / 255 - 0.5 for part in (x, x_test)]
    model = LogisticRegression(C=0.01, max_iter=60).fit(flat[0], y.ravel())
    assert model.score(flat[1], y_test.ravel()) < 0.6


def test_generators_still_draw_the_embedded_pictures(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import draw_flowers
    import draw_objects

    pictures, labels = images._sheet("cifar10_train.png")
    for index in (0, 13, 3999):
        assert np.array_equal(draw_objects.draw(int(labels[index, 0]), index // 10), pictures[index])
    draw_flowers.write(tmp_path, 1)
    for name in images.FLOWER_CLASSES:
        file = Path(name, f"{name}_000.jpg")
        assert (tmp_path / file).read_bytes() == (images.flowers() / file).read_bytes()


def test_real_mnist_holds_the_embedded_digits(full, monkeypatch):
    (x_real, y_real), (x_real_test, _) = images.mnist()
    assert x_real.shape == (60000, 28, 28) and x_real_test.shape == (10000, 28, 28)
    known = {picture.tobytes(): label for picture, label in zip(x_real, y_real, strict=True)}
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    for x, y in images.mnist():
        assert all(known[picture.tobytes()] == label for picture, label in zip(x, y, strict=True))


def test_real_cifar10_and_flowers_load(full):
    (x, y), (x_test, y_test) = images.cifar10(train=500, test=100)
    assert x.shape == (500, 32, 32, 3) and x_test.shape == (100, 32, 32, 3) and y.shape == (500, 1)
    assert set(np.bincount(y.ravel())) <= set(range(45, 56)) and y_test.dtype == np.uint8
    folder = images.flowers()
    assert all(any((folder / name).glob("*.jpg")) for name in images.FLOWER_CLASSES)


def test_import_leaves_tensorflow_alone():
    code = "import sys, tf_study.data.images; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_weights_are_checked_and_put_where_keras_looks(tmp_path, monkeypatch):
    for variable in ("KERAS_HOME", "TF_STUDY_CACHE", "TF_STUDY_DATA"):
        folder = tmp_path / variable
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    own = tmp_path / "TF_STUDY_DATA" / "efficientnetb0_notop.h5"
    own.write_bytes(b"<html>")
    with pytest.raises(StudyError, match="깨졌거나"):
        images.efficientnet_weights()
    assert own.exists() and not list((tmp_path / "KERAS_HOME").rglob("*.h5"))

    content = b"the published file"
    own.write_bytes(content)
    item = dataclasses.replace(
        fetch.SOURCES["efficientnetb0"].downloads[0], digest=hashlib.md5(content).hexdigest()
    )
    source = dataclasses.replace(fetch.SOURCES["efficientnetb0"], downloads=(item,))
    monkeypatch.setitem(fetch.SOURCES, "efficientnetb0", source)
    assert images.efficientnet_weights() == "imagenet"
    assert (tmp_path / "KERAS_HOME" / "models" / own.name).read_bytes() == content
    own.unlink()
    assert images.efficientnet_weights() == "imagenet"  # found where Keras keeps it


def test_weights_have_the_name_and_digest_that_keras_expects():
    from keras.src.applications import efficientnet

    (item,) = fetch.SOURCES["efficientnetb0"].downloads
    assert item.digest == efficientnet.WEIGHTS_HASHES["b0"][1]
    assert item.url == efficientnet.BASE_WEIGHTS_PATH + item.path
