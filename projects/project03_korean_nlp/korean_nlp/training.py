"""Training of all three models, that goes on after an interruption as if there had been none.

The baseline comes first and takes seconds. Then each network learns epoch by epoch; what an epoch draws follows from the
seed and its number, and everything else that it changes is in one file, ``state.npz``, put in place whole: weights,
optimizer, the states of dropout, the best weights so far, and the reports.
"""

import argparse
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

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
        storage.write_vocabulary(output, vocabulary, survey.counts)
    found, scores = baseline.train(
        survey.texts["train"], survey.texts["validation"], len(survey.classes), settings.features
    )
    found.save(output / "baseline.npz")
    report("[TF-IDF] C마다 검증 macro-F1: " + ", ".join(f"{c} {score:.3f}" for c, score in scores.items()))
    finished = list(histories)[:-1]
    for kind in models.NETWORKS:
        if kind not in finished:
            _Run(kind, files, output, survey, vocabulary, settings, fingerprint, histories).train(report)
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
    card |= _judged(files, output, card, survey, settings)
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

    def __init__(self, kind, files, output, survey, vocabulary, settings, fingerprint, histories):
        self.kind, self.output, self.settings, self.histories = kind, output, settings, histories
        self.about = {"settings": settings.as_json(), "fingerprint": fingerprint, "histories": histories}
        self.data = files, vocabulary, survey.classes, settings
        self.model = models.build(kind, len(vocabulary), len(survey.classes), settings.as_json())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        # With variables that are there already, Keras makes the graph of a step once and not twice.
        self.model.compile(optimizers.Adam(settings.rate), loss, metrics=[accuracy])
        self.model.optimizer.build(self.model.trainable_variables)
        self.best = self.model.get_weights()
        if histories.get(kind):
            self._load()
        self.history = histories.setdefault(kind, [])

    @property
    def variables(self) -> list:
        """Everything that an epoch changes, in a fixed order."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def train(self, report: Report) -> None:
        """Take the epochs that are left and write the weights of the best."""
        chosen, name = self.settings, storage.KINDS[self.kind]
        held_out = dataset.batches(*self.data, held_out=True).cache()  # The survey keeps their texts, too.
        while not over(self.history, chosen.epochs, chosen.patience):
            order = (chosen.seed, len(self.history))
            learnt = dataset.batches(*self.data, held_out=False, order=order)
            with warnings.catch_warnings():  # How many batches there are depends on the order.
                warnings.filterwarnings("ignore", message="Your input ran out of data")
                log = self.model.fit(learnt, validation_data=held_out, shuffle=False, verbose=0).history
            entry = {key: float(values[0]) for key, values in log.items()}
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
        model_folder.write_npz(self.output / f"{self.kind}.npz", self.best)

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


def _judged(files, output: Path, card: dict, survey: dataset.Survey, settings: Settings) -> dict:
    """Return what the held-out texts say of each model: scores, threshold, and which is best."""
    held_out = [record for record, held in dataset.read(files, settings) if held and record["label"]]
    texts, morphemes = ([record[name] for record in held_out] for name in ("text", "morphemes"))
    labels = survey.texts["validation"][1]
    card = card | {"files": {name: model_folder.digest(output / name) for name in storage.FILES}}
    judged = {}
    for kind in storage.KINDS:
        answers = storage.load(output, card, kind).probabilities(texts, morphemes)
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
