"""Training of all three models, that goes on after an interruption as if there had been none.

The baseline comes first and takes seconds. Then each network learns epoch by epoch; what an epoch draws follows from the
seed and its number, and everything else that it changes is in one file, ``state.npz``, put in place whole: weights,
optimizer, the states of dropout, the best weights so far, and the reports.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from korean_nlp import baseline, dataset, models, records, settings, storage
from korean_nlp.settings import Settings
from tf_study import cli, model_folder, optimizers
from tf_study.environment import seed_everything
from tf_study.errors import StudyError

Report = Callable[[str], None]


def run(options: argparse.Namespace) -> None:
    """Train what the command line asks for and say how good each model is on what was held out."""
    chosen = settings.choose(options)
    card = train(options.data, options.output, chosen, options.restart, lambda line: print(line, flush=True))
    rows = [("모델", "검증 macro-F1", "검증 정확도", "기타의 임곗값")]
    for kind, found in card["models"].items():
        rows.append(
            (
                storage.KINDS[kind],
                *(f"{found['validation'][name]:.3f}" for name in ("macro_f1", "accuracy")),
                f"{found['threshold']:.3f}",
            )
        )
    print(cli.table(rows))
    print(f"모델을 {options.output}에 저장했습니다.")


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not."""
    for name in (model_folder.CARD, model_folder.STATE, storage.EVALUATION, *storage.FILES):
        (output / name).unlink(missing_ok=True)


def train(
    data: Path, output: Path, settings: Settings, restart: bool = False, report: Report = print
) -> dict:
    """Train all models, or go on with an interrupted training, and write the finished folder.

    Args:
        data: folder of ``prepare``.
        output: folder of the models, made when missing.
        restart: give up what is there, once the data has proved to be something to learn from.
        report: called with each line of progress.

    Returns:
        The card, as :func:`storage.read_card` reads it.

    Raises:
        StudyError: if the data cannot be learnt from, the output folder holds another training, the loss is no longer a
            number, or a file cannot be read or written.
    """
    manifest = records.read_manifest(data)
    fingerprint = model_folder.digest(data / records.MANIFEST)
    if not restart:
        model_folder.check_output(output, settings.as_json(), fingerprint, "prepare한 글이")
    seed_everything(settings.seed)
    files = records.paths(data, manifest)
    survey = dataset.survey(files, settings)
    if restart:
        clear(output)
    vocabulary = survey.vocabulary(settings.vocabulary)
    report(_summary(survey, vocabulary))
    state = output / model_folder.STATE
    histories = model_folder.read_about(state)["histories"] if state.exists() else {}
    if histories:
        done = ", ".join(f"{storage.KINDS[kind]} {len(history)}에포크" for kind, history in histories.items())
        report(f"중단한 학습을 잇습니다. 마친 것: {done}")
    else:
        storage.write_vocabulary(output, vocabulary.words, survey.counts)
    found, scores = baseline.train(
        survey.texts["train"], survey.texts["validation"], len(survey.classes), settings.features
    )
    found.save(output / "baseline.npz")
    report("[TF-IDF] C마다 검증 macro-F1: " + ", ".join(f"{c} {score:.3f}" for c, score in scores.items()))
    about = {"settings": settings.as_json(), "fingerprint": fingerprint, "histories": histories}
    rows = dataset.encode(files, vocabulary, survey.classes, settings)
    finished, networks = list(histories)[:-1], {}
    for kind in models.NETWORKS:
        if kind not in finished:
            run = _Run(kind, rows, output, vocabulary, len(survey.classes), settings, about)
            networks[kind] = run.train(report)
    card = {
        "classes": list(survey.classes),
        "settings": settings.as_json(),
        "data": {
            "manifest": fingerprint,
            **{name: manifest[name] for name in ("sources", "records", "settings", "tagger")},
            "unlabelled": survey.unlabelled,
            "sizes": survey.sizes,
        },
        "vocabulary": len(vocabulary.words),
        "baseline": scores,
        "history": histories,
    }
    card |= _judged(networks, rows["validation"], output, card, survey, settings)
    storage.write_card(output, card)
    state.unlink()
    return storage.read_card(output)


def threshold(probabilities: np.ndarray, coverage: float) -> float:
    """Return the largest probability that at least this share of texts reach with their likeliest topic.

    Args:
        probabilities: of texts that do have one of the topics (N, topics).
    """
    highest = np.sort(probabilities.max(axis=1))[::-1]
    return float(highest[max(1, math.ceil(coverage * len(highest) - 1e-9)) - 1])


def best(history: Sequence[dict]) -> int:
    """Return the place of the entry with the lowest validation loss, the first of equals."""
    return min(range(len(history)), key=lambda place: history[place]["val_loss"])


def over(history: Sequence[dict], epochs: int, patience: int) -> bool:
    """Say whether a network is done: all its epochs, or ``patience`` without a better one."""
    return len(history) >= epochs or (bool(history) and len(history) - 1 - best(history) >= patience)


