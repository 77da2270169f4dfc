"""How good pictures are, seen with a classifier's features: distance, precision and recall, copies.

The classifier is a small one for the model's own pictures, so the distances are no published FIDs; compare them only
with distances of as many pictures from the same classifier.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from diffusion_image_gen import storage
from diffusion_image_gen.pictures import Pictures
from diffusion_image_gen.sampling import Painter
from diffusion_image_gen.settings import Wish
from tf_study import cli, diffusion, model_folder, optimizers
from tf_study import pictures as files
from tf_study.environment import seed_everything

EPOCHS, BATCH = 8, 64  # of the classifier
NEIGHBOURS = 3  # whose distance is the radius of a point's surroundings (Kynkäänniemi et al. 2019)
COPY_QUANTILE = 0.01  # of held-out pictures' distances to the training set; nearer ones count as copies
SHOWN = 10  # pictures in the figure of neighbours


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    ``numbers``: by name, as they go to report.json. ``drawn``: pictures with ``labels``. ``nearest``: rows of the
    training pictures that are nearest to them, ``distances``: root mean squares of the difference.
    """

    numbers: dict[str, float]
    drawn: np.ndarray
    labels: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray


def load_judge(folder: Path | None, pictures: Pictures) -> diffusion.Classifier:
    """Return the classifier for a model's pictures; the first time it is trained, and kept in the model's folder."""
    if folder is None:
        return diffusion.load_classifier()
    card = storage.read_card(folder)
    judge = diffusion.Classifier(card["side"], len(card["classes"]), card["channels"])
    if storage.JUDGE in card["files"]:
        model_folder.load_weights(judge, folder, card, storage.JUDGE)
        return judge
    train_judge(judge, pictures)
    model_folder.write_npz(folder / storage.JUDGE, (np.asarray(weight) for weight in judge.weights))
    storage.write_card(folder, card)
    return judge


def train_judge(judge: diffusion.Classifier, pictures: Pictures, epochs: int = EPOCHS) -> None:
    """Train a new classifier on the training pictures."""
    seed_everything(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    judge.compile(optimizers.Adam(2e-3), loss=[None, loss])
    answers = [np.zeros(len(pictures.labels), np.float32), pictures.labels]
    judge.fit(pictures.train, answers, batch_size=BATCH, epochs=epochs, verbose=0)


def look(judge: diffusion.Classifier, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, H, W, C) → features (N, 64) and labels guessed (N,)."""
    parts = [judge(pictures[begin : begin + 500]) for begin in range(0, len(pictures), 500)]
    features, logits = (np.concatenate([part[k] for part in parts]) for k in range(2))
    return features, logits.argmax(1)


class Yardstick:
    """What drawn pictures are compared with: the features of real ones, and how near real ones come to each other."""

    def __init__(self, pictures: Pictures, judge: diffusion.Classifier):
        self.pictures, self.judge = pictures, judge
        self.real, _ = look(judge, pictures.train)
        self.held, guesses = look(judge, pictures.test)
        self.accuracy = float((guesses == pictures.test_labels).mean())
        _, distances = neighbours(pictures.test, pictures.train)
        self.copied = float(np.quantile(distances, COPY_QUANTILE))


def evaluate(painter: Painter, yardstick: Yardstick, wish: Wish, count: int, seed: int = 0) -> Report:
    """Draw ``count`` pictures, every class as often as in the training set, and measure them.

    Numbers: ``accuracy``, share that the classifier takes for the class asked for, and ``judge`` its own on held-out
    pictures; ``distance`` (Frechet) to the training set and ``error``, its standard error by bootstrap; ``floor``, the
    distance of as many held-out pictures; ``precision`` and ``recall``; ``copies``, the share of pictures nearer to a
    training picture than all but 1% of the held-out ones are.
    """
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(yardstick.pictures.labels, count))
    drawn = painter.draw(labels, list(range(seed, seed + count)), wish)
    features, guesses = look(yardstick.judge, drawn)
    real, held = yardstick.real, yardstick.held
    precision, recall = precision_recall(real[rng.permutation(len(real))[:count]], features)
    nearest, distances = neighbours(drawn, yardstick.pictures.train)
    numbers = {
        "accuracy": float((guesses == labels).mean()),
        "judge": yardstick.accuracy,
        "distance": diffusion.frechet(features, real),
        "error": diffusion.frechet_error(features, real, seed),
        "floor": diffusion.frechet(held[rng.permutation(len(held))[:count]], real),
        "precision": precision,
        "recall": recall,
        "copies": float((distances < yardstick.copied).mean()),
    }
    return Report(numbers, drawn, labels, nearest, distances)


def precision_recall(real: np.ndarray, drawn: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return the shares of drawn features near real ones, and of real ones near drawn ones.

    Near means inside the ball around some point of the other set that reaches to its ``k``-th neighbour there
    (Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2). Sets of equal sizes are comparable.
    """
    between = _distances(drawn, real)  # (drawn, real)
    near_real = between <= np.sort(_distances(real, real), axis=1)[:, k]  # column 0 is the point itself
    near_drawn = between.T <= np.sort(_distances(drawn, drawn), axis=1)[:, k]
    return float(near_real.any(1).mean()), float(near_drawn.any(1).mean())


def neighbours(drawn: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every picture the row of the nearest training picture and the root mean square difference."""
    flat, known = drawn.reshape(len(drawn), -1), train.reshape(len(train), -1)
    found = [_distances(flat[begin : begin + 256], known) for begin in range(0, len(flat), 256)]
    rows = np.concatenate([part.argmin(1) for part in found])
    # The row is found by an expansion that loses digits; the distance itself is not.
    return rows, np.sqrt(((flat - known[rows]) ** 2).mean(1))


def save(report: Report, train: np.ndarray, output: Path) -> list[Path]:
    """Write report.json, the pictures, and the ones nearest to the training set above their neighbours."""
    text = json.dumps(report.numbers, ensure_ascii=False, indent=1)
    cli.write_text(output / "report.json", text)
    files.write(output / "pictures.png", files.png(files.grid(report.drawn[:200], 20)))
    rows = np.argsort(report.distances)[:SHOWN]
    pairs = np.concatenate([report.drawn[rows], train[report.nearest[rows]]])
    files.write(output / "neighbours.png", files.png(files.grid(pairs, len(rows))))
    return [output / name for name in ("report.json", "pictures.png", "neighbours.png")]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of all rows of a (N, D) and b (M, D), as (N, M)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)
