"""Writes a trained model as ``.keras``, TFLite with floats and TFLite with whole numbers (int8)."""

import contextlib
import io
import warnings
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from image_classifier import storage
from tf_study import cli, model_folder
from tf_study.environment import quiet_stderr


def to_tflite(model: keras.Model) -> bytes:
    """Convert a model, float32 (B, side, side, 3) → float32 (B, classes), B free at run time."""
    return _convert(_converter(model))


def to_int8(model: keras.Model, samples: np.ndarray) -> bytes:
    """Convert a model to whole numbers throughout: weights, activations, input and output are 8 bits.

    Args:
        model: as in :func:`to_tflite`.
        samples: training pictures, uint8 (N, side, side, 3), from which every tensor's range is measured.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[None].astype(np.float32)] for picture in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return _convert(converter)


def write_all(
    model: keras.Model, samples: np.ndarray, folder: Path, formats: Collection[str] = tuple(storage.FILES)
) -> dict[str, str]:
    """Write the formats and the samples into a folder.

    Args:
        model: from :func:`model.deployable`.
        samples: as in :func:`to_int8`.
        formats: keys of :data:`storage.FILES`.

    Returns:
        file name → SHA-256, for the card.
    """
    savers = {
        "keras": model.save,
        "tflite": lambda path: path.write_bytes(to_tflite(model)),
        "int8": lambda path: path.write_bytes(to_int8(model, samples)),
    }
    names = {storage.FILES[name]: savers[name] for name in formats}
    names[storage.SAMPLES] = lambda path: np.savez_compressed(path, pictures=samples)
    for name, save in names.items():
        cli.write(folder / name, save)
    return {name: model_folder.digest(folder / name) for name in names}


def export(folder: Path, output: Path | None = None, formats: Collection[str] = tuple(storage.FILES)) -> dict:
    """Export a finished model again, into its own folder or another.

    Args:
        folder: a finished model.
        output: where to; ``None`` means ``folder``. Another folder holds only the chosen formats.
        formats: keys of :data:`storage.FILES`.

    Returns:
        The card of ``output``.

    Raises:
        StudyError: if the model is missing or damaged, or a file cannot be written.
    """
    card = storage.read_card(folder)
    model = keras.models.load_model(storage.checked(folder, card, storage.FILES["keras"]))
    with np.load(storage.checked(folder, card, storage.SAMPLES)) as stored:
        samples = stored["pictures"]
    same = output is None or output.resolve() == folder.resolve()
    output = folder if same else output
    kept = card["files"] if same else {}
    card["files"] = {**kept, **write_all(model, samples, output, formats)}
    storage.write_json(output / storage.CARD, card)
    return card


def _converter(model: keras.Model):
    """Return a converter of a model's function alone; ``from_keras_model`` would save the layers, too."""
    picture = tf.TensorSpec(model.input_shape, tf.float32, name="picture")
    function = tf.function(lambda picture: model(picture, training=False), [picture], autograph=False)
    kept = tf.Module()
    kept.weights = [weight.value for weight in model.weights]
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], kept)


def _convert(converter) -> bytes:
    # The converter lists its inputs on stdout, warns that int8 takes ranges from samples alone, which is the
    # intention, and lets C++ report on descriptor 2. Failures are raised and so not lost.
    with contextlib.redirect_stdout(io.StringIO()), quiet_stderr(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return converter.convert()
