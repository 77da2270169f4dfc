"""How good clips of moving digits are: the digit in every frame, one digit throughout, the physics, a distance.

The judge is the course's own, ``tf_study.video.Judge``. The distance is the Frechet distance of its features and of their
changes over time: no published FVD, whose features come from a network trained on real films. Compare it only with
distances of as many clips from this judge.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mini_sora_dit import clips as films
from mini_sora_dit.clips import Digits
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import SOLVERS, Wish
from tf_study import cli, diffusion, plots, video
from tf_study import pictures as files
from tf_study.errors import StudyError

REFERENCE = 600  # training clips that distances are measured to
SHOWN = 10
NAMES = {
    "psnr": "PSNR",
    "accuracy": "정확도",
    "same": "같은 숫자",
    "motion": "움직임 오차",
    "direction": "방향",
    "distance": "프레셰 거리",
}
ROWS = {
    "real": "진짜 테스트 영상",
    "shuffled": "프레임을 섞은 진짜",
    "again": "오토인코더로 되살린 진짜",
    "drawn": "생성한 영상",
    "begun": "첫 프레임을 주고 생성",
}


class Judge:
    """The course's judge, for frames of 16 pixels and of multiples of them."""

    def __init__(self):
        self.judge = video.Judge()

    def score(self, clips: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return accuracy, same, motion (in pixels of a frame of 16) and direction of clips (N, T, H, W, 1)."""
        return self.judge.score(shrink(clips), labels)

    def features(self, clips: np.ndarray) -> np.ndarray:
        """Clips (N, T, H, W, 1) → what their frames look like and how much that changes in a frame, (N, 128).

        The window stands still, so that the features change when the digit moves.
        """
        edge = (video.SIDE - video.CROP) // 2
        windows = shrink(clips)[:, :, edge:-edge, edge:-edge]
        flat = windows.reshape(-1, *windows.shape[2:])
        parts = [self.judge.classifier(flat[i : i + 1000])[0] for i in range(0, len(flat), 1000)]
        seen = np.concatenate(parts).reshape(*clips.shape[:2], -1)
        return np.concatenate([seen.mean(1), np.abs(np.diff(seen, axis=1)).mean(1)], -1)


def shrink(clips: np.ndarray) -> np.ndarray:
    """Average clips (N, T, H, W, C) down to frames of 16 pixels."""
    count, frames, side = clips.shape[:3]
    factor = side // video.SIDE
    return clips.reshape(count, frames, video.SIDE, factor, video.SIDE, factor, -1).mean(
        (3, 5), dtype=np.float32
    )


def psnr(clips: np.ndarray, wanted: np.ndarray) -> float:
    """Return the ratio of the largest possible signal, from -1 to 1, to the error, in decibels."""
    return float(10 * np.log10(4 / np.mean((clips - wanted) ** 2)))


def shuffled(clips: np.ndarray) -> np.ndarray:
    """Return clips with their frames in another order: the same pictures, no motion."""
    rng = np.random.default_rng(0)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def score(data, clips: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return what drawn clips (N, T, H, W, C) are worth, as far as their kind can be judged."""
    if data.source == films.MNIST:
        return Judge().score(clips, labels)
    return crossing(clips, labels) if data.source == films.SQUARE else {}


def crossing(clips: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return, for squares that are to cross the frame to the left (0) or right (1), labels (N, 1):

    ``direction``: share that ends more than a pixel from its start on the side asked for; ``motion``: the median of how
    far, in pixels, the middle strays from the best straight path of constant speed.
    """
    path = video.centroid(clips)  # (N, T, 2)
    time = np.linspace(-1, 1, path.shape[1])
    away = path - path.mean(1, keepdims=True)
    speed = np.einsum("t,nta->na", time, away) / (time**2).sum()
    stray = np.sqrt(((away - time[:, None] * speed[:, None]) ** 2).sum(2).mean(1))
    moved = (path[:, -1, 1] - path[:, 0, 1]) * (2 * labels[:, 0] - 1)
    return {"motion": float(np.median(stray)), "direction": float((moved > 1).mean())}


class Yardstick:
    """The judge, and the clips that drawn ones are compared with.

    Attributes:
        real, labels: clips of digits that training does not see.
        reference: features of training clips.

    Raises:
        StudyError: if the model does not draw moving digits.
    """

    def __init__(self, card: Mapping, count: int):
        if card["data"] != films.MNIST:
            raise StudyError("심판은 움직이는 숫자만 알아보니 mnist로 학습한 모델을 주세요.")
        data = Digits(card["side"], card["frames"])
        self.judge = Judge()
        self.real, self.labels = data.held_out(count)
        known, _ = data.batch(-1_000_003, REFERENCE)
        self.reference = self.judge.features(known.numpy())

    def measure(self, clips: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the scores of clips, their distance to training clips, and the standard error of it."""
        features = self.judge.features(clips)
        distance = diffusion.frechet(features, self.reference)
        error = diffusion.frechet_error(features, self.reference)
        return self.judge.score(clips, labels) | {"distance": distance, "error": error}


def evaluate(
    animator: Animator, yardstick: Yardstick, wish: Wish, seed: int = 0
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Return the scores of each of :data:`ROWS`, and the clips they were measured on.

    The clips drawn are asked for with the labels of the real ones.
    """
    real, labels = yardstick.real, yardstick.labels
    seeds = range(seed, seed + len(labels))
    clips = {
        "real": real,
        "shuffled": shuffled(real),
        "again": np.clip(animator.autoencoder(real), -1, 1),
        "drawn": animator.draw(labels, seeds, wish),
        "begun": animator.draw(labels, seeds, wish, real[:, 0]),
    }
    return {name: yardstick.measure(part, labels) for name, part in clips.items()}, clips


def sweep(animator: Animator, yardstick: Yardstick, steps: list[int], guidance: float, seed: int = 0) -> dict:
    """Return ``{solver: {steps: scores}}`` of clips drawn with the labels of the real ones."""
    labels = yardstick.labels
    seeds = range(seed, seed + len(labels))
    return {
        solver: {
            count: yardstick.measure(animator.draw(labels, seeds, Wish(solver, count, guidance)), labels)
            for count in steps
        }
        for solver in SOLVERS
    }


def lengths(animator: Animator, yardstick: Yardstick, frames: list[int], wish: Wish, seed: int = 0) -> dict:
    """Return ``{frames: scores}`` of the beginnings of clips as long as the longest; without the distance, whose
    reference clips have the length of the training.
    """
    labels = yardstick.labels
    longest = animator.draw(labels, range(seed, seed + len(labels)), replace(wish, frames=max(frames)))
    return {count: yardstick.judge.score(longest[:, :count], labels) for count in frames}


def save(numbers: dict, clips: dict[str, np.ndarray], output: Path) -> list[Path]:
    """Write report.json, and strips of real and drawn clips, one above the other."""
    write_json(output / "report.json", numbers)
    pairs = np.stack([clips["real"], clips["drawn"], clips["begun"]], 1)[:SHOWN]
    files.write(output / "clips.png", files.png(films.strips(pairs.reshape(-1, *pairs.shape[2:]))))
    return [output / "report.json", output / "clips.png"]


def write_json(path: Path, numbers: dict) -> None:
    """Write numbers in one step."""
    text = json.dumps(numbers, ensure_ascii=False, indent=1)
    cli.write_text(path, text)


def draw_sweep(found: dict, yardstick: Yardstick) -> Figure:
    """Return a figure of quality against steps, a line for each solver; the dashed line is that of real clips."""
    plots.use_style()
    figure = Figure(figsize=(9, 3), layout="constrained")
    floor = yardstick.measure(yardstick.real, yardstick.labels)
    for axis, name in zip(figure.subplots(1, 3), ("accuracy", "motion", "distance"), strict=True):
        for solver, rows in found.items():
            axis.plot(list(rows), [row[name] for row in rows.values()], marker="o", label=solver)
        axis.axhline(floor[name], linestyle="--", color="gray", label="진짜 영상")
        axis.set(title=NAMES[name] + (" (픽셀)" if name == "motion" else ""), xlabel="스텝", xscale="log")
        axis.set_xticks(list(rows), [str(count) for count in rows])
        axis.minorticks_off()
    axis.legend()
    return figure


def draw_training(progress: list[dict]) -> Figure:
    """Return a figure of the quality of the clips that training looked at, against its steps.

    Args:
        progress: that of a card; of it, what is said of the transformer.
    """
    plots.use_style()
    rows = [row for row in progress if row["stage"] == "transformer"]
    names = [name for name in NAMES if name in rows[0]]
    figure = Figure(figsize=(3 * len(names), 2.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.plot([row["step"] for row in rows], [row[name] for row in rows], marker="o", markersize=3)
        axis.set(
            title=NAMES[name] + (" (픽셀)" if name == "motion" else ""), xlabel="학습 스텝", ylim=(0, None)
        )
    return figure


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG in one step."""
    cli.write(path, lambda part: figure.savefig(part, format="png", dpi=110))
