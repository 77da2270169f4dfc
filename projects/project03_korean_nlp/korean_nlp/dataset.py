"""From the TFRecord shards that ``prepare`` wrote to padded batches of numbers, as a stream in every epoch.

Which records are held out for validation follows from their ids, so that it does not change with their order, their
shards or the number of machines that prepared them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
SHUFFLED = 20_000  # records among which the next one is drawn
OPEN = 4  # shards that are read in turn
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

    def table(self) -> tf.lookup.StaticHashTable:
        """Return the same as a table for :mod:`tf.data`."""
        return _table(self.words, FIRST, UNKNOWN)


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
    for block in _shards(files).batch(BLOCK):
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


def batches(
    files: Sequence[Path],
    vocabulary: Vocabulary,
    classes: Sequence[str],
    settings: Settings,
    held_out: bool,
    order: tuple[int, ...] | None = None,
) -> tf.data.Dataset:
    """Return batches of one part: numbers int32 (B, T) padded with 0, and labels int64 (B,).

    Texts of similar lengths share a batch. No more than :data:`SHUFFLED` records are in memory.

    Args:
        files: the shards.
        held_out: of the two parts, that for validation.
        order: seeds of a random order; ``None`` keeps that of the shards.
    """
    encode = _encoder(vocabulary, tuple(classes), settings, held_out)
    rows = _shards(files, order).batch(BLOCK).map(encode).unbatch().map(_filled)
    if order is not None:
        rows = rows.shuffle(SHUFFLED, seed=int(_generator(order).integers(2**31)))
    bounds = _bounds(settings.limit)
    return rows.bucket_by_sequence_length(
        lambda numbers, label: tf.size(numbers),
        bucket_boundaries=bounds,
        bucket_batch_sizes=[settings.batch] * (len(bounds) + 1),
    ).prefetch(2)


@lru_cache(2)  # Each epoch has batches of its own; the graph is made once for all.
def _encoder(vocabulary: Vocabulary, classes: tuple[str, ...], settings: Settings, held_out: bool):
    """Return a graph: serialised records (N,) → the numbers of those of one part, ragged int32, and their labels."""
    words, topics = vocabulary.table(), _table(classes, 0, -1)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def encode(block):
        found = tf.io.parse_example(block, FEATURES)
        labels = topics.lookup(found["label"])
        kept = (labels >= 0) & (is_held_out(found["id"], settings) == held_out)
        numbers = tf.ragged.map_flat_values(words.lookup, found["morphemes"])[:, : settings.limit]
        return tf.cast(tf.ragged.boolean_mask(numbers, kept), tf.int32), tf.boolean_mask(labels, kept)

    return encode


@tf.function(input_signature=[tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int64)], autograph=False)
def _filled(numbers, label):
    """Return one text's numbers, an unknown morpheme's if there is none, and its label."""
    lacking = tf.cast(tf.equal(tf.size(numbers), 0), tf.int32)
    return tf.pad(numbers, [[0, lacking]], constant_values=UNKNOWN), label


def is_held_out(ids: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Say of ids, strings (N,), whether they belong to the validation part, bool (N,)."""
    slots = tf.strings.to_hash_bucket_strong(ids, SLOTS, key=[settings.seed, 0])
    return slots < round(settings.validation * SLOTS)


def _shards(files: Sequence[Path], order: tuple[int, ...] | None = None) -> tf.data.Dataset:
    """Return the serialised records of gzipped shards, in their order or some of them in turn."""
    names = sorted(map(str, files))
    if order is None:
        return tf.data.TFRecordDataset(names, compression_type="GZIP")
    names = tf.data.Dataset.from_tensor_slices(_generator(order).permutation(names).astype(str))
    return names.interleave(
        lambda name: tf.data.TFRecordDataset(name, compression_type="GZIP"), cycle_length=OPEN
    )


def _generator(order: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(order)


def _bounds(limit: int) -> list[int]:
    """Return the lengths at which another kind of batch begins: 9, 17, 33, ..., below the limit."""
    return [1 + 2**power for power in range(3, limit.bit_length()) if 2**power < limit]


def _table(names: Sequence[str], first: int, other: int) -> tf.lookup.StaticHashTable:
    numbers = tf.range(first, first + len(names), dtype=tf.int64)
    entries = tf.lookup.KeyValueTensorInitializer(tf.constant(list(names), tf.string), numbers)
    return tf.lookup.StaticHashTable(entries, other)
