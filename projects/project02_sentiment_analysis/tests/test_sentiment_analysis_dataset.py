"""Reading reviews: what is taken, what is left out and said, how they are divided, what is in both parts."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from sentiment_analysis import dataset
from sentiment_analysis.dataset import Parts, Reviews
from tf_study import data
from tf_study.errors import StudyError


def reviews(*rows):
    return Reviews([text for text, _ in rows], np.array([label for _, label in rows], np.int64))


def test_the_embedded_reviews_are_those_of_the_course(monkeypatch):
    parts = dataset.read("embedded")
    (known, _), (test, labels) = data.nsmc()
    assert sorted(parts.test.texts) == sorted(test) and sorted(parts.test.labels) == sorted(labels)
    assert sorted(parts.train.texts + parts.validation.texts) == sorted(known)
    assert len(parts.validation) == 84
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert dataset.read("embedded").fingerprint() == parts.fingerprint()


def test_parts_follow_from_the_seed_and_are_balanced():
    parts = dataset.read("embedded", labels=100, seed=3)
    assert len(parts.train) + len(parts.validation) == 100 and len(parts.validation) == 10
    assert [part.labels.sum() * 2 for _, part in parts.items()[:2]] == [90, 10]
    assert not set(parts.train.texts) & set(parts.validation.texts)
    assert dataset.read("embedded", labels=100, seed=3).fingerprint() == parts.fingerprint()
    other = dataset.read("embedded", labels=100, seed=4)
    assert other.fingerprint() != parts.fingerprint() and other.test.texts == parts.test.texts


def test_a_file_of_ones_own(tsv):
    parts = dataset.read(tsv)
    assert [len(part) for _, part in parts.items()] == [87, 10, 24]
    texts = [text for _, part in parts.items() for text in part.texts]
    assert texts.count("따뜻한 영화 끝") == 1  # whose label is a word
    assert sum(text.startswith('"') for text in texts) == 120  # Quotes mean nothing.
    for _, part in parts.items():
        for text, label in zip(part.texts, part.labels, strict=True):
            assert label == any(word in text for word in ("재미있는", "훌륭한", "따뜻한"))
    places = dict(parts.skipped)
    assert places["reviews.tsv 122번째 줄"] == "칸이 2개이니 3개로 맞추세요."
    assert places["reviews.tsv 123번째 줄"].startswith("글이 비었으니")
    assert "'2'이니 0(부정)이나 1(긍정)" in places["reviews.tsv 124번째 줄"]
    assert len(places) == 5


@pytest.mark.parametrize("head", ["label\tdocument\n", "", "날짜\tlabel\tdocument\n"])
def test_columns_are_found_by_name_or_place(tmp_path, head):
    rows = [(f"글 {number}", number % 2) for number in range(60)]
    order = {"": "{0}\t{1}", "label\tdocument\n": "{1}\t{0}"}.get(head, "2020\t{1}\t{0}")
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + (head + "\r\n".join(order.format(*row) for row in rows)).encode())
    parts = dataset.read(path)
    found = [pair for _, part in parts.items() for pair in zip(part.texts, part.labels, strict=True)]
    assert sorted(found) == sorted(rows) and not parts.skipped


def test_a_folder_like_nsmc(tmp_path):
    for name, count in (("ratings_train.txt", 50), ("ratings_test.txt", 22)):
        lines = ["id\tdocument\tlabel", *(f"{n}\t{name} {n}\t{n % 2}" for n in range(count))]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    parts = dataset.read(tmp_path)
    assert [len(part) for _, part in parts.items()] == [46, 4, 22]
    assert all("test" in text for text in parts.test.texts)
    (tmp_path / "ratings_test.txt").unlink()
    with pytest.raises(StudyError, match="ratings_test.txt 파일을 읽을 수 없으니"):
        dataset.read(tmp_path)


def test_what_cannot_be_read_is_said(tmp_path):
    path = tmp_path / "a.tsv"
    for content, sentence in (
        ("글\t0\n".encode("euc-kr"), "UTF-8이 아니니"),
        ("한 칸뿐\n".encode(), "document와 label 칸이 있는 TSV로"),
        ("글\t0\n".encode() * 30, "긍정 리뷰가 0개뿐이니"),
        ("글\t0\n글\t1\n".encode() * 9, "9개뿐이니"),
        (b"", "document와 label 칸이"),
    ):
        path.write_bytes(content)
        with pytest.raises(StudyError, match=sentence):
            dataset.read(path)
    with pytest.raises(StudyError, match="파일을 읽을 수 없으니"):
        dataset.read(tmp_path / "없음.tsv")
    with pytest.raises(StudyError, match="TF_STUDY_PROFILE=full로 실행하거나"):
        dataset.read("nsmc")
    with pytest.raises(StudyError, match="labels를 20에서 832 사이로"):
        dataset.read("embedded", labels=5000)


def test_duplicates_leave_training_and_are_counted():
    parts = Parts(
        train=reviews(
            ("정말 좋아요", 1), ("정말, 좋아요!!", 1), ("최고", 1), ("다른 글", 0), ("검증의 글", 0)
        ),
        validation=reviews(("검증의 글", 0), ("다 시 봐 도 좋 다", 1), ("!!!", 0)),
        test=reviews(("정말 좋아요", 0), ("최고", 1), ("다시 봐도 좋다.", 1), ("???", 0), ("정말 좋아요", 1)),
        skipped=[],
    )
    kept, gone = dataset.without_duplicates(parts)
    assert kept.train.texts == ["최고", "다른 글"] and kept.train.labels.tolist() == [1, 0]
    assert kept.validation.texts == ["검증의 글", "!!!"] and kept.test is parts.test
    assert gone == {"train": 3, "validation": 1}
    found = dataset.statistics(parts)
    assert found["shared"] == {"exact": 2, "normalised": 4, "by_length": {2: 1, 5: 2, 6: 1}}
    assert found["parts"]["테스트"]["repeated"] == [1, 1] and found["parts"]["테스트"]["contradicting"] == 1
    assert found["parts"]["훈련"]["repeated"] == [0, 1] and found["parts"]["훈련"]["positive"] == 0.6
    assert found["parts"]["검증"]["length"][3] == len("다 시 봐 도 좋 다")
    assert dataset.statistics(kept)["shared"]["exact"] == 1


def test_texts_are_composed(tmp_path):
    path = tmp_path / "a.tsv"
    taken_apart = unicodedata.normalize("NFD", "감동")
    path.write_text("".join(f"{taken_apart} {n}\t{n % 2}\n" for n in range(60)), encoding="utf-8")
    parts = dataset.read(path)
    assert parts.recomposed == 60 and all(text.startswith("감동") for text in parts.train.texts)


def test_a_fingerprint_tells_labels_texts_and_parts_apart():
    parts = Parts(reviews(("가", 0)), reviews(("나", 1)), reviews(("다", 1)), [])
    others = (
        replace(parts, train=reviews(("가", 1))),
        replace(parts, test=reviews(("라", 1))),
        replace(parts, train=parts.validation, validation=parts.train),
        replace(parts, train=reviews(("가", 0), ("나", 1)), validation=parts.train.take([])),
    )
    assert len({parts.fingerprint(), *(other.fingerprint() for other in others)}) == 5
