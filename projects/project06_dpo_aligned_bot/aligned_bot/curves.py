"""The curves of a training's log as a picture."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tf_study import cli, plots

PANELS = (  # title, what of each step, what of the held-out rows; a panel without either is not drawn
    ("손실", "loss", None),
    ("선호 정확도", "accuracy", "accuracy"),
    ("보상 차이 (margin)", "margin", "margin"),
    ("토큰마다 KL(학습한 모델‖기준 모델)", None, "kl"),
    ("고른 답의 NLL", None, "nll"),
)


def draw(lines: Sequence[dict], path: Path) -> None:
    """Draw one panel for each thing that was logged, over the steps."""
    plots.use_style()
    steps = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "held_out" in line]
    panels = [panel for panel in PANELS if _has(steps, panel[1]) or _has_held_out(held_out, panel[2])]
    figure = Figure(figsize=(3.6 * len(panels), 3), layout="constrained")
    for (title, own, watched), axes in zip(
        panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True
    ):
        if _has(steps, own):
            axes.plot(
                [line["step"] for line in steps], [line[own] for line in steps], lw=1, label="학습할 배치"
            )
        if _has_held_out(held_out, watched):
            places = [line["step"] for line in held_out]
            axes.plot(
                places, [line["held_out"][watched] for line in held_out], "o--", ms=4, label="평가할 데이터"
            )
        axes.set(title=title, xlabel="스텝")
        if own and watched:
            axes.legend()
    cli.write(path, lambda part: figure.savefig(part, format="png", dpi=110))


def _has(lines: Sequence[dict], name: str | None) -> bool:
    return any(name in line for line in lines)


def _has_held_out(lines: Sequence[dict], name: str | None) -> bool:
    return any(name in line["held_out"] for line in lines)
