"""How many samples are taken, and in which order."""

import numpy as np

from tf_study.errors import StudyError


def amount(count: int | None, available: int, what: str) -> int:
    """Return how many samples to take; ``None`` means all.

    Raises:
        StudyError: if ``count`` is negative or larger than ``available``.
    """
    if count is None:
        return available
    if not 0 <= count <= available:
        raise StudyError(
            f"{what} 데이터는 {available:,}개이니 {count:,}개 대신 0개부터 {available:,}개까지로 정하세요."
        )
    return count


def balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random order in which every beginning holds each class in its share of the whole.

    Args:
        labels: shape (N,).
        rng: decides the order.

    Returns:
        A permutation, int64 (N,).
    """
    shuffled = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(place, kind="stable")]
