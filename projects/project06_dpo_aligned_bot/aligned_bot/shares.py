"""Shares with their intervals. Questions that are one question in several dresses count as one."""

from collections.abc import Callable, Hashable, Sequence
from math import comb, sqrt

import numpy as np


def share(hits: Sequence[float], groups: Sequence[Hashable] | None = None) -> dict[str, float] | None:
    """Return the mean of hits and its 95 % interval (Wilson 1927); ``None`` of none.

    Args:
        hits: 1 or True for a hit, 0.5 for half of one.
        groups: what each belongs to. The interval is that of as many independent hits as there are groups, which
            is too wide rather than too narrow.
    """
    if not len(hits):
        return None
    count = len(set(groups)) if groups is not None else len(hits)
    z, p = 1.959964, float(np.mean(hits))
    middle, half = p + z * z / (2 * count), z * sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return {"share": p, "low": max(0.0, low), "high": min(1.0, high), "count": len(hits), "groups": count}


def bootstrap(
    statistic: Callable[[np.ndarray], float], groups: Sequence[Hashable], seed: int = 0, draws: int = 400
) -> dict[str, float]:
    """Return a statistic of rows and its 95 % interval from groups of rows drawn again.

    Args:
        statistic: the numbers of rows → a value.
        groups: what each row belongs to.
        seed: of the drawing.
        draws: how often.
    """
    places = {}
    for number, group in enumerate(groups):
        places.setdefault(group, []).append(number)
    members, random = list(places.values()), np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        drawn = random.integers(0, len(members), len(members))
        values.append(statistic(np.concatenate([members[number] for number in drawn])))
    low, high = np.quantile(values, [0.025, 0.975])
    whole = float(statistic(np.arange(len(groups))))
    return {
        "share": whole,
        "low": float(low),
        "high": float(high),
        "count": len(groups),
        "groups": len(members),
    }


def at_least_once(hits: int, tries: int, draws: int) -> float:
    """Return how likely one of ``draws`` tries, taken from ``tries`` of which ``hits`` hit, is a hit.

    The estimate without bias of Chen et al. (2021, arXiv:2107.03374), there for programs that pass.
    """
    return 1 - comb(tries - hits, draws) / comb(tries, draws)
