"""What each part of the transformer is worth: it is left out, and the model trained again, with several seeds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mini_sora_dit import evaluation, training
from mini_sora_dit.clips import Square
from mini_sora_dit.settings import WITHOUT, Settings, Wish
from tf_study import cli, plots
from tf_study.models.causal_vae import CausalAutoencoder

COUNT = 80  # clips that are judged
HELD = 256  # clips of the loss
WISH = Wish("euler", 8, 2.0)
VARIANTS = {"": "모두 있음"} | WITHOUT
MEASURES = {"loss": "손실", "motion": "움직임 오차", "direction": "방향"}


def run(output: Path, seeds: int, base: Settings) -> Iterator[str]:
    """Train every variant with every seed on the moving square; yield the scores, then a table of means and ranges.

    All share one autoencoder. Writes ablation.json and ablation.png into ``output``.

    Args:
        base: settings of all models but for seed and what is left out.
    """
    data = Square(base.side, base.frames)
    real, labels = data.held_out(COUNT)
    found: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    first = training.AutoencoderStage(data, base)
    _take(first)
    first.measure()
    held = held_out_loss(data, first.model)
    again = np.clip(first.model(real), -1, 1)
    for name, clips in (("진짜 네모", real), ("오토인코더로 되살린 네모", again)):
        yield f"{name}: {_told(evaluation.crossing(clips, labels))}"
    for seed in range(seeds):
        for without in VARIANTS:
            settings = replace(base, seed=seed, without=without)
            stage = training.TransformerStage(data, settings, first.model)
            _take(stage)
            drawn = stage.animator.draw(labels, range(COUNT), WISH)
            scores = {"loss": held(stage.average)} | evaluation.crossing(drawn, labels)
            found[without].append(scores)
            yield f"시드 {seed}  {VARIANTS[without]}: {_told(scores)}"
    evaluation.write_json(output / "ablation.json", {"settings": base.as_json(), "found": found})
    evaluation.write_figure(output / "ablation.png", draw(found))
    rows = [("모델", *MEASURES.values())]
    for without, scores in found.items():
        rows.append((VARIANTS[without], *(spread([row[name] for row in scores]) for name in MEASURES)))
    yield cli.table(rows)
    yield f"{output / 'ablation.json'}\n{output / 'ablation.png'}"


def _take(stage: training.Stage) -> None:
    while len(stage.losses) < stage.steps:
        stage.step()


def _told(scores: dict[str, float]) -> str:
    return "  ".join(f"{MEASURES[name]} {value:.3f}" for name, value in scores.items())


def held_out_loss(data: Square, autoencoder: CausalAutoencoder) -> Callable[[keras.Model], float]:
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
    names = tuple(MEASURES)
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, 3, sharey=True), names, strict=True):
        for place, scores in enumerate(found.values()):
            values = [row[name] for row in scores]
            axis.plot(values, [place] * len(values), "o", color=f"C{place}", alpha=0.6)
            axis.plot([np.mean(values)], [place], "|", color=f"C{place}", markersize=18)
        axis.set_yticks(range(len(found)), [VARIANTS[name] for name in found])
        axis.set(
            title=MEASURES[name] + (" (픽셀)" if name == "motion" else ""), ylim=(len(found) - 0.5, -0.5)
        )
    return figure
