"""The measures on sets for which the answer is known."""

import numpy as np
import pytest

from diffusion_image_gen import evaluation, pictures
from diffusion_image_gen.settings import Wish
from tf_study import diffusion


def points(seed, count, mean=0.0, scale=1.0, width=4):
    return np.random.default_rng(seed).normal(mean, scale, (count, width)).astype(np.float32)


def test_precision_and_recall_of_known_sets():
    real = points(0, 400)
    same = evaluation.precision_recall(real, points(1, 400))
    assert min(same) > 0.85
    assert evaluation.precision_recall(real, real) == (1, 1)
    assert evaluation.precision_recall(real, points(1, 400, mean=20)) == (0, 0)
    narrow = evaluation.precision_recall(real, points(1, 400, scale=0.1))
    assert narrow[0] > 0.95 and narrow[1] < 0.2  # all of it true, little of the truth
    wide = evaluation.precision_recall(real, points(1, 400, scale=5))
    assert wide[0] < 0.2 and wide[1] > 0.5


def test_precision_by_the_definition():
    real, drawn = points(0, 60, width=2), points(1, 50, mean=2, width=2)

    def share(inside, around, k=3):
        found = 0
        for point in inside:
            gaps = np.linalg.norm(around - point, axis=1)
            radii = [np.sort(np.linalg.norm(around - other, axis=1))[k] for other in around]
            found += any(gap <= radius for gap, radius in zip(gaps, radii, strict=True))
        return found / len(inside)

    wanted = share(drawn, real), share(real, drawn)
    assert evaluation.precision_recall(real, drawn) == pytest.approx(wanted)
    assert 0.2 < min(wanted) < max(wanted) < 0.97  # where another k gives another share


def test_bootstrap_is_the_spread_of_repetitions():
    real = points(0, 4000)
    repeated = np.std([diffusion.frechet(points(seed, 200, mean=1), real) for seed in range(1, 41)])
    guessed = np.mean(
        [diffusion.frechet_error(points(seed, 200, mean=1), real, seed) for seed in range(1, 6)]
    )
    assert guessed == pytest.approx(repeated, rel=0.35)


def test_neighbours_and_copies():
    train = points(0, 50, width=64).reshape(50, 8, 8, 1)
    rows, distances = evaluation.neighbours(train[[7, 3]] + 0.01, train)
    assert rows.tolist() == [7, 3]
    np.testing.assert_allclose(distances, 0.01, rtol=1e-3)


class Copier:
    """Draws training pictures, one class right and the other wrong."""

    def __init__(self, data):
        self.data = data

    def draw(self, labels, seeds, wish):
        return np.stack([self.data.train[0] for label in labels])


def test_a_model_that_copies_is_found_out(folder, evaluated):
    data = pictures.load(str(folder), 8)
    judge = evaluation.load_judge(evaluated[0], data)
    numbers = evaluation.evaluate(Copier(data), evaluation.Yardstick(data, judge), Wish(), 20).numbers
    assert numbers["copies"] == 1 and numbers["judge"] == 1
    assert numbers["accuracy"] < 0.9 and numbers["recall"] < 0.2
    assert numbers["distance"] > 5 * numbers["floor"]
