"""Measures a model on reviews it has not seen, beside the baseline that counts, and sets its temperature."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import special
from sklearn.metrics import f1_score

from sentiment_analysis import baseline, dataset, metrics, model, slices, storage
from sentiment_analysis.dataset import Parts, Reviews
from sentiment_analysis.settings import CLASSES
from tf_study import cli

REPORT, FIGURE = "evaluation.json", "reliability.png"
SHOWN = 5  # confident mistakes in the terminal
LISTED = 30  # in the report


def run(options: argparse.Namespace) -> None:
    """Measure, print the tables, and write the report, the figure, and the temperature for the other commands."""
    subject = model.load(options.model, options.form)
    own = options.data is None
    parts = dataset.of_card(storage.read_card(options.model)) if own else dataset.read(options.data)
    if options.count:
        parts = _shortened(parts, options.count, options.seed)
    print(f"테스트 리뷰 {len(parts.test):,}개를 평가합니다.", flush=True)
    report = evaluate(subject, parts, options.seed)
    output = options.output or options.model / "evaluation"
    cli.write_text(output / REPORT, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    draw(report, output / FIGURE)
    print(tables(report))
    if own:  # Other reviews may be of another kind.
        text = json.dumps({"temperature": report["calibration"]["temperature"]})
        path = options.model / storage.CALIBRATION
        cli.write_text(path, text + "\n")
        print(f"온도를 {path}에 저장해 predict와 serve의 확률을 보정합니다.")
    print(f"보고서와 그림을 {output}에 저장했습니다.")


def evaluate(subject: model.Model, parts: Parts, seed: int = 0) -> dict:
    """Return everything measured, ready for a JSON file.

    Returns:
        ``accuracy``, ``f1`` (macro) of the model; ``baselines``: name → accuracy, ``only_model``, ``only_baseline``
        and ``p`` of McNemar's test; ``calibration``: ``temperature``, and ``before`` and ``after`` it the expected
        calibration error, the loss in nat and the rows of the diagram; ``slices``: rows of name, model, baseline,
        and for spoiled texts ``kept``, the share of answers that stay; ``mistakes``: the surest wrong answers.
    """
    test, validation = parts.test, parts.validation
    logits = subject.logits(test.texts)
    answers = logits.argmax(axis=1)
    right = answers == test.labels
    fitted = {
        "음절 1~3개": baseline.fit(parts.train.texts, parts.train.labels),
        "띄어 쓴 낱말": baseline.fit(parts.train.texts, parts.train.labels, words=True),
    }
    baselines = {}
    for name, rule in fitted.items():
        theirs = rule.predict(test.texts) == test.labels
        first, second, p = metrics.mcnemar(right, theirs)
        compared = {"only_model": first, "only_baseline": second, "p": p}
        baselines[name] = metrics.share(theirs).as_dict() | compared
    heat = metrics.temperature(subject.logits(validation.texts), validation.labels)
    probabilities = special.softmax(logits / heat, axis=1)
    return {
        "form": subject.form,
        "train": len(parts.train),
        "accuracy": metrics.share(right).as_dict(),
        "f1": float(f1_score(test.labels, answers, average="macro")),
        "baselines": baselines,
        "calibration": {
            "temperature": heat,
            "before": _calibrated(logits, test.labels, 1.0),
            "after": _calibrated(logits, test.labels, heat),
        },
        "slices": _slices(subject, fitted["음절 1~3개"], test, answers, seed),
        "mistakes": _mistakes(test, probabilities),
    }


def _calibrated(logits: np.ndarray, labels: np.ndarray, heat: float) -> dict:
    found = metrics.calibration(special.softmax(logits / heat, axis=1), labels)
    return {"error": found.error, "loss": metrics.loss(logits, labels, heat), "rows": found.rows}


def _slices(subject: model.Model, rule, test: Reviews, answers: np.ndarray, seed: int) -> list[dict]:
    right, theirs = answers == test.labels, rule.predict(test.texts) == test.labels
    rows = [
        {
            "name": name,
            "model": metrics.share(right[inside]).as_dict(),
            "baseline": metrics.share(theirs[inside]).as_dict(),
        }
        for name, inside in slices.parts(test.texts).items()
    ]
    for name, spoil in slices.spoiled(seed).items():
        texts = spoil(test.texts)
        changed = subject.logits(texts).argmax(axis=1)
        rows.append(
            {
                "name": name,
                "model": metrics.share(changed == test.labels).as_dict(),
                "baseline": metrics.share(rule.predict(texts) == test.labels).as_dict(),
                "kept": float(np.mean(changed == answers)),
            }
        )
    return rows


def _mistakes(test: Reviews, probabilities: np.ndarray) -> list[dict]:
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != test.labels)
    surest = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:LISTED]
    return [
        {
            "text": test.texts[row],
            "truth": CLASSES[test.labels[row]],
            "answer": CLASSES[1 - test.labels[row]],
            "probability": float(probabilities[row].max()),
        }
        for row in surest
    ]


def _shortened(parts: Parts, count: int, seed: int) -> Parts:
    rows = np.random.default_rng(seed).permutation(len(parts.test))[:count]
    return replace(parts, test=parts.test.take(np.sort(rows)))


def tables(report: dict) -> str:
    """Return the report as the tables of the terminal."""
    first = [("", "정확도", "95% 구간", "이 모델만 맞음", "이것만 맞음", "p")]
    first.append(("이 모델", *_with_interval(report["accuracy"]), "", "", ""))
    for name, row in report["baselines"].items():
        counts = (f"{row['only_model']}", f"{row['only_baseline']}", f"{row['p']:.2g}")
        first.append((f"기준선: {name}", *_with_interval(row), *counts))
    heat = report["calibration"]
    second = [("확률", "보정 오차", "손실 (nat)")]
    for name, side in (("그대로", "before"), (f"온도 {heat['temperature']:.2f}로 나눔", "after")):
        second.append((name, f"{heat[side]['error']:.3f}", f"{heat[side]['loss']:.3f}"))
    third = [("조건", "리뷰", "이 모델", "기준선", "답이 그대로")]
    for row in report["slices"]:
        kept = f"{row['kept']:.3f}" if "kept" in row else ""
        values = (_value(row[who]) for who in ("model", "baseline"))
        third.append((row["name"], f"{row['model']['count']:,}", *values, kept))
    fourth = [("자신 있게 틀린 리뷰", "정답", "답")]
    for row in report["mistakes"][:SHOWN]:
        fourth.append((_short(row["text"]), row["truth"], f"{row['answer']} {row['probability']:.3f}"))
    parts = [first, second, third, *([fourth] if report["mistakes"] else [])]
    return "\n\n".join(cli.table(rows) for rows in parts)


def _value(row: dict) -> str:
    return f"{row['value']:.3f}" if row["count"] else "-"


def _with_interval(row: dict) -> tuple[str, str]:
    return f"{row['value']:.3f}", f"{row['low']:.3f}-{row['high']:.3f}"


def _short(text: str, limit: int = 44) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def draw(report: dict, path: Path) -> None:
    """Draw how sure the answers are against how often they are right, before and after the temperature."""
    import matplotlib.pyplot as plt

    from tf_study import plots

    heat = report["calibration"]
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4), sharey=True)
    titles = {"before": "그대로", "after": f"온도 {heat['temperature']:.2f}로 나눔"}
    for axis, (side, title) in zip(axes, titles.items(), strict=True):
        _reliability(axis, heat[side]["rows"], f"{title} (보정 오차 {heat[side]['error']:.3f})", plots.COLORS)
    axes[0].set_ylabel("맞은 비율")
    cli.write(path, lambda part: figure.savefig(part, format="png"))
    plt.close(figure)


def _reliability(axis, rows: Sequence[tuple[int, float, float]], title: str, colors: Sequence[str]) -> None:
    counts, sure, right = np.array(rows).T
    axis.plot([0.5, 1], [0.5, 1], color="gray", linestyle="--", label="말한 확률만큼 맞음")
    axis.plot(sure, right, color=colors[0])
    axis.scatter(
        sure, right, s=20 + 200 * counts / counts.sum(), color=colors[0], label="점의 크기는 리뷰의 수"
    )
    axis.set(title=title, xlabel="답의 확률", xlim=(0.48, 1.02), ylim=(0, 1.04))
    axis.legend(loc="lower right", fontsize=8)
