"""Measures the models on texts that no training saw: scores by topic, against the baseline, and what is no topic at all.

All of it goes to ``evaluation.json`` in the model's folder, from which ``report`` is made.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from korean_nlp import records, storage
from korean_nlp.baseline import macro_f1
from korean_nlp.cleaning import clean
from tf_study import cli, model_folder
from tf_study.data import nsmc
from tf_study.errors import StudyError

SHARES = tuple(
    round(0.05 * step, 2) for step in range(20, 0, -1)
)  # of the texts that are answered, on the curve
SHOWN = 10  # confident mistakes
REVIEWS = 200  # that stand for texts of no topic unless others are given


def run(options: argparse.Namespace) -> None:
    """Measure, write ``evaluation.json`` and print the tables."""
    cli.check_seed(options.seed)
    found = evaluate(options.model, options.data, options.outside, options.rounds, options.seed)
    print(_tables(found))
    path = options.model / storage.EVALUATION
    cli.write_text(path, json.dumps(found, ensure_ascii=False, indent=1))
    print(f"잰 것을 {path}에 저장했습니다.")


def evaluate(model: Path, data: Path, outside: Path | None = None, rounds: int = 1000, seed: int = 0) -> dict:
    """Return what ``evaluation.json`` holds.

    Args:
        model: a finished folder.
        data: folder of ``prepare`` whose records have topics.
        outside: folder of ``prepare`` whose records belong to none; ``None`` takes reviews.
        rounds: of the bootstrap. seed: of it.

    Returns:
        ``classes``; ``count``; ``best``, of the card; ``models``, by kind: ``macro_f1``, ``accuracy``, ``topics``
        (precision, recall, f1, count of each), ``confusion`` (rows: the topic, columns: the guess), ``threshold``,
        ``at_threshold`` and ``curve`` (see :func:`answered`), ``auroc``, ``mistakes``; ``comparisons`` of each network
        with the baseline, see :func:`compare`; ``outside``: what was taken for it; ``texts``: of each record ``id``,
        ``text``, ``date``, ``label`` and ``guesses``, by kind topic and probability.

    Raises:
        StudyError: if a folder cannot be read, or the records do not fit the model.
    """
    card = storage.read_card(model)
    classes, settings = card["classes"], card["data"]
    items, unlabelled = _labelled(data, card)
    labels = np.array([classes.index(item["label"]) for item in items])
    others, name = _outside(outside, card)
    found = {
        "classes": classes,
        "best": card["best"],
        "card": model_folder.digest(model / model_folder.CARD),
        "data": {"folder": str(data), "manifest": model_folder.digest(data / records.MANIFEST)},
        "tagger": settings["tagger"],
        "count": len(items),
        "unlabelled": unlabelled,
        "outside": {"name": name, "count": len(others)},
        "models": {},
    }
    texts = [{key: item[key] for key in ("id", "text", "date", "label")} | {"guesses": {}} for item in items]
    guesses = {}
    for kind in storage.KINDS:
        classifier = storage.load(model, card, kind)
        inside, elsewhere = (_probabilities(classifier, part) for part in (items, others))
        guesses[kind] = inside.argmax(axis=1)
        threshold = card["models"][kind]["threshold"]
        found["models"][kind] = score(labels, guesses[kind], classes) | {
            "threshold": threshold,
            "at_threshold": answered(inside, labels, elsewhere, threshold),
            "curve": curve(inside, labels, elsewhere),
            "auroc": separation(inside, elsewhere),
            "mistakes": mistakes(items, inside, labels, classes),
        }
        for item, row in zip(texts, inside, strict=True):
            item["guesses"][kind] = [classes[row.argmax()], round(float(row.max()), 4)]
    found["comparisons"] = {
        kind: compare(labels, guesses[kind], guesses["baseline"], len(classes), rounds, seed)
        for kind in storage.KINDS
        if kind != "baseline"
    }
    return found | {"texts": texts}


def score(labels: np.ndarray, guesses: np.ndarray, classes: Sequence[str]) -> dict:
    """Return macro-F1, accuracy, the scores of each topic and the confusion of labels with guesses, both (N,)."""
    places = range(len(classes))
    precision, recall, f1, count = precision_recall_fscore_support(
        labels, guesses, labels=places, zero_division=0
    )
    return {
        "macro_f1": macro_f1(labels, guesses, len(classes)),
        "accuracy": float((labels == guesses).mean()),
        "topics": {
            name: {
                "precision": float(precision[place]),
                "recall": float(recall[place]),
                "f1": float(f1[place]),
                "count": int(count[place]),
            }
            for place, name in enumerate(classes)
        },
        "confusion": confusion_matrix(labels, guesses, labels=places).tolist(),
    }


def compare(
    labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, topics: int, rounds: int, seed: int
) -> dict:
    """Compare the guesses of two models for the same texts, all (N,).

    Returns:
        ``difference`` of macro-F1, ours less theirs, with ``low`` and ``high``, its 95 % interval from texts drawn
        again with both guesses (paired bootstrap); ``only_ours``, ``only_theirs``: texts that one alone has right;
        ``p``: how likely so uneven a division of these is among equals (exact McNemar test).
    """
    random = np.random.default_rng(seed)
    pairs = [np.bincount(labels * topics + guess, minlength=topics * topics) for guess in (ours, theirs)]
    whole = [_macro_f1(counts.reshape(topics, topics)) for counts in pairs]
    differences = []
    for _ in range(rounds):
        drawn = random.integers(0, len(labels), len(labels))
        one, other = (
            _macro_f1(
                np.bincount(labels[drawn] * topics + guess[drawn], minlength=topics**2).reshape(
                    topics, topics
                )
            )
            for guess in (ours, theirs)
        )
        differences.append(one - other)
    low, high = np.quantile(differences, [0.025, 0.975])
    right, other = ours == labels, theirs == labels
    only_ours, only_theirs = int((right & ~other).sum()), int((~right & other).sum())
    disagreed = only_ours + only_theirs
    return {
        "difference": whole[0] - whole[1],
        "low": float(low),
        "high": float(high),
        "only_ours": only_ours,
        "only_theirs": only_theirs,
        "p": float(binomtest(only_ours, disagreed).pvalue) if disagreed else 1.0,
        "rounds": rounds,
    }


def _macro_f1(confusion: np.ndarray) -> float:
    """Return :func:`baseline.macro_f1` from counts (topics, topics), in microseconds."""
    hits, sums = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * hits / np.maximum(sums, 1)))


def answered(
    inside: np.ndarray, labels: np.ndarray, outside: np.ndarray, threshold: float
) -> dict[str, float | None]:
    """Return what comes of answering only above a threshold.

    Args:
        inside: probabilities of texts with a topic (N, topics); labels: theirs (N,).
        outside: probabilities of texts without (M, topics).

    Returns:
        ``threshold``; ``coverage``: share of the texts with a topic that get one; ``accuracy`` of these, ``None`` of
        none; ``outside``: share of the texts without one that get one all the same.
    """
    kept = inside.max(axis=1) >= threshold
    right = inside.argmax(axis=1) == labels
    return {
        "threshold": threshold,
        "coverage": float(kept.mean()),
        "accuracy": float(right[kept].mean()) if kept.any() else None,
        "outside": float((outside.max(axis=1) >= threshold).mean()),
    }


def curve(inside: np.ndarray, labels: np.ndarray, outside: np.ndarray) -> list[dict]:
    """Return :func:`answered` at the thresholds that answer :data:`SHARES` of the texts."""
    highest = np.sort(inside.max(axis=1))[::-1]
    places = [max(1, round(share * len(highest))) - 1 for share in SHARES]
    return [answered(inside, labels, outside, float(highest[place])) for place in places]


def separation(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return how likely a text with a topic has a greater highest probability than one without; 0.5 is chance."""
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside.max(axis=1), outside.max(axis=1)])))


