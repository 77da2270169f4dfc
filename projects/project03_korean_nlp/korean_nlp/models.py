"""The two networks: numbers of morphemes (B, T), 0 where there is none, → logits (B, topics).

What stands in the padded places changes nothing: the LSTM skips them in both directions, and the convolution sees zeros
there, as beyond the end of a text, and never takes its maximum from them.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from korean_nlp.dataset import PAD, UNKNOWN, Vocabulary, pad

NETWORKS = {"cnn": "CNN", "lstm": "Bi-LSTM"}
WIDTHS = (1, 2, 3)  # morphemes that a filter of the CNN looks at
TOGETHER = 256  # texts that are classified at once


@keras.saving.register_keras_serializable("korean_nlp")
class Forget(layers.Layer):
    """Turns a share of the morphemes into the unknown one while a network learns.

    Each morpheme of the training part has a number, so that the unknown one's vector would never be learnt.
    """

    def __init__(self, share: float, seed: int):
        super().__init__()
        self.share, self.generator = share, keras.random.SeedGenerator(seed)

    def call(self, numbers, training=False):
        if not training or not self.share:
            return numbers
        chosen = keras.random.uniform(ops.shape(numbers), seed=self.generator) < self.share
        return ops.where(chosen & (numbers != PAD), UNKNOWN, numbers)


def build(kind: str, words: int, topics: int, settings: dict) -> keras.Model:
    """Return an untrained network.

    Args:
        kind: of :data:`NETWORKS`.
        words: size of the vocabulary, with the two numbers that are no morpheme's.
        topics: of the answer.
        settings: as JSON: ``embedding``, ``units``, ``dropout``, ``unknown``, ``seed``.
    """
    keras.utils.set_random_seed(settings["seed"])
    numbers = keras.Input((None,), dtype="int32")
    seen = Forget(settings["unknown"], settings["seed"])(numbers)
    make = {"lstm": _lstm, "cnn": _cnn}[kind]
    hidden = make(seen, layers.Embedding(words, settings["embedding"], mask_zero=kind == "lstm"), settings)
    hidden = layers.Dropout(settings["dropout"])(hidden)
    return keras.Model(numbers, layers.Dense(topics)(hidden), name=kind)


def _lstm(numbers, embedding, settings):
    """Join the last states of both directions, (B, 2 units). The mask goes along with what is embedded."""
    embedded = layers.Dropout(settings["dropout"])(embedding(numbers))
    return layers.Bidirectional(layers.LSTM(settings["units"]))(embedded)


def _cnn(numbers, embedding, settings):
    """Join the largest answers of filters of three widths, (B, 3 units)."""
    real = ops.expand_dims(ops.not_equal(numbers, PAD), -1)
    embedded = layers.Dropout(settings["dropout"])(ops.where(real, embedding(numbers), 0.0))
    found = [
        layers.Conv1D(settings["units"], width, padding="same", activation="relu")(embedded)
        for width in WIDTHS
    ]
    return layers.Concatenate()([ops.max(ops.where(real, answers, 0.0), axis=1) for answers in found])


class Network:
    """A trained network with its vocabulary.

    Args:
        limit: morphemes of a text that are read.
    """

    def __init__(self, model: keras.Model, vocabulary: Vocabulary, limit: int):
        self.numbers, self.limit = vocabulary.numbers(), limit
        shape = tf.TensorSpec((None, None), tf.int32)
        self._run = tf.function(
            lambda rows: model(rows, training=False), input_signature=[shape], autograph=False
        )
        self._topics = model.output_shape[-1]

    def probabilities(self, texts: Sequence[str], morphemes: Sequence[Sequence[str]]) -> np.ndarray:
        """Return float32 (N, topics), see :class:`storage.Classifier`."""
        rows = [[self.numbers.get(word, UNKNOWN) for word in row[: self.limit]] for row in morphemes]
        return tf.nn.softmax(self.logits(rows)).numpy()

    def logits(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """Return float32 (N, topics) for rows of numbers. Texts of similar lengths are padded together."""
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        answers = np.zeros((len(rows), self._topics), np.float32)
        for start in range(0, len(rows), TOGETHER):
            places = order[start : start + TOGETHER]
            answers[places] = self._run(pad([rows[place] for place in places])).numpy()
        return answers
