"""Scores by hand, the comparison of two models, the threshold, and what the command writes."""

import json

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from korean_nlp import evaluation, storage
from korean_nlp.__main__ import main
from tf_study import model_folder
from tf_study.errors import StudyError

CLASSES = ["가", "나", "다"]


def test_score_by_hand():
    labels, guesses = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 0, 1])
    found = evaluation.score(labels, guesses, CLASSES)
    assert found["confusion"] == [[3, 1, 0], [1, 1, 0], [0, 1, 0]]  # rows: the topic
    assert found["topics"]["가"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75, "count": 4}
    assert found["topics"]["나"] == pytest.approx({"precision": 1 / 3, "recall": 0.5, "f1": 0.4, "count": 2})
    assert found["topics"]["다"] == {"precision": 0, "recall": 0, "f1": 0, "count": 1}
    assert found["macro_f1"] == pytest.approx((0.75 + 0.4 + 0) / 3) and found["accuracy"] == pytest.approx(
        4 / 7
    )


@pytest.fixture(scope="module")
def guessed():
    """Labels of 200 texts, guesses that are right with 0.8 and with 0.6."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    return labels, *(np.where(random.random(200) < share, labels, (labels + 1) % 3) for share in (0.8, 0.6))


def test_the_better_model_is_told_from_the_worse(guessed):
    labels, good, poor = guessed
    found = evaluation.compare(labels, good, poor, 3, rounds=500, seed=0)
    scores = [f1_score(labels, guess, average="macro") for guess in (good, poor)]
    assert found["difference"] == pytest.approx(scores[0] - scores[1])
    assert 0 < found["low"] < found["difference"] < found["high"] and found["p"] < 0.01
    back = evaluation.compare(labels, poor, good, 3, rounds=500, seed=0)
    assert back["low"] == pytest.approx(-found["high"]) and back["only_ours"] == found["only_theirs"]
    again = evaluation.compare(labels, good, poor, 3, rounds=500, seed=0)
    assert again == found != evaluation.compare(labels, good, poor, 3, rounds=500, seed=1)


def test_the_interval_is_that_of_pairs(guessed):
    """Two models with nearly the same guesses differ little, although each score alone is uncertain."""
    labels, good, _ = guessed
    other = good.copy()
    other[np.flatnonzero(good == labels)[:2]] = (other[np.flatnonzero(good == labels)[:2]] + 1) % 3
    found = evaluation.compare(labels, good, other, 3, rounds=500, seed=0)
    assert found["high"] - found["low"] < 0.05
    assert (found["only_ours"], found["only_theirs"]) == (2, 0) and found["p"] == pytest.approx(0.5)
    same = evaluation.compare(labels, good, good, 3, rounds=50, seed=0)
    assert same["p"] == 1 and same["low"] == same["high"] == same["difference"] == 0


def test_mcnemar_is_exact():
    labels, ours, theirs = np.zeros(10, int), np.array([0] * 9 + [1]), np.array([1] * 9 + [0])
    found = evaluation.compare(labels, ours, theirs, 2, rounds=10, seed=0)
    assert (found["only_ours"], found["only_theirs"]) == (9, 1)
    assert found["p"] == pytest.approx(2 * binom.cdf(1, 10, 0.5))


def rows(*highest):
    return np.array([[value, 1 - value] for value in highest])


def test_answering_above_a_threshold():
    inside, labels, outside = rows(0.9, 0.8, 0.7, 0.6), np.array([0, 1, 0, 0]), rows(0.95, 0.65, 0.55)
    assert evaluation.answered(inside, labels, outside, 0.8) == {
        "threshold": 0.8, "coverage": 0.5, "accuracy": 0.5, "outside": pytest.approx(1 / 3),
    }  # fmt: skip
    assert evaluation.answered(inside, labels, outside, 0.99)["accuracy"] is None
    curve = evaluation.curve(inside, labels, outside)
    assert [point["coverage"] for point in curve][::5] == [1.0, 0.75, 0.5, 0.25] and len(curve) == 20
    assert curve[0]["accuracy"] == 0.75 and curve[-1]["accuracy"] == 1
    assert evaluation.separation(inside, outside) == pytest.approx(
        np.mean([0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1])
    )


def test_the_most_confident_mistakes_come_first():
    items = [{"id": str(n), "text": f"글 {n}"} for n in range(4)]
    found = evaluation.mistakes(items, rows(0.9, 0.2, 0.95, 0.6), np.array([1, 1, 0, 1]), ["가", "나"])
    assert [item["id"] for item in found] == ["0", "3"]
    assert found[0] == {
        "id": "0",
        "text": "글 0",
        "label": "나",
        "guess": "가",
        "probability": 0.9,
        "of_label": 0.1,
    }


def test_the_command_writes_what_a_report_needs(trained, prepared, kiwi, monkeypatch, capsys):
    monkeypatch.setattr(storage.morphemes, "Tagger", lambda name: kiwi)  # started already
    before = storage.read_card(trained)
    assert main(["evaluate", str(trained), str(prepared["test"]), "--rounds", "100"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*storage.KINDS.values(), "McNemar p", "주제 밖의 글: 리뷰 200건"))
    found = json.loads((trained / storage.EVALUATION).read_text(encoding="utf-8"))
    assert found["classes"] == ["경제", "날씨", "스포츠"] and found["count"] == len(found["texts"]) == 90
    assert found["card"] == model_folder.digest(trained / model_folder.CARD)
    for kind in storage.KINDS:
        scores = found["models"][kind]
        right = sum(text["label"] == text["guesses"][kind][0] for text in found["texts"])
        assert scores["accuracy"] == pytest.approx(right / 90) and scores["macro_f1"] > 0.9
        assert (
            np.sum(scores["confusion"]) == 90 and scores["threshold"] == before["models"][kind]["threshold"]
        )
        assert 0 < scores["auroc"] < 1
        assert len(scores["mistakes"]) == min(90 - right, evaluation.SHOWN)
    # Reviews have syllables that texts of three topics have not; a network may be as sure of an unknown word.
    assert found["models"]["baseline"]["auroc"] > 0.6 and set(found["comparisons"]) == {"lstm", "cnn"}


def test_other_texts_that_belong_to_no_topic(trained, save_records, items, tmp_path):
    card, outside = storage.read_card(trained), save_records(tmp_path / "a", items["test"][:5])
    found, name = evaluation._outside(outside, card)
    assert {item["text"] for item in found} == {item["text"] for item in items["test"][:5]}
    assert name == str(outside)
    with pytest.raises(StudyError, match="글이 없으니"):
        evaluation._outside(save_records(tmp_path / "b", []), card)


def test_what_does_not_fit_is_said(trained, items, save_records, tmp_path, capsys):
    few = items["test"][:6]

    def told(name, items, **more):
        assert main(["evaluate", str(trained), str(save_records(tmp_path / name, items, **more))]) == 1
        return capsys.readouterr().err

    assert "모델이 모르는 주제가 있으니 빼거나 그 주제로 학습하세요: 날개" in told(
        "a", [few[0] | {"label": "날개"}]
    )
    assert "주제가 있는 글이 없으니" in told("b", [item | {"label": ""} for item in few])
    old = {"name": "kiwi", "version": "0.0.1"}
    assert "형태소 분석기가 모델과 다르니 kiwi" in told("c", few, tagger=old)
    assert main(["evaluate", str(trained), str(tmp_path / "없음")]) == 1
    assert main(["evaluate", str(trained), str(tmp_path / "a"), "--seed", "-1"]) == 1
    assert "시드 -1은(는) 쓸 수 없으니" in capsys.readouterr().err
