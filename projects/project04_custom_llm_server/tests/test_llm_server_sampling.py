"""The next token: the distribution of transformers' own filters, and one number for a seed and a position."""

import tf_study  # noqa: F401  isort: skip

import numpy as np
import pytest
from scipy import stats

from llm_server import sampling
from llm_server.engine.base import Sampling

LOGITS = (np.random.default_rng(0).normal(size=400) * 3).astype(np.float32)


@pytest.mark.parametrize(
    "wish",
    [
        Sampling(1.0),
        Sampling(0.5),
        Sampling(2.0, top_p=0.9),
        Sampling(0.8, top_k=7),
        Sampling(1.3, top_p=0.7, top_k=20),
        Sampling(1.0, top_p=1e-9),
        Sampling(1.0, top_p=0.999999),
        Sampling(1.0, top_k=1),
        Sampling(1.0, top_k=10_000),
    ],
)
def test_distribution_equals_transformers(wish):
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    from transformers.generation import logits_process as theirs

    scores = torch.tensor(LOGITS[None].astype(np.float64))
    scores = theirs.TemperatureLogitsWarper(wish.temperature)(None, scores)
    if wish.top_k:
        scores = theirs.TopKLogitsWarper(wish.top_k)(None, scores)
    if wish.top_p < 1:
        scores = theirs.TopPLogitsWarper(wish.top_p)(None, scores)
    wanted = torch.softmax(scores, -1)[0].numpy()
    tokens, shares = sampling.distribution(LOGITS, wish)
    found = np.zeros(len(LOGITS))
    found[tokens] = shares
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert ((found > 0) == (wanted > 0)).all()


@pytest.mark.parametrize("wish", [dict(temperature=0.7), dict(temperature=1.5, top_p=0.9, top_k=30)])
@pytest.mark.parametrize("by", ["seed", "position"])
def test_draws_follow_the_distribution(wish, by):
    """Over seeds and over positions: a χ² test on the likeliest ten and the rest."""
    drawn = [
        sampling.choose(
            LOGITS, Sampling(**wish, seed=index if by == "seed" else 5), 9 if by == "seed" else index
        )
        for index in range(4000)
    ]
    tokens, shares = sampling.distribution(LOGITS, Sampling(**wish))
    best = np.argsort(-shares)[:10]
    counts = [drawn.count(token) for token in tokens[best]]
    wanted = [*shares[best] * len(drawn), (1 - shares[best].sum()) * len(drawn)]
    assert stats.chisquare([*counts, len(drawn) - sum(counts)], wanted).pvalue > 1e-3
    assert set(drawn) <= set(tokens.tolist())


def test_a_draw_is_a_function_of_seed_and_position():
    draws = {
        (seed, position): sampling.choose(LOGITS, Sampling(2.0, seed=seed), position)
        for seed in (0, 1, 2**40, -1)
        for position in range(30)
    }
    for (seed, position), token in draws.items():
        assert token == sampling.choose(LOGITS, Sampling(2.0, seed=seed), position)
    for seed in (0, 1, 2**40, -1):
        assert len({draws[seed, position] for position in range(30)}) > 15
    rows = [[draws[seed, position] for position in range(30)] for seed in (0, 1, 2**40, -1)]
    assert max(np.mean(np.equal(a, b)) for a in rows for b in rows if a is not b) < 0.3


def test_greedy_needs_no_luck():
    assert {sampling.choose(LOGITS, Sampling(0, 0.5, 3, seed), seed) for seed in range(5)} == {
        LOGITS.argmax()
    }


def test_equal_logits():
    """Ties at the edge of top_k stay, as in transformers; nothing is drawn outside, even at the last edge."""
    flat = np.zeros(50, np.float32)
    assert len(sampling.distribution(flat, Sampling(1.0, top_k=5))[0]) == 50
    assert len(sampling.distribution(flat, Sampling(1.0, top_p=0.5))[0]) == 25
    assert {sampling.choose(flat, Sampling(1.0, seed=seed), 0) for seed in range(600)} == set(range(50))
