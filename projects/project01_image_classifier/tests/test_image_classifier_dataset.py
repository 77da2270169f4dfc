"""Folders of classes: what is read, what is skipped, and how the rows are divided."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from image_classifier import dataset
from tf_study.errors import StudyError


@pytest.fixture
def make(encode, tmp_path):
    """Make a folder from class → number of pictures."""

    def build(**counts):
        for name, count in counts.items():
            (tmp_path / name).mkdir()
            for number in range(count):
                image = Image.new("RGB", (8, 8), (number, 0, 0))
                (tmp_path / name / f"{number:03d}.png").write_bytes(encode(image))
        return tmp_path

    return build


def test_scan_counts_the_bad_files_and_loses_no_good_one(pictures):
    folder = dataset.scan(pictures, 32)
    assert folder.classes == ("빨강", "초록", "파랑")
    assert folder.pictures.shape == (60, 32, 32, 3) and folder.pictures.dtype == np.uint8
    assert np.bincount(folder.labels).tolist() == [20, 20, 20]
    assert [name.split("/")[0] for name in folder.files] == [folder.classes[k] for k in folder.labels]
    reasons = dict(folder.skipped)
    assert reasons.keys() == {"빨강/잘림.jpg", "초록/글.jpg", "파랑/빈.png"}
    assert "깨졌으니" in reasons["빨강/잘림.jpg"] and "빈 파일" in reasons["파랑/빈.png"]
    assert (folder.pictures.mean(axis=(1, 2)).argmax(axis=1) == folder.labels).all()


def test_stray_things_are_counted_too(make):
    root = make(a=3, b=3, 빈폴더=0)
    (root / "밖.png").write_bytes(b"x")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "a" / "끊긴링크.png").symlink_to(root / "없음")
    (root / "b" / "안쪽").mkdir()
    (root / "b" / "002.png").rename(root / "b" / "안쪽" / "002.png")
    folder = dataset.scan(root, 8)
    assert len(folder.files) == 6 and "b/안쪽/002.png" in folder.files
    assert folder.classes == ("a", "b")
    assert {name for name, _ in folder.skipped} == {"밖.png", "빈폴더", "a/끊긴링크.png"}


def test_class_names_of_macos_are_put_together(make):
    root = make(**{unicodedata.normalize("NFD", "장미"): 3, "튤립": 3})
    assert dataset.scan(root, 8).classes == ("장미", "튤립")


@pytest.mark.parametrize(
    "counts, part",
    [
        ({}, "클래스 폴더가 없으니"),
        ({"a": 0, "b": 0}, "읽을 수 있는 그림이 없으니"),
        ({"a": 5}, "클래스가 'a' 하나뿐이니"),
        ({"a": 5, "b": 0}, "클래스가 'a' 하나뿐이니"),
        ({"a": 5, "b": 2}, "클래스 'b'에 읽을 수 있는 그림이 2장뿐이니 3장"),
    ],
)
def test_folders_that_cannot_be_learnt_from(make, counts, part):
    with pytest.raises(StudyError, match=part):
        dataset.scan(make(**counts), 8)


def test_missing_folder_unknown_class_and_full_disk(make, tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="폴더를 열 수 없으니"):
        dataset.scan(tmp_path / "없음", 8)
    root = make(a=3, b=3)
    with pytest.raises(StudyError, match="모델이 모르는 클래스가 있으니 폴더를 빼세요: b"):
        dataset.scan(root, 8, classes=["a", "c"])
    assert dataset.scan(root, 8, classes=["c", "b", "a"]).labels.tolist() == [2, 2, 2, 1, 1, 1]
    monkeypatch.setattr(dataset.tempfile, "TemporaryFile", lambda: open("/dev/full", "wb", buffering=0))
    with pytest.raises(StudyError, match="임시 폴더가 찼으니"):
        dataset.scan(root, 8)


def test_split_is_stratified_and_reproducible():
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    parts = dataset.split(labels, 0)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(143))
    counts = {name: np.bincount(labels[rows]).tolist() for name, rows in parts.items()}
    assert counts == {"train": [70, 28, 1], "val": [15, 6, 1], "test": [15, 6, 1]}
    again, other = dataset.split(labels, 0), dataset.split(labels, 1)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    assert not np.array_equal(parts["test"], other["test"])


def test_fingerprint_sees_every_change(make, encode):
    root = make(a=3, b=3)
    first = dataset.scan(root, 8).fingerprint()
    assert dataset.scan(root, 8).fingerprint() == first
    (root / "a" / "000.png").write_bytes(encode(Image.new("RGB", (8, 8), "white")))
    changed = dataset.scan(root, 8).fingerprint()
    (root / "a" / "000.png").rename(root / "a" / "003.png")
    assert len({first, changed, dataset.scan(root, 8).fingerprint()}) == 3


def test_batches(make):
    folder = dataset.scan(make(a=5, b=5), 8)
    rows = np.array([0, 2, 4, 5, 7, 9])

    def read(order=None):
        parts = list(dataset.batches(folder, rows, 4, order))
        assert [len(x) for x, _ in parts] == [4, 2]
        x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        assert x.shape == (6, 8, 8, 3) and x.dtype == np.float32
        return x, y

    x, y = read()
    np.testing.assert_array_equal(x, folder.pictures[rows])
    np.testing.assert_array_equal(y, folder.labels[rows])
    first, again, other = (read(order) for order in ((0, 1), (0, 1), (0, 2)))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[0], x)
    for x, y in (first, other):
        assert sorted(zip(y.tolist(), x[:, 0, 0, 0].tolist(), strict=True)) == sorted(
            zip(folder.labels[rows].tolist(), folder.pictures[rows, 0, 0, 0].astype(float), strict=True)
        )
