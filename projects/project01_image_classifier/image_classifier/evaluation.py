"""Measures a model: report, confusion matrix, worst mistakes, and the formats against one another."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import classification_report, confusion_matrix

from image_classifier import dataset, storage
from image_classifier.dataset import Folder
from image_classifier.prediction import Predictor
from tf_study import cli, plots
from tf_study.errors import StudyError


@dataclass(frozen=True)
class Result:
    """What a model made of pictures: ``probabilities`` (N, classes), ``matrix`` (classes, classes) with a
    row per true class, ``report`` as scikit-learn's dictionary and ``text`` as its table."""

    probabilities: np.ndarray
    matrix: np.ndarray
    report: dict
    text: str

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(np.trace(self.matrix) / self.matrix.sum())


def test_part(card: dict, root: Path | None = None) -> Folder:
    """Return pictures to measure with: a whole folder, or the test part of the training folder.

    Args:
        card: of a finished model.
        root: a folder of classes; ``None`` takes the pictures that training put aside.

    Raises:
        StudyError: if the folder is missing, has no readable picture or has a class unknown to the model.
    """
    if root is not None:
        return dataset.scan(root, card["side"], card["classes"])
    home = Path(card["data"])
    if not os.path.isdir(home):
        raise StudyError(f"학습한 그림 폴더 {home}이(가) 없으니 평가할 폴더를 모델폴더 뒤에 주세요.")
    return dataset.load(home, card["split"]["test"], card["side"], card["classes"])


def evaluate(predictor: Predictor, folder: Folder) -> Result:
    """Classify all pictures of a folder and count."""
    probabilities = predictor.predict(folder.pictures)
    names, guesses = list(folder.classes), probabilities.argmax(axis=1)
    numbers = range(len(names))
    options = {"labels": numbers, "target_names": names, "zero_division": 0}
    return Result(
        probabilities,
        confusion_matrix(folder.labels, guesses, labels=numbers),
        classification_report(folder.labels, guesses, output_dict=True, **options),
        classification_report(folder.labels, guesses, digits=3, **options),
    )


def worst(result: Result, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of wrong answers, the surest first, at most ``count``."""
    wrong = np.flatnonzero(result.probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-result.probabilities[wrong].max(axis=1), kind="stable")][:count]


def save(result: Result, folder: Folder, output: Path, count: int = 15) -> list[Path]:
    """Write ``report.json``, ``confusion.png`` and, if there are mistakes, ``mistakes.png``.

    Raises:
        StudyError: if a file cannot be written.
    """
    classes, rows = folder.classes, worst(result, folder.labels, count)
    guesses, sure = result.probabilities.argmax(axis=1), result.probabilities.max(axis=1)
    mistakes = [
        {
            "file": folder.files[row],
            "truth": classes[folder.labels[row]],
            "guess": classes[guesses[row]],
            "probability": float(sure[row]),
        }
        for row in rows
    ]
    summary = {"accuracy": result.accuracy, "report": result.report, "matrix": result.matrix.tolist()}
    summary |= {"mistakes": mistakes, "skipped": folder.skipped}
    storage.write_json(output / "report.json", summary)
    size = 2 + 0.6 * len(classes)
    _, axis = plt.subplots(figsize=(size + 1, size))
    plots.heatmap(
        result.matrix, title="혼동 행렬 (장)", xlabel="예측", ylabel="정답", xticks=classes, yticks=classes,
        fmt="d", colorbar=False, ax=axis,
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=30)
    paths = [output / "report.json", _write_figure(axis.figure, output / "confusion.png")]
    if mistakes:
        titles = [f"{item['truth']}\n→ {item['guess']} {item['probability']:.2f}" for item in mistakes]
        axes = plots.image_grid(
            folder.pictures[rows], titles, columns=5, size=1.3, title="자신 있게 틀린 그림"
        )
        paths.append(_write_figure(axes[0, 0].figure, output / "mistakes.png"))
    return paths


def compare(predictors: Mapping[str, Predictor], folder: Folder) -> dict[str, dict[str, float]]:
    """Measure formats against the first of them.

    Returns:
        format → ``accuracy``; ``agreement``, share of pictures with the first format's answer; and
        ``latency``, the median time in milliseconds for one prepared picture.
    """
    rows, reference = {}, None
    for name, predictor in predictors.items():
        guesses = predictor.predict(folder.pictures).argmax(axis=1)
        reference = guesses if reference is None else reference
        rows[name] = {
            "accuracy": float((guesses == folder.labels).mean()),
            "agreement": float((guesses == reference).mean()),
            "latency": latency(predictor, folder.pictures[:1]),
        }
    return rows


def latency(predictor: Predictor, batch: np.ndarray, repeats: int = 50) -> float:
    """Return the median time of one call in milliseconds, after five to warm up.

    Args:
        batch: prepared pictures, uint8 (B, side, side, 3).
    """
    times = []
    for _ in range(repeats + 5):
        start = time.perf_counter()
        predictor.run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[5:]))


def _write_figure(figure, path: Path) -> Path:
    cli.write(path, lambda part: figure.savefig(part, format="png"))
    plt.close(figure)
    return path
