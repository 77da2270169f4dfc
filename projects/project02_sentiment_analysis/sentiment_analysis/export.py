"""Writes a trained model in the forms that are served: a SavedModel that takes strings, and TFLite in two sizes.

What is written knows neither transformers nor ``tf_keras``: only the variables and the functions traced here.
"""

import argparse
import contextlib
import io
import os
import shutil
import time
import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import tensorflow as tf

from sentiment_analysis import dataset, model, storage, tokens
from sentiment_analysis.encoders import PIECES, TOKENIZER, Description, Network
from sentiment_analysis.training import WEIGHTS
from tf_study import cli, model_folder
from tf_study.environment import quiet_stderr
from tf_study.errors import StudyError

TEXTS = tf.TensorSpec((None,), tf.string, name="texts")
IDS = tf.TensorSpec((None, None), tf.int32, name="ids")
TEXT = tf.TensorSpec((1, None), tf.int32, name="ids")
WARM = "assets.extra/tf_serving_warmup_requests"  # where TensorFlow Serving looks for them
WARM_SIZES = (1, 8, 32)
PLACES = tf.TensorSpec((None,), tf.float32, name="points")


def run(options: argparse.Namespace) -> None:
    """Write the chosen forms; print what each weighs, costs and answers."""
    card = export(options.model, options.forms)
    parts = dataset.of_card(card)
    count = min(options.count, len(parts.test))
    rows = np.random.default_rng(0).permutation(len(parts.test))[:count]
    print(table(options.model, options.forms, parts.test.take(rows)))


def export(folder: Path, forms: Collection[str]) -> dict:
    """Write forms of a trained model into its folder.

    Args:
        folder: of a finished training.
        forms: of ``settings.FORMS``.

    Returns:
        The card, which now names the forms' files.

    Raises:
        StudyError: if the model is missing or damaged, a package is missing, or a file cannot be written.
    """
    card = storage.read_card(folder)
    network = load(folder, card)
    words = Tokens(tokens.Inside(folder, network.about))
    _replace(folder / storage.TOKENS, lambda path: _save(words, path))
    if "saved_model" in forms:
        _replace(folder / "saved_model", lambda path: _save_served(Served(network, words), path))
    if small := [form for form in forms if form != "saved_model"]:
        graph = to_graph(network)
        for form in small:
            content = to_tflite(network, graph, half=form == "float16")
            cli.write(folder / f"{form}.tflite", lambda path, content=content: path.write_bytes(content))
    model_folder.write_card(folder, card, files(folder))
    return storage.read_card(folder)


def load(folder: Path, card: dict) -> Network:
    """Return the network of a finished training, which needs transformers.

    Raises:
        StudyError: if its weights are missing or not the ones that were saved.
    """
    network = Network(Description(**card["encoder"]))
    model_folder.load_weights(network, folder, card, WEIGHTS)
    for name in (TOKENIZER, PIECES):
        storage.check_file(folder, card, name, "원본을 복사하거나 train을 --restart로 실행하세요")
    return network


class Served(tf.Module):
    """A network that takes strings. Its answers are not divided by a temperature."""

    def __init__(self, network: Network, words: "Tokens"):
        super().__init__()
        self.words, self.kept = words, network.weights  # What the functions use must be found here.
        about, inside = network.about, words.inside

        @tf.function(input_signature=[TEXTS], autograph=False)
        def predict(texts):
            """Strings (N,) → logits and probabilities, float32 (N, 2)."""
            # As the other signature: its graph is made, saved and loaded once for both.
            logits = network(words.tokenize(texts)["ids"])
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

        @tf.function(input_signature=[TEXT, PLACES], autograph=False)
        def slopes(ids, points):
            """Of a text's margin, logit[1] - logit[0], between padding and its words: see ``model.Model.slopes``."""
            places = tf.range(tf.shape(ids)[1])[None]
            special = (ids == about.first) | (ids == about.last) | (places <= inside.before)
            words, mask = network.embed(ids), network.mask(ids)  # (1, T, E), (1, T)
            base = network.embed(tf.where(special, ids, about.pad))
            way = words - base
            mixed = base + points[:, None, None] * way  # (S, T, E)
            with tf.GradientTape() as tape:
                tape.watch(mixed)
                logits = network.from_embedded(mixed, tf.repeat(mask, tf.shape(points)[0], 0))
                margins = logits[:, 1] - logits[:, 0]
            return {
                "margins": margins,
                "terms": tf.einsum("ste,te->st", tape.gradient(margins, mixed), way[0]),
            }

        self.predict, self.tokenize, self.slopes = predict, words.tokenize, slopes

    @property
    def signatures(self) -> dict:
        """What a loaded model can do, by name."""
        return {"serving_default": self.predict, "tokenize": self.tokenize, "slopes": self.slopes}


