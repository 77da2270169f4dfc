"""Training in two stages, with early stopping, that goes on after an interruption as if there had been none.

1. The head alone, on an encoder that stays as it is: its output is computed once and kept.
2. The upper blocks too, at a lower rate, on what the lower ones made, which is kept as well.

What an epoch draws (the order, what is dropped) follows from the seed and the epoch's number alone. Everything else that
it changes is in one file, ``state.npz``, put in place whole: the weights that learn, the best of them, the optimizer.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from sentiment_analysis import dataset, encoders, pretraining, settings, storage, tokens
from sentiment_analysis.dataset import Parts
from sentiment_analysis.settings import CLASSES, Settings
from tf_study import cli, model_folder, optimizers
from tf_study.environment import seed_everything
from tf_study.errors import StudyError

WEIGHTS = "weights.npz"
TITLES = ("머리", "미세 조정")
DROP = 0.1  # share of numbers that are dropped where a stage's learning part begins, and before the head
CHUNK = 16  # batches of reviews that are sorted by length together

Report = Callable[[str], None]


def run(options: argparse.Namespace) -> None:
    """Read the data, say what is in it, train, and say where the model is."""
    chosen = settings.choose(options)
    source = settings.source(options.data)
    parts = dataset.read(source, chosen.labels, chosen.seed)
    cli.print_skipped(parts.skipped)
    print(summary(dataset.statistics(parts)))
    if not chosen.duplicates:
        parts, gone = dataset.without_duplicates(parts)
        print(
            f"겹치는 리뷰를 뺐습니다: 훈련에서 {gone['train']}개, 검증에서 {gone['validation']}개", flush=True
        )
    if options.restart:
        clear(options.output)
    model_folder.check_output(options.output, chosen.as_json(), parts.fingerprint(), "리뷰가")
    if source not in settings.PUBLISHED:
        source = str(Path(source).resolve())
    card = train(parts, source, options.output, chosen, report=lambda line: print(line, flush=True))
    best = card["best"]
    print(
        f"모델을 {options.output}에 저장했습니다. 가장 나은 에포크는 {TITLES[best['stage']]} {best['epoch']}, "
        f"검증 정확도 {best['val_accuracy']:.3f}. 쓰려면 export를 실행하세요."
    )


def summary(found: dict) -> str:
    """Return what :func:`dataset.statistics` found as a table and two lines."""
    rows = [("부문", "리뷰", CLASSES[1], "길이 5%", "50%", "95%", "최대", "되풀이", "두 레이블")]
    for name, part in found["parts"].items():
        rows.append(
            (
                name,
                f"{part['reviews']:,}",
                f"{part['positive']:.1%}",
                *map(str, part["length"]),
                f"{part['repeated'][0]:,}",
                f"{part['contradicting']:,}",
            )
        )
    shared = found["shared"]
    lengths = ", ".join(
        f"{length}{'자 이상' if length == dataset.LONG else '자'} {count}"
        for length, count in shared["by_length"].items()
    )
    lines = [
        cli.table(rows),
        f"테스트에도 있는 훈련과 검증 리뷰: 그대로 {shared['exact']:,}개, 부호와 빈칸을 빼면 {shared['normalised']:,}개"
        + (f" ({lengths})" if lengths else ""),
    ]
    if found["recomposed"]:
        lines.append(f"NFC가 아니어서 바꾼 글: {found['recomposed']:,}개")
    return "\n".join(lines)


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not, and what was made of it."""
    names = (model_folder.CARD, model_folder.STATE, pretraining.FILE, WEIGHTS, storage.CALIBRATION)
    for name in names:  # The card first, so that nothing claims that the rest is whole.
        (output / name).unlink(missing_ok=True)


