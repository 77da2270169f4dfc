"""Loads a finished model in one of its formats and classifies pictures with it."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from image_classifier import images, storage
from tf_study.environment import quiet_stderr
from tf_study.errors import StudyError

BATCH = 32

Run = Callable[[np.ndarray], np.ndarray]  # uint8 (B, side, side, 3) → float32 (B, classes)


@dataclass(frozen=True)
class Predictor:
    """A loaded model. It may be used from several threads at once.

    ``classes``: names, in the order of the probabilities. ``side``: pixels of a prepared picture.
    ``run``: maps a prepared batch to probabilities.
    """

    classes: tuple[str, ...]
    side: int
    run: Run

    def predict(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Classify pictures of any sizes, as from :func:`images.read`.

        Args:
            pictures: N arrays uint8 (H, W, 3).

        Returns:
            Probabilities, float32 (N, classes); each row sums to 1.
        """
        prepared = [images.fit(picture, self.side) for picture in pictures]
        parts = [
            self.run(np.stack(prepared[start : start + BATCH])) for start in range(0, len(prepared), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def top(self, probabilities: np.ndarray, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest classes of one row of probabilities (classes,), best first."""
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.classes[index], float(probabilities[index])) for index in order]


def load_predictor(folder: Path, name: str = "tflite") -> Predictor:
    """Load a finished model.

    Args:
        folder: where :mod:`training` or :mod:`export` wrote it.
        name: a key of :data:`storage.FILES`: ``"tflite"``, ``"int8"`` or ``"keras"``.

    Raises:
        StudyError: if the folder holds no finished model, or the file is missing or damaged.
    """
    folder = Path(folder)
    card = storage.read_card(folder)
    path = storage.checked(folder, card, storage.FILES[name])
    run = _keras(path) if name == "keras" else _tflite(path)
    return Predictor(tuple(card["classes"]), card["side"], run)


def predict_files(
    predictor: Predictor, paths: Sequence[Path]
) -> Iterator[tuple[Path, np.ndarray | StudyError]]:
    """Yield each file with its probabilities (classes,), or with the error that it gave, in order."""
    waiting = []
    for index, item in enumerate(images.read_many(paths, predictor.side), start=1):
        waiting.append(item)
        if len(waiting) == BATCH or index == len(paths):
            good = [picture for _, picture in waiting if not isinstance(picture, StudyError)]
            rows = iter(predictor.predict(good))
            for path, picture in waiting:
                yield path, picture if isinstance(picture, StudyError) else next(rows)
            waiting = []


def _keras(path: Path) -> Run:
    model = keras.models.load_model(path)
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    call = tf.function(lambda batch: model(batch, training=False), input_signature=[shape])
    return lambda batch: call(batch.astype(np.float32)).numpy()


def _tflite(path: Path) -> Run:
    # TF 2.19 announces that its interpreter moves to another package; it is the one that this course pins.
    with quiet_stderr(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        # One thread: on a busy machine two that wait for each other take hundreds of times as long.
        interpreter = tf.lite.Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    lock, size = threading.Lock(), 1

    def run(batch: np.ndarray) -> np.ndarray:
        nonlocal size
        with lock:  # An interpreter holds one batch at a time.
            if len(batch) != size:
                interpreter.resize_tensor_input(entry["index"], batch.shape)
                interpreter.allocate_tensors()
                size = len(batch)
            interpreter.set_tensor(entry["index"], _quantize(batch, entry))
            interpreter.invoke()
            return _dequantize(interpreter.get_tensor(exit_["index"]), exit_)

    return run


def _quantize(batch: np.ndarray, entry: dict) -> np.ndarray:
    """Turn pixels 0..255 into the whole numbers q of the input, batch = scale (q - zero)."""
    scale, zero = entry["quantization"]
    if not scale:  # A float model.
        return batch.astype(np.float32)
    return np.clip(np.rint(batch / scale + zero), 0, 255).astype(np.uint8)


def _dequantize(values: np.ndarray, exit_: dict) -> np.ndarray:
    """Turn the output's whole numbers into probabilities; rounded to 1/256 they need a new sum of 1."""
    scale, zero = exit_["quantization"]
    if not scale:
        return values
    values = scale * (values.astype(np.float32) - zero)
    return values / values.sum(axis=1, keepdims=True)