class Tokens(tf.Module):
    """The tokenizer alone, for TFLite, whose models take numbers."""

    def __init__(self, inside: tokens.Inside):
        super().__init__()
        self.inside = inside
        self.tokenize = tf.function(inside, input_signature=[TEXTS], autograph=False)

    @property
    def signatures(self) -> dict:
        """What a loaded model can do, by name."""
        return {"tokenize": self.tokenize}


def to_graph(network: Network):
    """Return what both sizes for TFLite are made of: a graph, int32 (B, T) → float32 (B, 2)."""
    function = tf.function(lambda ids: {"logits": network(ids)}, input_signature=[IDS], autograph=False)
    return function.get_concrete_function()


def to_tflite(network: Network, graph, half: bool) -> bytes:
    """Convert a network, int32 (B, T) → float32 (B, 2), both sizes free at run time.

    Args:
        graph: of :func:`to_graph`.
        half: store the weights as 16-bit floats; else as 8-bit whole numbers, with activations quantized as they come.
    """
    # The variables alone: with the layers the converter would save Keras's own functions, too.
    kept = tf.Module()
    kept.weights = network.weights
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], kept)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if half:
        converter.target_spec.supported_types = [tf.float16]
    # The converter lists its inputs on stdout and lets C++ report on descriptor 2. Failures are raised.
    with contextlib.redirect_stdout(io.StringIO()), quiet_stderr(), warnings.catch_warnings():
        return converter.convert()


def table(folder: Path, forms: Collection[str], reviews: dataset.Reviews) -> str:
    """Return what each form weighs, costs and answers, as a table."""
    rows, first = [("형식", "크기 MB", "정확도", "일치", "리뷰당 CPU ms")], None
    for form in forms:
        loaded = model.load(folder, form)
        loaded.logits(reviews.texts[:2])  # The first call is slower.
        begin = time.process_time()
        answers = np.array([loaded.logits([text])[0].argmax() for text in reviews.texts])
        cost = (time.process_time() - begin) / len(reviews)
        first = answers if first is None else first
        rows.append((
            form,
            f"{size(folder, form) / 1e6:,.1f}",
            f"{np.mean(answers == reviews.labels):.3f}",
            f"{np.mean(answers == first):.3f}",
            f"{1000 * cost:.1f}",
        ))  # fmt: skip
    head = f"형식 비교 (테스트 리뷰 {len(reviews)}개를 하나씩, 일치는 첫 줄과 같은 답의 비율)"
    return f"{head}\n{cli.table(rows)}"


def size(folder: Path, form: str) -> int:
    """Return the bytes of a form's files."""
    place = folder / form
    files = place.rglob("*") if place.is_dir() else [folder / f"{form}.tflite"]
    return sum(path.stat().st_size for path in files if path.is_file())


def files(folder: Path) -> list[str]:
    """Return the files of a model that its card must name, relative to its folder."""
    found = [folder / name for name in (WEIGHTS, TOKENIZER, PIECES)] + sorted(folder.glob("*.tflite"))
    for name in ("saved_model", storage.TOKENS):
        found += sorted((folder / name).rglob("*"))
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()]


def _save_served(served: Served, path: Path) -> None:
    """Save a model with requests that TensorFlow Serving answers to itself before it says that it is ready."""
    _save(served, path)
    (path / WARM).parent.mkdir()
    with tf.io.TFRecordWriter(str(path / WARM)) as file:
        for size in WARM_SIZES:
            file.write(warm_up([f"{number}번 손님이 아주 재미있게 봤어요." for number in range(size)]))


def warm_up(texts: list[str]) -> bytes:
    """Return TensorFlow Serving's ``PredictionLog`` of a request for ``serving_default``.

    Its schema is not installed. Of a message of messages each field is the number times 8 plus 2, the length, the
    content: predict_log 6, request 1, model_spec 1 (name 1, signature_name 3), inputs 2 (key 1, value 2).
    """

    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([8 * number + 2]) + length + bytes([size]) + content

    value = tf.make_tensor_proto(texts).SerializeToString()
    name = field(1, b"sentiment_analysis") + field(3, b"serving_default")
    request = field(1, name) + field(2, field(1, TEXTS.name.encode()) + field(2, value))
    return field(6, field(1, request))


def _save(module: tf.Module, path: Path) -> None:
    with quiet_stderr():
        tf.saved_model.save(module, str(path), signatures=module.signatures)


def _replace(folder: Path, save) -> None:
    """Write a folder beside the old one, then change them; a killed program leaves one that the card tells apart."""
    part, old = folder.with_name(f".part-{folder.name}"), folder.with_name(f".old-{folder.name}")
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        save(part)
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except (OSError, tf.errors.OpError) as error:
        raise StudyError(f"{folder}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({error}).") from None
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
