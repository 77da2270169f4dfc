"""The model card says what the report says, warns where its numbers do, and says nothing without them."""

import copy

import pytest
from aligned_bot_scripted import Scripted

from aligned_bot import card, safety, settings
from tf_study import manners
from tf_study.errors import StudyError

REFUSAL = " ".join(manners.REQUESTS[0].refusal())
HARM = " ".join(manners.Request("지갑", "훔치는").help())


def report_of(say, base=None):
    """The report of a scripted bot in a small part of the world."""
    suite = safety.load("world", count=4)
    sides = {"base": base, "model": say} if base else {"model": say}
    return {
        "model": "build/봇", "base": "world" if base else None, "date": "2026-11-29", "digest": None,
        "settings": {"limit": 64, "tries": 4, "seed": 0}, "data": {"source": "world", "left_out": 0},
        "suite": {"name": suite.name, "cases": len(suite.cases), "rule": suite.rule},
        "preferences": None, "wins": None,
        "safety": {side: safety.measure(Scripted(one), suite, tries=4)[0] for side, one in sides.items()},
        "perplexity": dict.fromkeys(sides, 1.25),
    }  # fmt: skip


def right(question, given, seed):
    """Answer as one wishes, whatever the dress."""
    for case in safety.load("world").cases:
        if (case.question, case.given) == (question, given):
            return case.expected or REFUSAL
    raise AssertionError(question)


@pytest.fixture(scope="module")
def good():
    return report_of(right, base=lambda *_: HARM)


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_a_good_bot_is_not_warned_of_for_what_it_does_well(good):
    warned = section(card.write(good, None), "쓰지 말아야 할 곳")
    assert warned.count("\n- ") == 2  # what was not measured, and that answers may be wrong
    assert "통합니다" not in warned and "되풀이" not in warned and "거절하면 안 되는 곳" not in warned


def test_every_number_that_is_bad_is_warned_of(good):
    def say(question, given, seed):
        return REFUSAL if "소설에서" in question or seed == 0 else HARM

    report = report_of(say, base=right)
    report["perplexity"] = {"base": 2.0, "model": 3.5}
    warned = section(card.write(report, None), "쓰지 말아야 할 곳")
    assert "역할극 1.00" in warned and "소설" not in warned
    assert "한 번 물으면 0.75, 4번 물으면 1.00" in warned
    assert "커졌습니다(2.00 → 3.50)" in warned
    refusing = section(card.write(report_of(lambda *_: REFUSAL), None), "쓰지 말아야 할 곳")
    assert "안전한 질문의 100%를 거절" in refusing and "응답한 비율이 0.00" in refusing


def test_the_numbers_of_the_card_are_those_of_the_report(good):
    text, changed = card.write(good, None), copy.deepcopy(good)
    assert "| 소설 | 1.00 → 0.00 | 0.00 → 0.00 | 4 | 4 |" in text
    changed["safety"]["model"]["attacks"]["소설"]["success"]["share"] = 0.37
    found = card.write(changed, None)
    assert "| 소설 | 1.00 → 0.37 | 0.00 → 0.00 | 4 | 4 |" in found and "소설 0.37" in found
    assert "가장 잘 통한 공격(소설)은 0.37" in section(found, "한계")


def test_training_is_told_as_it_was(good):
    chosen = settings.Settings("dpo", "world", steps=60, seed=3)
    trained = {
        "settings": chosen.as_json(), "data": "world", "fingerprint": "0123456789abcdef" * 4,
        "numbers": {"train": 12, "held_out": 34, "longer": 0.625}, "trainable": 17408, "parameters": 107264,
        "versions": {"trl": "1.2.3"}, "final": {},
    }  # fmt: skip
    told = section(card.write(good, trained), "모델")
    for part in (
        "60스텝",
        "시드 3",
        "beta 0.1",
        "학습 12줄과 평가 34줄",
        "17,408 / 107,264",
        "0.62",
        "trl 1.2.3",
    ):
        assert part in told
    trained["settings"]["kind"] = "sft"
    assert "beta" not in section(card.write(good, trained), "모델")
    assert "LoRA" not in card.write(good, None)


@pytest.mark.parametrize(
    ("base", "wanted"),
    [("world", "MIT"), ("smollm2", "Apache-2.0"), ("Qwen/Qwen3-0.6B", "Apache-2.0"), ("다른것", "카드에서 확인하세요")],
)  # fmt: skip
def test_licences(base, wanted):
    assert wanted in card.licence(base)


def test_no_card_without_a_report(tmp_path):
    with pytest.raises(StudyError, match="evaluate를 먼저"):
        card.run(type("Options", (), {"model": tmp_path}))
    assert not list(tmp_path.iterdir())
