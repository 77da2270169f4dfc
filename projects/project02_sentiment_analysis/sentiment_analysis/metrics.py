"""Numbers that say how good a classifier is, and how sure of that one may be. Plain arrays in, plain numbers out."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

BINS = 10


@dataclass(frozen=True)
class Share:
    """A share of right answers with the ends of its 95 % Wilson interval."""

    right: int
    count: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.right / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson (1927), "Probable inference, the law of succession, and statistical inference"."""
        if not self.count:
            return 0.0, 1.0
        found = stats.binomtest(self.right, self.count).proportion_ci(0.95, "wilson")
        return float(found.low), float(found.high)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return it for a JSON file, which has no NaN."""
        low, high = self.interval
        return {"value": self.value if self.count else None, "low": low, "high": high, "count": self.count}


def share(right: np.ndarray) -> Share:
    """Count right answers (N,) of bool."""
    return Share(int(np.sum(right)), len(right))


@dataclass(frozen=True)
class Calibration:
    """``error`` is the expected calibration error; ``rows`` holds, for each bin with answers, their count, mean
    confidence and share of right ones."""

    error: float
    rows: list[tuple[int, float, float]]


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Compare how sure the answers are with how often they are right.

    Args:
        probabilities: (N, classes), rows add up to one.
        labels: (N,) of int.
        bins: of equal width between 0 and 1.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", equations 2 and 3.
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    numbers = np.minimum((sure * bins).astype(int), bins - 1)
    rows = [
        (int(inside.sum()), float(sure[inside].mean()), float(right[inside].mean()))
        for inside in (numbers == number for number in range(bins))
        if inside.any()
    ]
    gaps = sum(count * abs(confidence - accuracy) for count, confidence, accuracy in rows)
    return Calibration(gaps / len(labels), rows)


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of labels (N,) under softmax(logits / temperature), in nat."""
    scaled = special.log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-scaled[np.arange(len(labels)), labels].mean())


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature between 0.05 and 20 that makes the labels most likely; no answer changes by it.

    Args:
        logits: (N, classes) of texts that were not trained on.
        labels: (N,) of int.

    Source: Guo et al. (2017), section 4.2.
    """
    found = optimize.minimize_scalar(
        lambda log: loss(logits, labels, np.exp(log)), bounds=np.log([0.05, 20]), method="bounded"
    )
    return float(np.exp(found.x))


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int, float]:
    """Compare two classifiers on the same texts by what only one of them answers right.

    Args:
        ours: (N,) of bool, right answers of the first.
        theirs: (N,) of bool, right answers of the second.

    Returns:
        The texts that only the first, and only the second answers right, and the two-sided exact p-value.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions".
    """
    first, second = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    if not first + second:
        return 0, 0, 1.0
    return first, second, float(stats.binomtest(first, first + second).pvalue)
