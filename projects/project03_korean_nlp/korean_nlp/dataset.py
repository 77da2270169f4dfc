"""From the TFRecord shards that ``prepare`` wrote to padded batches of numbers.

Which records are held out for validation follows from their ids, so that it does not change with their order, their
shards or the number of machines that prepared them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from korean_nlp.settings import Settings
from tf_study.errors import StudyError

PAD, UNKNOWN, FIRST = (
    0,
    1,
    2,
)  # numbers of what is no morpheme, of one without a number, of the first that has one
FEATURES = {name: tf.io.FixedLenFeature((), tf.string) for name in ("id", "text", "date", "label")}
FEATURES["morphemes"] = tf.io.RaggedFeature(tf.string)
BLOCK = 512  # records that are parsed at once
CHUNK = 16  # batches of texts that are sorted by length together
SLOTS = 10_000  # the share of what is held out is rounded to a part of so many


@dataclass(frozen=True)
class Vocabulary:
    """The morphemes that have a number: ``words[i]`` has ``i + FIRST``."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return FIRST + len(self.words)

    def numbers(self) -> dict[str, int]:
        """Return morpheme → number."""
        return {word: number for number, word in enumerate(self.words, FIRST)}


@dataclass(frozen=True)
class Survey:
    """What a first pass over the records found.

    ``classes``: the topics, by name. ``sizes``: part ("train", "validation") → records of each topic.
    ``counts``: of each morpheme in the training part, by topic (topics,). ``unlabelled``: records without a topic.
    ``texts``: part → texts and labels.
    """

    classes: tuple[str, ...]
    sizes: dict[str, list[int]]
    counts: dict[str, np.ndarray]
    unlabelled: int
    texts: dict[str, tuple[list[str], np.ndarray]]

    def vocabulary(self, most: int) -> Vocabulary:
        """Return the most frequent morphemes, the first in the alphabet of equals."""
        order = sorted(self.counts, key=lambda word: (-self.counts[word].sum(), word))
        return Vocabulary(tuple(order[:most]))


@dataclass(frozen=True)
class Rows:
    """The texts of one part in the order of the shards: the numbers of each, and the labels int64 (N,)."""

    numbers: list[list[int]]
    labels: np.ndarray


def pad(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return rows of numbers as int32 (N, longest), filled up with :data:`PAD`; an empty row is one unknown."""
    rows = [row or [UNKNOWN] for row in rows]
    padded = np.full((len(rows), max(map(len, rows), default=1)), PAD, np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def survey(files: Sequence[Path], settings: Settings) -> Survey:
    """Read all records once.

    Args:
        files: the shards.

    Raises:
        StudyError: if there are fewer than two topics or one has no record to learn from.
    """
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "validation": []}
    counters: dict[str, Counter] = {}
    unlabelled = 0
    for record, held_out in read(files, settings):
        label = record["label"]
        if not label:
            unlabelled += 1
            continue
        parts["validation" if held_out else "train"].append((record["text"], label))
        counter = counters.setdefault(label, Counter())
        if not held_out:
            counter.update(record["morphemes"])
    classes = tuple(sorted(counters))
    if len(classes) < 2:
        raise StudyError(
            f"주제가 {len(classes)}개뿐이니 주제(label)가 둘 이상인 자료로 prepare를 실행하세요."
        )
    texts = {
        part: ([text for text, _ in pairs], np.array([classes.index(label) for _, label in pairs], np.int64))
        for part, pairs in parts.items()
    }
    sizes = {
        part: np.bincount(labels, minlength=len(classes)).tolist() for part, (_, labels) in texts.items()
    }
    if not all(sizes["train"]):
        lacking = classes[sizes["train"].index(0)]
        raise StudyError(f"주제 {lacking}에 학습할 글이 없으니 그 주제의 글을 더하거나 빼고 prepare하세요.")
    if not any(sizes["validation"]):
        raise StudyError("검증에 쓸 글이 하나도 없으니 글을 더하거나 --validation을 키우세요.")
    words = sorted(set().union(*counters.values()))
    counts = {word: np.array([counters[name][word] for name in classes]) for word in words}
    return Survey(classes, sizes, counts, unlabelled, texts)


def read(files: Sequence[Path], settings: Settings) -> Iterator[tuple[dict, bool]]:
    """Yield every record, as ``prepare`` got it, and whether it is held out for validation."""
    shards = tf.data.TFRecordDataset(sorted(map(str, files)), compression_type="GZIP")
    for block in shards.batch(BLOCK):
        found = tf.io.parse_example(block, FEATURES)
        held_out = is_held_out(found["id"], settings).numpy()
        columns = {
            name: [value.decode() for value in found[name].numpy()]
            for name in FEATURES
            if name != "morphemes"
        }
        columns["morphemes"] = [[word.decode() for word in row] for row in found["morphemes"].to_list()]
        for place, held in enumerate(held_out):
            yield {name: column[place] for name, column in columns.items()}, bool(held)


def encode(
    files: Sequence[Path], vocabulary: Vocabulary, classes: Sequence[str], settings: Settings
) -> dict[str, Rows]:
    """Read all records once more and return part ("train", "validation") → its texts with a topic, as numbers.

    They stay in memory, where :func:`survey` already has the texts.
    """
    numbers, topics = vocabulary.numbers(), {name: place for place, name in enumerate(classes)}
    found: dict[str, list[tuple[list[int], int]]] = {"train": [], "validation": []}
    for record, held_out in read(files, settings):
        if record["label"]:
            row = [numbers.get(word, UNKNOWN) for word in record["morphemes"][: settings.limit]]
            found["validation" if held_out else "train"].append((row, topics[record["label"]]))
    return {
        part: Rows([row for row, _ in pairs], np.array([label for _, label in pairs], np.int64))
        for part, pairs in found.items()
    }


def batches(rows: Rows, size: int, order: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches that take every text once: numbers int32 (B, T) padded with 0, and labels int64 (B,).

    The texts of a batch are about as long, so that little is padding.

    Args:
        size: of a batch; the last ones of a chunk may be smaller.
        order: seeds of the random order.
    """
    random = np.random.default_rng(order)
    places, found = random.permutation(len(rows.numbers)), []
    for first in range(0, len(places), CHUNK * size):
        chunk = sorted(places[first : first + CHUNK * size], key=lambda place: len(rows.numbers[place]))
        found += [chunk[start : start + size] for start in range(0, len(chunk), size)]
    for number in random.permutation(len(found)):
        yield pad([rows.numbers[place] for place in found[number]]), rows.labels[found[number]]


def is_held_out(ids: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Say of ids, strings (N,), whether they belong to the validation part, bool (N,)."""
    slots = tf.strings.to_hash_bucket_strong(ids, SLOTS, key=[settings.seed, 0])
    return slots < round(settings.validation * SLOTS)
