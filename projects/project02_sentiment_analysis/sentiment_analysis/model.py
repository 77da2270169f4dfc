"""A trained model in one of its forms: the only thing that evaluation, serving and explanation know.

It is loaded without transformers and without ``tf_keras``.
"""

import bisect
import json
import math
import threading
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sentiment_analysis import tokens
from sentiment_analysis.encoders import TOKENIZER, Description
from sentiment_analysis.storage import CALIBRATION, TOKENS, checked
from tf_study.environment import quiet_stderr
from tf_study.errors import StudyError

BATCH = 64  # texts computed together at most; more are cut into batches of about equal lengths
POINTS = 32  # of a path computed together
STEP = 8  # TFLite's tokens are padded to a multiple of this, so that its memory is planned seldom


class Model:
    """A loaded model. It may be used from several threads at once.

    Attributes:
        folder, form: where it was loaded from. limit: tokens of a text at most, special ones included.
        temperature: what logits are divided by before they become probabilities; 1.0 until ``evaluate`` measured it.
    """

    def __init__(self, folder: Path, form: str, about: Description, temperature: float):
        self.folder, self.form, self.temperature = folder, form, temperature
        self.limit, self._about = about.limit, about
        if form == "saved_model":
            served = _load_saved(folder / form)
            self._kept, self._tokenize = served, served.signatures["tokenize"]
            self._slopes = served.signatures["slopes"]
            predict = served.signatures["serving_default"]
            self._logits = lambda texts: predict(texts=tf.constant(texts))["logits"].numpy()
        else:
            self._kept, self._tokenize = _load_tokens(folder, about)
            self._run = _tflite(folder / f"{form}.tflite", about.pad)
            self._logits = lambda texts: self._run(self._tokens(texts)["ids"])

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return what the network says of N texts, float32 (N, 2), not divided by the temperature."""
        answers = np.zeros((len(texts), 2), np.float32)
        prepared = _encoded(texts)
        order = np.array(sorted(range(len(texts)), key=lambda row: len(prepared[row])), np.int64)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            answers[rows] = self._logits([prepared[row] for row in rows])
        return answers

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return how likely each class is, float32 (N, 2); rows sum to 1."""
        scaled = self.logits(texts) / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return powers / powers.sum(axis=1, keepdims=True)

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Return how many tokens each text has, int32 (N,), special ones included, ``limit`` at most."""
        if not len(texts):
            return np.zeros(0, np.int32)
        return self._tokens(_encoded(texts))["lengths"]

    def pieces(self, text: str) -> list[tuple[int, int]]:
        """Return the characters of ``text`` that each token stands for, without spaces; (0, 0) for special ones."""
        composed = unicodedata.normalize("NFC", text)
        (encoded,) = _encoded([composed])
        found = self._tokens([encoded])
        places = None if composed == text else _places(text)
        spans = []
        for start, end in zip(found["starts"][0].tolist(), found["ends"][0].tolist(), strict=True):
            first, last = (len(encoded[:byte].decode("utf-8", "ignore")) for byte in (start, end))
            while first < last and composed[first].isspace():
                first += 1
            if places:
                first, last = places[first], places[last]
            spans.append((first, last) if first < last else (0, 0))
        return spans

    def slopes(self, text: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what integrated gradients add up, on the straight way from a baseline to a text.

        The baseline has the embedding of padding where the text has words; special tokens stay.

        Args:
            points: float (S,), places on the way, 0 the baseline and 1 the text.

        Returns:
            margins, float32 (S,): logit[1] - logit[0] there. terms, float32 (S, T): for each token the margin's
            derivative with respect to its embedding times (embedding - baseline).

        Raises:
            StudyError: if the form is not ``saved_model``, which alone has gradients.
        """
        if self.form != "saved_model":
            raise StudyError(f"{self.form} 형식은 기울기를 낼 수 없으니 saved_model을 쓰세요.")
        ids = tf.constant(self._tokens(_encoded([text]))["ids"])
        margins, terms = [], []
        for first in range(0, len(points), POINTS):
            part = tf.constant(points[first : first + POINTS], tf.float32)
            found = self._slopes(ids=ids, points=part)
            margins.append(found["margins"].numpy())
            terms.append(found["terms"].numpy())
        return np.concatenate(margins), np.concatenate(terms)

    def _tokens(self, texts: Sequence[bytes]) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(found) for name, found in self._tokenize(texts=tf.constant(list(texts))).items()
        }