def train(parts: Parts, source: str, output: Path, chosen: Settings, report: Report = print) -> dict:
    """Train a classifier, or go on with an interrupted training, and write the finished model.

    Args:
        parts: without duplicates, if that is wanted.
        source: where they were read from, for the card.
        output: folder of the model, made when missing; checked by ``model_folder.check_output``.
        report: called with each line of progress.

    Returns:
        The card.

    Raises:
        StudyError: if the encoder cannot be had, the loss is no longer a number, or a file cannot be written.
    """
    seed_everything(chosen.seed)
    start = encoders.load(chosen, parts.train.texts, output, report)
    for name, content in start.files.items():
        cli.write(output / name, lambda part, content=content: part.write_bytes(content))
    report("학습하지 않는 블록의 출력은 한 번만 계산해 둡니다.")
    training = Training(parts, start.network, chosen, output)
    if training.resume():
        report(f"중단한 학습을 잇습니다. 마친 에포크: {len(training.history)}")
    for stage in range(1 + bool(chosen.blocks)):
        training.prepare(stage)
        while not over(training.history, stage, chosen.epochs[stage], chosen.patience):
            report(training.epoch())
            training.save()
    training.finish()
    card = {
        "classes": list(CLASSES),
        "settings": chosen.as_json(),
        "encoder": start.network.about.as_json(),
        "data": source,
        "fingerprint": parts.fingerprint(),
        "reviews": {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
        "history": training.history,
        "best": best(training.history),
    }
    model_folder.write_card(output, card, (WEIGHTS, *start.files))
    for name in (model_folder.STATE, pretraining.FILE):
        (output / name).unlink(missing_ok=True)
    return card


def best(history: list[dict]) -> dict:
    """Return the entry with the lowest validation loss, the first of equals."""
    return min(history, key=lambda entry: entry["val_loss"])


def over(history: list[dict], stage: int, epochs: int, patience: int) -> bool:
    """Say whether a stage is done: all its epochs, or ``patience`` without a better one."""
    done = [entry for entry in history if entry["stage"] == stage]
    return len(done) >= epochs or (bool(done) and len(done) - 1 - done.index(best(done)) >= patience)


class Kept:
    """What the encoder makes of reviews, computed once: nothing below the learning blocks changes.

    Attributes:
        pooled: float32 (N, d), the whole encoder's output. labels: int64 (N,).
    """

    def __init__(
        self, network: encoders.Network, rows: list[np.ndarray], labels: np.ndarray, chosen: Settings
    ):
        self.rows, self.labels, self.pad = rows, labels, network.about.pad
        self.lengths = np.array(list(map(len, rows)))
        self.whole = (
            chosen.blocks >= network.depth
        )  # Nothing stays as it is: the numbers themselves are kept.
        width = network.kernel.shape[0]
        self.pooled = np.empty((len(rows), width), np.float32)
        self.places = np.concatenate([[0], np.cumsum(self.lengths)])
        if not self.whole:
            store = tempfile.TemporaryFile()  # nameless: it goes with the process
            shape = (int(self.places[-1]), width)
            try:
                self.hidden = np.memmap(store, np.float32, "w+", shape=shape)
            except OSError:
                raise StudyError(
                    "임시 폴더가 찼으니 공간을 비우거나 TMPDIR을 다른 곳으로 바꾸세요."
                ) from None

        order = np.argsort(self.lengths, kind="stable")
        starts, frozen = range(0, len(order), chosen.batch), network.frozen(chosen.blocks)
        for first in tqdm(starts, "인코더", disable=None, leave=False):
            chunk = order[first : first + chosen.batch]
            hidden, self.pooled[chunk] = (found.numpy() for found in frozen(self._ids(chunk)))
            if not self.whole:
                for row, values in zip(chunk, hidden, strict=True):
                    self.hidden[self.places[row] : self.places[row + 1]] = values[: self.lengths[row]]

    def __len__(self) -> int:
        return len(self.rows)

    def _ids(self, chunk: np.ndarray) -> np.ndarray:
        return tokens.padded([self.rows[row] for row in chunk], self.pad)

    def batch(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the learning blocks get of some reviews, and the mask, float32 (B, T).

        That is float32 (B, T, d), or the token numbers int32 (B, T) if all blocks learn.
        """
        ids = self._ids(chunk)
        mask = (np.arange(ids.shape[1]) < self.lengths[chunk, None]).astype(np.float32)
        if self.whole:
            return ids, mask
        hidden = np.zeros((*ids.shape, self.hidden.shape[1]), np.float32)
        for place, row in zip(hidden, chunk, strict=True):
            place[: self.lengths[row]] = self.hidden[self.places[row] : self.places[row + 1]]
        return hidden, mask


class Training:
    """The run of a training: what it has learnt, and the next epoch."""

    def __init__(self, parts: Parts, network: encoders.Network, chosen: Settings, output: Path):
        self.network, self.chosen, self.path = network, chosen, output / model_folder.STATE
        self.output = output
        self.about = {"settings": chosen.as_json(), "fingerprint": parts.fingerprint()}
        outside = tokens.Outside(output, network.about)
        self.known, self.held = (
            Kept(network, outside.encode(part.texts), part.labels, chosen)
            for part in (parts.train, parts.validation)
        )
        self.history: list[dict] = []
        self.variables = network.learning(chosen.blocks)  # the head's two are the last
        self.best = [variable.numpy() for variable in self.variables]
        self.stage = -1

    def prepare(self, stage: int) -> None:
        """Begin a stage with the best weights so far and a new optimizer, unless it, or a later one, has been resumed."""
        if self.stage < stage:
            model_folder.assign(self.variables, self.best)
            self._enter(stage)

    def _enter(self, stage: int) -> None:
        self.stage = stage
        learning = self.variables if stage else self.variables[-2:]
        self.optimizer = optimizers.Adam()
        self.optimizer.build(learning)
        network, blocks, whole = self.network, self.chosen.blocks, self.known.whole

        def logits(given, mask, seed=None):
            def drop(value, number):
                if seed is None:
                    return value
                return tf.nn.experimental.stateless_dropout(
                    value, DROP, seed=seed + [number, 0], rng_alg="philox"
                )

            if stage:
                if whole:
                    given = network.lower(network.embed(given), mask, blocks)
                given = network.upper(drop(given, 0), mask, blocks)
            return network.head(drop(given, 1))

        kind = tf.TensorSpec((None, None, None), tf.float32) if stage else tf.TensorSpec((None, None))
        if stage and whole:
            kind = tf.TensorSpec((None, None), tf.int32)
        mask = tf.TensorSpec((None, None), tf.float32)

        @tf.function(
            input_signature=[kind, mask, tf.TensorSpec((None,), tf.int64), tf.TensorSpec((2,), tf.int32)],
            autograph=False,
        )
        def step(given, mask, labels, seed):
            with tf.GradientTape() as tape:
                found = logits(given, mask, seed)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, found))
            self.optimizer.apply(encoders.clipped(tape.gradient(loss, learning)), learning)
            return loss

        self._step, self._logits = step, tf.function(logits, input_signature=[kind, mask], autograph=False)

    def epoch(self) -> str:
        """Learn from every training review once; return the line that says how it went."""
        chosen, number = self.chosen, len(self.history)
        done = sum(entry["stage"] == self.stage for entry in self.history)
        count = math.ceil(len(self.known) / chosen.batch)
        steps, losses, weights = count * chosen.epochs[self.stage], [], []
        for place, chunk in enumerate(self._shuffled(number)):
            rate = pretraining.rate(done * count + place, steps, chosen.rates[self.stage])
            self.optimizer.learning_rate.assign(rate)
            given, mask = self._given(self.known, chunk)
            seed = np.array([chosen.seed, 2 * (number * count + place)], np.int32)
            losses.append(float(self._step(given, mask, self.known.labels[chunk], seed)))
            weights.append(len(chunk))
        loss, accuracy = self._validate()
        entry = {"stage": self.stage, "epoch": done + 1, "loss": float(np.average(losses, weights=weights))}
        entry |= {"val_loss": loss, "val_accuracy": accuracy}
        if not all(map(math.isfinite, entry.values())):
            raise StudyError("손실이 수가 아니게 되었으니 --rates를 줄이고 --restart로 다시 학습하세요.")
        self.history.append(entry)
        if best(self.history) is entry:
            self.best = [variable.numpy() for variable in self.variables]
        return (
            f"[{TITLES[self.stage]}] {entry['epoch']}/{chosen.epochs[self.stage]}  손실 {entry['loss']:.3f}"
            f"  검증 손실 {loss:.3f}  검증 정확도 {accuracy:.3f}"
        )

    def _shuffled(self, number: int) -> Iterator[np.ndarray]:
        """Yield the rows of an epoch's batches; the reviews of one are about as long, so that little is padding."""
        random, size = np.random.default_rng([self.chosen.seed, number]), self.chosen.batch
        order, batches = random.permutation(len(self.known)), []
        for first in range(0, len(order), CHUNK * size):
            chunk = order[first : first + CHUNK * size]
            chunk = chunk[np.argsort(self.known.lengths[chunk], kind="stable")]
            batches += [chunk[start : start + size] for start in range(0, len(chunk), size)]
        yield from (batches[place] for place in random.permutation(len(batches)))

    def _given(self, kept: Kept, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.stage:
            return kept.batch(chunk)
        return kept.pooled[chunk], np.ones((len(chunk), 1), np.float32)

    def _validate(self) -> tuple[float, float]:
        """Return loss and accuracy on the validation part."""
        logits = np.empty((len(self.held), len(CLASSES)), np.float32)
        order = np.argsort(self.held.lengths, kind="stable")
        for first in range(0, len(order), self.chosen.batch):
            chunk = order[first : first + self.chosen.batch]
            logits[chunk] = self._logits(*self._given(self.held, chunk)).numpy()
        labels = self.held.labels
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return float(tf.reduce_mean(losses)), float(np.mean(logits.argmax(1) == labels))

    def save(self) -> None:
        """Write the run's state in one step."""
        about = json.dumps(self.about | {"history": self.history})
        values = [variable.numpy() for variable in (*self.variables, *self.optimizer.variables)]
        model_folder.write_npz(self.path, [*self.best, *values], about=np.array(about))

    def resume(self) -> bool:
        """Take over the state of an interrupted run, if there is one.

        Raises:
            StudyError: if its file is damaged.
        """
        if not self.path.exists():
            return False
        self.history = model_folder.read_about(self.path)["history"]
        self._enter(self.history[-1]["stage"])
        try:
            with np.load(self.path) as file:
                count, names = len(self.variables), (f"w{number}" for number in range(10**6))
                self.best = [file[next(names)] for _ in range(count)]
                current = [*self.variables, *self.optimizer.variables]
                model_folder.assign(current, [file[next(names)] for _ in current])
        except model_folder.DAMAGED:
            raise model_folder.damaged(self.path) from None
        return True

    def finish(self) -> None:
        """Write the best weights of the run."""
        model_folder.assign(self.variables, self.best)
        model_folder.write_npz(self.output / WEIGHTS, (v.numpy() for v in self.network.weights))