class _Run:
    """One network that learns, from where the state's file says that it was."""

    def __init__(self, kind, rows, output, vocabulary, topics, settings, about):
        self.kind, self.rows, self.output, self.settings, self.about = kind, rows, output, settings, about
        self.model = models.build(kind, len(vocabulary), topics, settings.as_json())
        self.network = models.Network(self.model, vocabulary, settings.limit)
        self.optimizer = optimizers.Adam(settings.rate)
        self.optimizer.build(self.model.trainable_variables)
        self.best = self.model.get_weights()
        if about["histories"].get(kind):
            self._load()
        self.history = about["histories"].setdefault(kind, [])
        kinds = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int64)]
        self._step = tf.function(self._learn, input_signature=kinds, autograph=False)

    @property
    def variables(self) -> list:
        """Everything that an epoch changes, in a fixed order."""
        return [*self.model.variables, *self.optimizer.variables]

    def train(self, report: Report) -> models.Network:
        """Take the epochs that are left, write the weights of the best and return the network that has them."""
        chosen, name = self.settings, storage.KINDS[self.kind]
        while not over(self.history, chosen.epochs, chosen.patience):
            entry = self._epoch()
            if not all(map(math.isfinite, entry.values())):
                raise StudyError("손실이 수가 아니게 되었으니 --rate를 줄이고 --restart로 다시 학습하세요.")
            self.history.append(entry)
            if best(self.history) == len(self.history) - 1:
                self.best = self.model.get_weights()
            self._save()
            report(
                f"[{name}] {len(self.history)}/{chosen.epochs}  손실 {entry['loss']:.3f}  "
                f"정확도 {entry['accuracy']:.3f}  검증 손실 {entry['val_loss']:.3f}  "
                f"검증 정확도 {entry['val_accuracy']:.3f}"
            )
        self.model.set_weights(self.best)
        model_folder.write_npz(self.output / f"{self.kind}.npz", self.best)
        return self.network

    def _epoch(self) -> dict:
        """Learn from every text once; return what that and the validation part came to."""
        order, told = (self.settings.seed, len(self.history)), []
        for numbers, labels in dataset.batches(self.rows["train"], self.settings.batch, order):
            loss, right = self._step(numbers, labels)
            told.append((float(loss) * len(labels), float(right)))
        loss, right = np.sum(told, axis=0) / len(self.rows["train"].labels)
        held_out = self.rows["validation"]
        losses, hits = _measured(held_out.labels, self.network.logits(held_out.numbers))
        val_loss, val_accuracy = np.mean(losses), np.mean(hits)
        found = {"loss": loss, "accuracy": right, "val_loss": val_loss, "val_accuracy": val_accuracy}
        return {key: float(value) for key, value in found.items()}

    def _learn(self, numbers: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one step; return the mean loss and how many texts were right."""
        with tf.GradientTape() as tape:
            losses, hits = _measured(labels, self.model(numbers, training=True))
            loss = tf.reduce_mean(losses)
        learning = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, learning), learning)
        return loss, tf.reduce_sum(tf.cast(hits, tf.float32))

    def _save(self) -> None:
        values = [np.asarray(variable) for variable in self.variables]
        model_folder.write_npz(
            self.output / model_folder.STATE, [*values, *self.best], about=json.dumps(self.about)
        )

    def _load(self) -> None:
        path, count = self.output / model_folder.STATE, len(self.variables)
        try:
            with np.load(path) as file:
                model_folder.assign(self.variables, (file[f"w{place}"] for place in range(count)))
                self.best = [file[f"w{count + place}"] for place in range(len(self.best))]
        except model_folder.DAMAGED:
            raise model_folder.damaged(path) from None


def _measured(labels, logits) -> tuple[tf.Tensor, tf.Tensor]:
    """Return of each text the loss, and whether it is right."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return losses, tf.argmax(logits, axis=1) == labels


def _judged(
    networks: dict[str, models.Network],
    rows: dataset.Rows,
    output: Path,
    card: dict,
    survey: dataset.Survey,
    settings: Settings,
) -> dict:
    """Return what the held-out texts say of each model: scores, threshold, and which is best.

    Args:
        networks: those that have just been trained. The others are in the folder.
        rows: the held-out texts as numbers.
    """
    texts, labels = survey.texts["validation"]
    card = card | {"files": {name: model_folder.digest(output / name) for name in storage.FILES}}
    judged = {}
    for kind in storage.KINDS:
        model = networks.get(kind) or storage.load(output, card, kind)
        if kind == "baseline":
            answers = model.probabilities(texts, ())
        else:
            answers = tf.nn.softmax(model.logits(rows.numbers)).numpy()
        guesses = answers.argmax(axis=1)
        judged[kind] = {
            "validation": {
                "macro_f1": baseline.macro_f1(labels, guesses, len(survey.classes)),
                "accuracy": float((guesses == labels).mean()),
            },
            "threshold": threshold(answers, settings.coverage),
        }
    return {"models": judged, "best": max(judged, key=lambda kind: judged[kind]["validation"]["macro_f1"])}


def _summary(survey: dataset.Survey, vocabulary: dataset.Vocabulary) -> str:
    counts = [sum(survey.sizes[part]) for part in ("train", "validation")]
    line = f"주제 {len(survey.classes)}개: {', '.join(survey.classes)}\n"
    line += f"학습할 글 {counts[0]:,}건, 검증할 글 {counts[1]:,}건, 형태소 {len(vocabulary.words):,}개"
    return line + (f" (주제가 없어 뺀 글 {survey.unlabelled:,}건)" if survey.unlabelled else "")