def load(folder: Path, form: str = "saved_model") -> Model:
    """Load a model that ``export`` wrote.

    Args:
        folder: of the model.
        form: of ``settings.FORMS``.

    Raises:
        StudyError: if the folder holds no finished model or not this form of it, or a file is damaged.
    """
    folder = Path(folder)
    return opened(folder, form, checked(folder, form))


def opened(folder: Path, form: str, card: dict) -> Model:
    """Load a model whose card and files :func:`storage.checked` has looked at."""
    return Model(folder, form, Description(**card["encoder"]), read_temperature(folder))


def read_temperature(folder: Path) -> float:
    """Return the temperature that ``evaluate`` left, 1.0 without one.

    Raises:
        StudyError: if its file is damaged.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return 1.0
    try:
        value = float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
    except (OSError, ValueError, KeyError, TypeError):
        value = math.nan
    if not 0 < value < math.inf:
        raise StudyError(f"{path}의 내용이 깨졌으니 evaluate를 다시 실행하거나 지우세요.")
    return value


def _encoded(texts: Sequence[str]) -> list[bytes]:
    """Return texts in UTF-8; halves of a character, which JSON can smuggle in, become question marks."""
    return [text.encode("utf-8", "replace") for text in texts]


def _places(text: str) -> list[int]:
    """Return where in a text each character of its NFC begins, and the text's length."""
    counts = [len(unicodedata.normalize("NFC", text[:end])) for end in range(len(text) + 1)]
    return [bisect.bisect_right(counts, count) - 1 for count in range(counts[-1] + 1)]


def _load_saved(path: Path):
    tokens.library()
    try:
        with quiet_stderr():
            return tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise StudyError(
            f"{path}을(를) 읽을 수 없으니 export를 다시 실행하세요 ({type(error).__name__})."
        ) from error


def _load_tokens(folder: Path, about: Description) -> tuple[object, Callable]:
    """Return the tokenizer of TFLite's models: TensorFlow Text's, or Hugging Face's where there is none."""
    try:
        served = _load_saved(folder / TOKENS)
        return served, served.signatures["tokenize"]
    except StudyError:
        if not (folder / TOKENIZER).is_file():
            raise
    outside = tokens.Outside(folder, about)
    return outside, outside.tokenize


def _tflite(path: Path, pad: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of token numbers int32 (N, T), padded with ``pad``, to logits float32 (N, 2)."""
    # TF 2.19 announces that its interpreter moves to another package; it is the one that this course pins.
    with quiet_stderr(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(str(path), num_threads=1)  # One: two wait for each other.
        interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    lock, shape = threading.Lock(), None

    def run(ids: np.ndarray) -> np.ndarray:
        nonlocal shape
        answers = np.zeros((len(ids), 2), np.float32)
        lengths = (ids != pad).sum(1)
        rooms = -(-lengths // STEP) * STEP
        with lock:  # An interpreter holds one batch at a time.
            for room in np.unique(rooms):
                rows = np.flatnonzero(rooms == room)
                batch = np.full((len(rows), room), pad, np.int32)
                width = min(room, ids.shape[1])
                batch[:, :width] = ids[rows, :width]
                if batch.shape != shape:
                    interpreter.resize_tensor_input(entry, batch.shape)
                    interpreter.allocate_tensors()
                    shape = batch.shape
                interpreter.set_tensor(entry, batch)
                interpreter.invoke()
                answers[rows] = interpreter.get_tensor(exit_)
        return answers

    return run
