"""Near-duplicates: which texts say, but for a few syllables, what an earlier one says.

The rule looks at two texts at a time, so that one machine and many agree: a text is dropped if an earlier one, in the
reading order, shares a band of MinHash with it and the exact Jaccard similarity of their sets of syllable triples
reaches the threshold. MinHash only finds whom to compare; what it misses stays.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import google_crc32c
import numpy as np

PERMUTATIONS, SEED = 64, 1
FALSE_WEIGHTS = (0.1, 0.9)  # A pair found in vain costs a comparison, a pair missed stays.


def letters(text: str) -> str:
    """Return what of a cleaned text is compared: no case, blanks or marks, unless there is nothing else."""
    return re.sub(r"[\W_]+", "", text).casefold() or text


def triples(text: str) -> set[str]:
    """Return the triples of syllables of :func:`letters`; a shorter text is its own only one."""
    return {text[place : place + 3] for place in range(len(text) - 2)} or {text}


def jaccard(one: str, other: str) -> float:
    """Return the similarity of the :func:`triples` of two texts, of :func:`letters` both."""
    first, second = triples(one), triples(other)
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def fingerprint(text: str) -> bytes:
    """Return 16 bytes that are equal for texts of equal triples."""
    return hashlib.blake2b("\n".join(sorted(triples(text))).encode(), digest_size=16).digest()


def bands(texts: Sequence[str], threshold: float) -> np.ndarray:
    """Return the bands of MinHash, uint64 (N, bands): two texts share a band if the numbers in a column are equal.

    Args:
        texts: of :func:`letters`.
        threshold: their similarity from which most pairs should share one.
    """
    from datasketch import MinHash

    count, rows = shape(threshold)
    hashed = MinHash.bulk(
        [[triple.encode() for triple in triples(text)] for text in texts],
        num_perm=PERMUTATIONS, seed=SEED, hashfunc=google_crc32c.value,
    )  # fmt: skip
    values = np.array([one.hashvalues for one in hashed], np.uint64).reshape(len(texts), PERMUTATIONS)
    values = values[:, : count * rows].reshape(len(texts), count, rows)
    mixed = np.zeros((len(texts), count), np.uint64)
    for row in range(rows):
        mixed = (mixed ^ values[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


@lru_cache
def shape(threshold: float) -> tuple[int, int]:
    """Return how many bands of how many numbers suit a threshold."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=FALSE_WEIGHTS)
    return index.b, index.r


def earliest(
    bucket: Sequence[tuple], threshold: float, letters_of: Callable[[tuple], str]
) -> Iterable[tuple]:
    """Yield for the members of a bucket, sorted by order, that have an earlier one alike, both: (later, earlier)."""
    for place, later in enumerate(bucket):
        text = letters_of(later)
        for earlier in bucket[:place]:
            if jaccard(text, letters_of(earlier)) >= threshold:
                yield later, earlier
                break


def find(
    fingerprints: np.ndarray, banded: np.ndarray, threshold: float, letters_of: Callable[[int], str]
) -> dict[int, int]:
    """Return which texts are dropped, each with the earliest one that is alike; both by number.

    Args:
        fingerprints: of each text in the reading order, uint64 (N, 2).
        banded: what :func:`bands` returns, (N, bands).
        threshold: similarity from which a text is dropped.
        letters_of: returns the letters of a text by its number.
    """
    _, first, inverse = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    own = first[inverse.reshape(-1)]  # the first of those with the same triples: only these are compared
    dropped: dict[int, int] = {}
    unique = np.sort(first)
    for column in banded[unique].T:
        order = np.argsort(column, kind="stable")
        starts = np.flatnonzero(np.diff(column[order])) + 1
        for bucket in np.split(order, starts):
            if len(bucket) > 1:
                members = [(int(number),) for number in unique[bucket]]
                for (later,), (earlier,) in earliest(
                    members, threshold, lambda member: letters_of(member[0])
                ):
                    dropped[later] = min(earlier, dropped.get(later, earlier))
    repeats = np.flatnonzero(own != np.arange(len(own)))
    return dropped | {int(n): dropped.get(int(own[n]), int(own[n])) for n in repeats}
