"""Explanations: pushes that are known exactly, when the points are enough, characters, words and morphemes."""

import numpy as np
import pytest
from sentiment_analysis_standin import WEIGHTS, Standin

from sentiment_analysis import explanation


def test_pushes_are_the_integral():
    """Along the way all weights act alike, so each has its share of the difference."""
    text = "좋다 나는 재미"
    found = explanation.explain(Standin(), text)
    weights = np.array([WEIGHTS.get(character, 0.0) for character in text])
    exact = weights / weights.sum() * np.tanh(weights.sum())
    assert found.points == explanation.FEWEST and found.complete and found.baseline == 0
    assert found.margin == pytest.approx(np.tanh(weights.sum()))
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.margin / 2)))
    assert [(push.text, push.start) for push in found.words] == [("좋다", 0), ("나는", 3), ("재미", 6)]
    wanted = [exact[:2].sum(), exact[3:5].sum(), exact[6:].sum()]
    np.testing.assert_allclose([push.push for push in found.words], wanted, rtol=0.01)
    assert found.gap == pytest.approx(sum(push.push for push in found.words) - found.margin)
    assert sum(push.push for push in found.morphemes) == pytest.approx(sum(wanted), rel=0.01)


def test_points_are_doubled_until_the_gap_is_small():
    """Where the margin bends sharply, eight points miss the bend."""
    steep = Standin(60.0)
    found = explanation.explain(steep, "좋")
    assert found.complete and abs(found.gap) <= 0.05 * found.margin
    assert [number - 2 for number in steep.asked] == [8, 16, 32, 64][: len(steep.asked)]
    assert len(steep.asked) > 1 and found.points == steep.asked[-1] - 2
    coarse = explanation.explain(Standin(60.0), "좋", most=8)
    assert not coarse.complete and abs(coarse.gap) > 0.05


def test_no_number_of_points_is_enough_for_a_jump():
    jump = Standin(1e6)
    found = explanation.explain(jump, "좋")
    assert not found.complete and found.points == explanation.MOST and found.gap < -0.9


def test_a_difference_of_nothing_needs_no_share():
    """Where nothing pushes, a gap relative to the difference would be a division by zero."""
    found = explanation.explain(Standin(), "하하")
    assert found.complete and found.gap == 0 and found.points == explanation.FEWEST


def test_what_the_model_does_not_read_has_no_push():
    found = explanation.explain(Standin(), "나쁘다" * 3 + " 나 나 나")
    assert found.seen == 11 and [push.push for push in found.words][2:] == [0.0, 0.0]
    assert found.words[1].push < 0


def test_a_token_is_divided_among_its_characters():
    tokens, spans = np.array([9.0, 4.0, 2.0, 1.0, 5.0, 0.0]), [(0, 0), (0, 2), (2, 5), (5, 6), (6, 7), (0, 0)]
    found = explanation.spread(tokens, spans, "좋아 영화 ")
    # 9: no character, so the first. 2: a blank and two syllables. 1 and 5: blanks with nothing behind.
    np.testing.assert_allclose(found, [9 + 2, 2, 0, 1, 1 + 1 + 5, 0])
    assert explanation.spread(np.ones(1), [(0, 2)], "  ").tolist() == [0, 0]


@pytest.mark.parametrize(
    "text",
    ["재미있어요 했다", "👨‍👩‍👧 재밌었음ㅋㅋㅋ!!", "a\0b 가각😀 좋다", "한국 좋았다", "\n최고 \t최고ㅋ\n", "가" * 2000, "ㅏㅣ 봣ㅈㅓ요"],
)  # fmt: skip
def test_every_character_has_one_morpheme_and_one_word(text):
    for spans in (explanation.morphemes(text), explanation.words(text)):
        owners = np.zeros(len(text), int)
        for start, end, _ in spans:
            assert end > start
            owners[start:end] += 1
        visible = [not character.isspace() for character in text]
        assert (owners[visible] == 1).all() and owners.max() == 1


def test_morphemes_that_share_a_syllable_are_one():
    found = [("했다"[start:end], tag) for start, end, tag in explanation.morphemes("했다")]
    assert found[0][0] == "했" and found[0][1].endswith("+EP") and found[1] == ("다", "EF")
