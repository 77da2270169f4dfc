"""Texts to token numbers, twice: in Python for training, in a TensorFlow graph for what is served.

In Python it is Hugging Face's ``tokenizers``; in the graph TensorFlow Text, so that a SavedModel takes strings. The
two differ seldom: BERT's words are given up at 100 bytes there unless told otherwise (:data:`LONGEST`); Hugging Face
drops joiners such as U+200D, by which emoji are put together; and of two equally likely ways to cut a text each takes
its own.
"""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sentiment_analysis.encoders import PIECES, TOKENIZER, Description
from tf_study.errors import StudyError

LONGEST = 300  # bytes of a word: Hugging Face allows 100 characters, Hangul takes three bytes each


class Outside:
    """The tokenizer in Python: texts → token numbers, with the special ones."""

    def __init__(self, folder: Path, about: Description):
        import tokenizers

        self.about = about
        self._core = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        self._core.no_padding()
        self._core.enable_truncation(about.limit)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the numbers of every text, int32 (T,), T differing."""
        prepared = [self.about.prefix + unicodedata.normalize("NFC", text) for text in texts]
        found = self._core.encode_batch(prepared)
        return [np.array(encoding.ids, np.int32) for encoding in found]

    def tokenize(self, texts: tf.Tensor) -> dict[str, np.ndarray]:
        """Return what :class:`Inside` does, in NumPy."""
        prepared = [unicodedata.normalize("NFC", text.decode()) for text in texts.numpy()]
        found = self._core.encode_batch([self.about.prefix + text for text in prepared])
        before, spans = len(self.about.prefix), []
        for text, encoding in zip(prepared, found, strict=True):
            places = np.cumsum([0, *(len(letter.encode()) for letter in text)])  # characters → bytes
            spans.append(places[np.maximum(np.array(encoding.offsets) - before, 0)])
        rows = [np.array(encoding.ids, np.int32) for encoding in found]
        return {
            "ids": padded(rows, self.about.pad),
            "lengths": np.array(list(map(len, rows)), np.int32),
            "starts": padded([span[:, 0] for span in spans], 0),
            "ends": padded([span[:, 1] for span in spans], 0),
        }


class Inside(tf.Module):
    """The tokenizer in a graph. Its files go into the SavedModel."""

    def __init__(self, folder: Path, about: Description):
        super().__init__()
        self.about = about
        self._cut = self._sentences(folder) if (folder / PIECES).exists() else self._words(folder)
        self.before = 0  # pieces of the prefix
        if about.prefix:
            self.before = len(self._cut([about.prefix])[0])

    # Both return a function of N texts. It returns numbers, starts and ends of the pieces of all of them (P,), and
    # which pieces are whose (N + 1,). The ragged tensors of ``BertTokenizer`` and of what could follow check
    # themselves again and again: the graph would be ten times as large, and loading and the first answer slow.

    def _sentences(self, folder: Path):
        self._core = library().SentencepieceTokenizer(model=(folder / PIECES).read_bytes())

        def cut(texts):
            found = self._core.tokenize_with_offsets(texts)
            return *(each.flat_values for each in found), found[0].row_splits

        return cut

    def _words(self, folder: Path):
        vocabulary = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))["model"]["vocab"]
        rows = tf.lookup.KeyValueTensorInitializer(
            list(vocabulary), tf.constant(list(vocabulary.values()), tf.int64)
        )
        self.table = tf.lookup.StaticVocabularyTable(rows, num_oov_buckets=1)
        whole = library().BertTokenizer(self.table, max_bytes_per_word=LONGEST)
        words, pieces = whole._basic_tokenizer, whole._wordpiece_tokenizer

        def cut(texts):
            found, begins, _ = words.tokenize_with_offsets(texts)
            numbers, starts, ends = pieces.tokenize_with_offsets(found.flat_values)
            begins = tf.repeat(begins.flat_values, numbers.row_lengths())
            splits = tf.gather(numbers.row_splits, found.row_splits)
            return numbers.flat_values, begins + starts.flat_values, begins + ends.flat_values, splits

        return cut

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenize N texts.

        Returns:
            ``ids`` int32 (N, T), padded; ``lengths`` int32 (N,); ``starts``, ``ends`` int32 (N, T): the bytes of a
            text in NFC that a token stands for, 0 and 0 for special and padding ones.
        """
        about = self.about
        composed = library().normalize_utf8(texts, "NFC")
        pieces, starts, ends, splits = self._cut(tf.strings.join([about.prefix, composed]))
        counts = tf.minimum(tf.cast(splits[1:] - splits[:-1], tf.int32), about.limit - 2)[:, None]  # (N, 1)
        places = tf.range(tf.reduce_max(counts) + 2)[None]  # (1, T)
        real = (places > 0) & (places <= counts)  # (N, T)
        rows = tf.where(real, tf.cast(splits[:-1, None], tf.int32) + places - 1, tf.size(pieces))

        def dense(found):
            """Return the tokens' numbers at their places and 0 elsewhere, int32 (N, T)."""
            return tf.gather(tf.pad(tf.cast(found, tf.int32), [[0, 1]]), rows)

        ids = tf.where(places == counts + 1, about.last, tf.where(real, dense(pieces), about.pad))
        before = len(about.prefix.encode())
        return {
            "ids": tf.where(places == 0, about.first, ids),
            "lengths": counts[:, 0] + 2,
            "starts": tf.maximum(dense(starts) - before, 0),
            "ends": tf.maximum(dense(ends) - before, 0),
        }


def library():
    """Return TensorFlow Text; importing it also makes TensorFlow know the ops of a SavedModel with a tokenizer.

    Raises:
        StudyError: if there is none for this system.
    """
    try:
        import tensorflow_text
    except ImportError:
        raise StudyError(
            "tensorflow-text 패키지가 없어 글을 받는 SavedModel을 쓸 수 없으니 make study로 설치하거나 "
            "--form int8을 쓰세요."
        ) from None
    return tensorflow_text


def padded(rows: Sequence[np.ndarray], pad: int) -> np.ndarray:
    """Return token numbers as one array, int32 (N, T)."""
    ids = np.full((len(rows), max(map(len, rows))), pad, np.int32)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    return ids