def mistakes(
    items: Sequence[dict], inside: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[dict]:
    """Return the wrong answers of the greatest probability, at most :data:`SHOWN`."""
    guesses, highest = inside.argmax(axis=1), inside.max(axis=1)
    wrong = sorted(np.flatnonzero(guesses != labels), key=lambda place: -highest[place])[:SHOWN]
    return [
        {
            "id": items[place]["id"],
            "text": items[place]["text"],
            "label": classes[labels[place]],
            "guess": classes[guesses[place]],
            "probability": round(float(highest[place]), 4),
            "of_label": round(float(inside[place, labels[place]]), 4),
        }
        for place in wrong
    ]


def _probabilities(classifier, items: Sequence[dict]) -> np.ndarray:
    return classifier.probabilities(*([item[name] for item in items] for name in ("text", "morphemes")))


def _read(folder: Path, card: dict) -> list[dict]:
    """Return the records of a folder that was prepared as the model's was."""
    manifest = records.read_manifest(folder)
    wanted = card["data"]
    if manifest["tagger"] != wanted["tagger"]:
        raise StudyError(
            f"{folder}의 형태소 분석기가 모델과 다르니 {wanted['tagger']['name']} {wanted['tagger']['version']}(으)로 "
            "prepare를 다시 실행하세요."
        )
    if manifest["settings"]["cleaning"] != wanted["settings"]["cleaning"]:
        raise StudyError(f"{folder}을(를) 다듬은 방식이 모델과 다르니 prepare를 다시 실행하세요.")
    return list(records.read(folder))


def _labelled(folder: Path, card: dict) -> tuple[list[dict], int]:
    items = _read(folder, card)
    labelled = [item for item in items if item["label"]]
    if not labelled:
        raise StudyError(
            f"{folder}에 주제가 있는 글이 없으니 주제(label)가 있는 자료로 prepare를 실행하세요."
        )
    if unknown := sorted({item["label"] for item in labelled} - set(card["classes"])):
        raise StudyError(f"모델이 모르는 주제가 있으니 빼거나 그 주제로 학습하세요: {', '.join(unknown)}")
    return labelled, len(items) - len(labelled)


def _outside(folder: Path | None, card: dict) -> tuple[list[dict], str]:
    """Return texts of no topic and their name."""
    if folder is not None:
        items = _read(folder, card)
        if not items:
            raise StudyError(f"{folder}에 글이 없으니 글이 있는 폴더를 주세요.")
        return items, str(folder)
    texts = nsmc(train=1, test=REVIEWS)[1][0]
    morphemes = storage.tagger(card).tag([clean(text) for text in texts])
    return [{"text": text, "morphemes": row} for text, row in zip(texts, morphemes, strict=True)], "리뷰"


def _tables(found: dict) -> str:
    head = f"글 {found['count']:,}건, 주제 {len(found['classes'])}개"
    if found["unlabelled"]:
        head += f" (주제가 없어 뺀 글 {found['unlabelled']:,}건)"
    kinds = storage.KINDS
    rows = [("모델", "macro-F1", "정확도", "TF-IDF와의 차이", "95% 구간", "McNemar p")]
    for kind, scores in found["models"].items():
        row = [kinds[kind], f"{scores['macro_f1']:.3f}", f"{scores['accuracy']:.3f}"]
        if against := found["comparisons"].get(kind):
            interval = f"{against['low']:+.3f} ~ {against['high']:+.3f}"
            row += [f"{against['difference']:+.3f}", interval, f"{against['p']:.1e}"]
        rows.append((*row, *[""] * (6 - len(row))))
    topics = [("주제", "글", *(f"{kinds[kind]} 정밀/재현/F1" for kind in kinds))]
    for name in found["classes"]:
        of = [found["models"][kind]["topics"][name] for kind in kinds]
        cells = (" / ".join(f"{one[key]:.2f}" for key in ("precision", "recall", "f1")) for one in of)
        topics.append((name, str(of[0]["count"]), *cells))
    title = f"기타를 가르는 임곗값 (주제 밖의 글: {found['outside']['name']} {found['outside']['count']:,}건)"
    border = [("모델", "임곗값", "답한 비율", "그 정확도", "주제 밖인데 답한 비율", "AUROC")]
    for kind in kinds:
        at = found["models"][kind]["at_threshold"]
        accuracy = "" if at["accuracy"] is None else f"{at['accuracy']:.3f}"
        cells = (f"{at['threshold']:.3f}", f"{at['coverage']:.3f}", accuracy, f"{at['outside']:.3f}")
        border.append((kinds[kind], *cells, f"{found['models'][kind]['auroc']:.3f}"))
    parts = [head, cli.table(rows), "", cli.table(topics), "", title, cli.table(border), ""]
    worst = found["models"][found["best"]]["mistakes"][:5]
    parts.append(f"자신 있게 틀린 글 ({kinds[found['best']]})")
    parts += [
        f"  {item['label']} → {item['guess']} {item['probability']:.2f}  {item['text']}" for item in worst
    ]
    return "\n".join(parts)
