"""What an evaluation says of a model whose answers are known beforehand."""

import json

import numpy as np
import pytest

from sentiment_analysis import evaluation
from sentiment_analysis.dataset import Parts, Reviews

GOOD, BAD = ("재미있어요", "훌륭한 영화", "다시 보고 싶다"), ("지루해요", "돈이 아깝다", "다시는 안 본다")


def reviews(count, seed):
    """Return reviews of which one of eight has the wrong label, so that no rule is always right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    texts = [f"{(BAD, GOOD)[label][rng.integers(3)]} {number}" for number, label in enumerate(labels)]
    return Reviews(texts, np.where(np.arange(count) % 8 == 7, 1 - labels, labels))


class Words:
    """A model that knows the six phrases, needs their spaces, and is far too sure."""

    form = "saved_model"

    def logits(self, texts):
        good = np.array([[any(word in text for word in words) for words in (BAD, GOOD)] for text in texts])
        return np.where(good.any(axis=1, keepdims=True), 4.0 * good, [4.0, 0.0]).astype(np.float32)


@pytest.fixture(scope="module")
def report():
    return evaluation.evaluate(Words(), Parts(reviews(160, 0), reviews(160, 1), reviews(80, 2), []))


def test_the_report_counts_what_the_model_answers(report):
    assert report["accuracy"]["value"] == pytest.approx(7 / 8) and report["accuracy"]["count"] == 80
    assert report["f1"] == pytest.approx(7 / 8, abs=0.02)
    assert report["train"] == 160
    row = report["baselines"]["음절 1~3개"]
    assert row["value"] * 80 - 70 == row["only_baseline"] - row["only_model"]
    json.dumps(report, allow_nan=False)


def test_the_temperature_brings_the_confidence_down_to_the_share_of_right_answers(report):
    found = report["calibration"]
    # All answers are equally sure; the likeliest temperature makes that 7 of 8.
    (row,) = found["after"]["rows"]
    assert row == (80, pytest.approx(7 / 8, abs=0.002), pytest.approx(7 / 8))
    assert found["after"]["error"] < 0.003 < 0.1 < found["before"]["error"]
    assert found["temperature"] == pytest.approx(4 / np.log(7), rel=0.01)


def test_slices_of_the_test_part_and_spoiled_texts(report):
    rows = {row["name"]: row for row in report["slices"]}
    negated, plain = rows["안, 못, 없다 등이 있음"], rows["그런 말이 없음"]
    assert negated["model"]["count"] + plain["model"]["count"] == 80
    assert 0 < negated["model"]["count"] < plain["model"]["count"]
    # Without spaces only the two phrases of one word are known; the others are called negative.
    assert rows["띄어쓰기 없이"]["kept"] < 0.8 < rows["띄어쓰기 없이"]["baseline"]["value"]
    assert 0.5 < rows["음절 30%에 오타"]["kept"] < rows["음절 10%에 오타"]["kept"] < 1


def test_the_mistakes_are_wrong_and_named(report):
    assert len(report["mistakes"]) == 10
    assert all(item["truth"] != item["answer"] for item in report["mistakes"])
    text = evaluation.tables(report)
    assert "기준선: 음절 1~3개" in text and report["mistakes"][0]["text"] in text


def test_the_figure_is_a_picture(report, tmp_path):
    evaluation.draw(report, tmp_path / "sub" / "reliability.png")
    assert (tmp_path / "sub" / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_leaves_a_temperature_that_other_commands_use(tmp_path, monkeypatch, capsys):
    from sentiment_analysis import commands

    parts = Parts(reviews(160, 0), reviews(160, 1), reviews(80, 2), [])
    monkeypatch.setattr(evaluation.model, "load", lambda folder, form: Words())
    monkeypatch.setattr(evaluation.storage, "read_card", lambda folder: {})
    monkeypatch.setattr(evaluation.dataset, "of_card", lambda card: parts)
    evaluation.run(commands.build_parser().parse_args(["evaluate", str(tmp_path), "--count", "40"]))
    assert evaluation.model.read_temperature(tmp_path) == pytest.approx(4 / np.log(7), rel=0.01)
    assert (
        json.loads((tmp_path / "evaluation" / evaluation.REPORT).read_text("utf-8"))["accuracy"]["count"]
        == 40
    )
    assert "테스트 리뷰 40개" in capsys.readouterr().out
