"""What each part of the transformer is worth: it is left out, and the model trained again, with several seeds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mini_sora_dit import evaluation, training
from mini_sora_dit.clips import Digits
from mini_sora_dit.settings import WITHOUT, Settings, Wish
from tf_study import cli, plots

COUNT = 80  # clips that are judged
HELD = 256  # clips of the loss
WISH = Wish("euler", 8, 2.0)
VARIANTS = {"": "모두 있음"} | WITHOUT
MEASURES = {
    "loss": "손실",
    "accuracy": "정확도",
    "same": "같은 숫자",
    "motion": "움직임 오차",
    "direction": "방향",
}


def run(output: Path, seeds: int, base: Settings) -> Iterator[str]:
    """Train every variant with every seed on moving digits; yield the scores, then a table of means and ranges.

    Writes ablation.json and ablation.png into ``output``.

    Args:
        base: settings of all models but for seed and what is left out; the autoencoder is the course's.
    """
    data = Digits(base.side, base.frames)
    autoencoder = training.ready_autoencoder(data, base)
    real, labels = data.held_out(COUNT)
    judge = evaluation.Judge()
    held = held_out_loss(data, autoencoder)
    found: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    for seed in range(seeds):
        for without in VARIANTS:
            settings = Settings(**(base.as_json() | {"seed": seed, "without": without}))
            stage = training.TransformerStage(data, settings, autoencoder)
            for _ in range(base.steps):
                stage.step()
            drawn = stage.animator.draw(labels, range(COUNT), WISH)
            scores = {"loss": held(stage.average)} | judge.score(drawn, labels)
            found[without].append(scores)
            told = "  ".join(f"{title} {scores[name]:.3f}" for name, title in MEASURES.items())
            yield f"시드 {seed}  {VARIANTS[without]}: {told}"
    evaluation.write_json(output / "ablation.json", {"settings": base.as_json(), "found": found})
    evaluation.write_figure(output / "ablation.png", draw(found))
    rows = [("모델", *MEASURES.values())]
    for without, scores in found.items():
        rows.append((VARIANTS[without], *(spread([row[name] for row in scores]) for name in MEASURES)))
    yield cli.table(rows)
    yield f"{output / 'ablation.json'}\n{output / 'ablation.png'}"


def held_out_loss(data: Digits, autoencoder):
    """Return a function that gives the flow-matching loss of a transformer, always on the same clips, times and noise."""
    clips, labels = data.held_out(HELD)
    clean = autoencoder.encode(clips)
    t = tf.random.stateless_uniform((HELD,), (5, 0))
    noise = tf.random.stateless_normal(clean.shape, (5, 1))
    known = tf.cast(tf.range(HELD) % 2, tf.float32)

    def loss(model) -> float:
        return float(tf.reduce_mean(training.flow_errors(model, clean, labels, known, t, noise)))

    return loss


def spread(values: list[float]) -> str:
    """Return the mean, and the least and largest value."""
    return f"{np.mean(values):.3f} ({min(values):.3f}~{max(values):.3f})"


def draw(found: dict[str, list[dict]]) -> Figure:
    """Return a figure with a point for every seed, measure by measure."""
    plots.use_style()
    names = ("loss", "accuracy", "motion", "direction")
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 4, sharey=True), names, strict=True):
        for place, scores in enumerate(found.values()):
            values = [row[name] for row in scores]
            axis.plot(values, [place] * len(values), "o", color=f"C{place}", alpha=0.6)
            axis.plot([np.mean(values)], [place], "|", color=f"C{place}", markersize=18)
        axis.set_yticks(range(len(found)), [VARIANTS[name] for name in found])
        axis.set(
            title=MEASURES[name] + (" (픽셀)" if name == "motion" else ""), ylim=(len(found) - 0.5, -0.5)
        )
    return figure
