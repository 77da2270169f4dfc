"""The data that graders judge on: balanced, new, hidden from the loaders, and as hard as the public ones."""

from pathlib import Path

import numpy as np
import pytest

from test_data_images import full, small  # noqa: F401
from test_data_texts import near_duplicates
from tf_study import data
from tf_study.data import images, store, unseen

ROOT = Path(__file__).parents[1]


def test_objects_are_drawn_by_the_generator_and_in_no_public_set(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import draw_objects

    pictures, labels = unseen.objects()
    assert pictures.shape == (300, 32, 32, 3) and np.bincount(labels).tolist() == [30] * 10
    for index in (0, 17, 299):
        assert np.array_equal(draw_objects.draw(int(labels[index]), 500 + index // 10), pictures[index])
    public = {picture.tobytes() for part in images.cifar10() for picture in part[0]}
    assert len({picture.tobytes() for picture in pictures} - public) == 300


def test_clothes_are_real_and_in_no_public_set():
    pictures, labels = unseen.clothes()
    assert pictures.shape == (500, 28, 28) and pictures.dtype == np.uint8
    assert np.array_equal(np.sort(labels.reshape(50, 10)), np.tile(np.arange(10), (50, 1)))
    public = {picture.tobytes() for part in images.fashion_mnist() for picture in part[0]}
    assert len({picture.tobytes() for picture in pictures} - public) == 500


def test_digits_are_real_and_in_no_public_set():
    pictures, labels = unseen.digits()
    assert pictures.shape == (500, 28, 28) and np.bincount(labels).tolist() == [50] * 10
    public, known = (np.concatenate(part) for part in zip(*images.mnist(), strict=True))
    assert len({picture.tobytes() for picture in pictures} - {picture.tobytes() for picture in public}) == 500
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(3).fit(public.reshape(len(public), -1), known)
    assert nearest.score(pictures.reshape(500, -1), labels) > 0.9


def test_flowers_have_names_that_do_not_tell_and_are_in_no_public_folder():
    public = {path.read_bytes() for path in images.flowers().glob("*/*.jpg")}
    with unseen.flowers() as (paths, labels):
        assert np.bincount(labels).tolist() == [30] * 5 and len(paths) == 150
        files = [Path(path) for path in paths]
        assert len({file.read_bytes() for file in files} - public) == 150
        assert [file.name for file in files] == [f"{k:04d}.jpg" for k in range(150)]
        assert len(set(labels[:20])) > 2
    assert not any(file.exists() for file in files)


def test_generator_draws_the_hidden_flowers(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import draw_flowers

    draw_flowers.write(tmp_path, 1, start=120)
    for name in images.FLOWER_CLASSES:
        file = Path(name, f"{name}_120.jpg")
        assert (tmp_path / file).read_bytes() == (store.path("unseen/flowers") / file).read_bytes()


@pytest.mark.parametrize(("language", "load"), [("en", data.imdb), ("ko", data.nsmc)])
def test_reviews_are_balanced_new_and_as_hard_as_the_test_set(language, load):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    found, labels = unseen.reviews(language)
    assert np.bincount(labels).tolist() == [60, 60] and len(set(found)) == 120
    (train, y_train), (test, y_test) = load()
    assert not near_duplicates([*train, *test, *found])
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))
    model = make_pipeline(letters, LogisticRegression(C=10)).fit(train, y_train)
    assert abs(model.score(found, labels) - model.score(test, y_test)) < 0.1


def test_in_the_full_profile_no_exact_look_up_finds_an_answer(full):  # noqa: F811
    pictures, labels = unseen.objects()
    test, y_test = images.cifar10()[1]
    assert np.array_equal(pictures[:, :, ::-1], test) and np.array_equal(labels, y_test.ravel())
    public = {path.read_bytes() for path in images.flowers().glob("*/*.jpg")}
    with unseen.flowers() as (paths, labels):
        assert len(paths) == len(labels) > 50 and not {Path(path).read_bytes() for path in paths} & public
    for language, load in (("en", data.imdb), ("ko", data.nsmc)):
        found, labels = unseen.reviews(language)
        assert len(found) == 2000 and not set(found) & set(load(test=2000)[1][0])


def test_in_the_full_profile_the_clothes_are_shifted(monkeypatch):
    part = images.fashion_mnist(train=1, test=20)
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    monkeypatch.setattr(images, "fashion_mnist", lambda: part)
    clothes, labels = unseen.clothes()
    assert not {picture.tobytes() for picture in clothes} & {picture.tobytes() for picture in part[1][0]}
    assert np.array_equal(np.roll(clothes, -1, axis=2), part[1][0]) and np.array_equal(labels, part[1][1])
