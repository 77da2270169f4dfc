"""Quantizes SmolLM2 in many ways and records what lecture 14.5 shows: ``python tools/measure_quantization.py``.

It writes two files below ``embedded/quantization``:

- ``table.json``: the mean loss of every test row under every setting;
- ``layer.npz``: what the query projection of one block sees and a part of its weights.

Every weight matrix of the 30 blocks is quantized and turned back to float32; the embedding, which is the head too,
stays as it is. GPTQ and AWQ see the inputs of the unquantized model. Kernels are (in, out), groups lie along the
inputs. Rows are 128 tokens; calibration and test rows are from different halves of the texts.
"""

import argparse
import json
import time
import zipfile

import ml_dtypes
import numpy as np
import tensorflow as tf
from npz import write_npz

from tf_study import data, pretrained
from tf_study.data import quantization, store
from tf_study.models.llama import Llama, load_torch

FOLDER = store.FOLDER / "quantization"
LENGTH, CALIBRATION, TEST = 128, 8, 8
GROUP = 64
BLOCK, OUTPUTS = quantization.BLOCK, 192  # the stored layer: three heads of the query projection of block 10
PARTS = ("query", "key", "value", "out", "gate", "up", "down")
SHARED = (("query", "key", "value"), ("out",), ("gate", "up"), ("down",))  # one input, so one scale of AWQ


# Quantizers: (kernel (in, out), inputs (n, in), bits) → kernel.


def grid(groups: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """groups (..., group, out) → scale and integer zero point (..., 1, out)."""
    high = np.maximum(groups.max(-2, keepdims=True), 0)
    low = np.minimum(groups.min(-2, keepdims=True), 0)
    scale = np.maximum(high - low, 1e-8) / (2**bits - 1)
    return scale, np.round(-low / scale)


def each(w, bits):
    """Return scale and zero point of each weight (in, out)."""
    groups = w.reshape(-1, GROUP, w.shape[1])
    return (np.repeat(value[:, 0], GROUP, 0) for value in grid(groups, bits))


def rtn(w, bits):
    """Round each weight to the nearest point of its group's grid."""
    scale, zero = each(w, bits)
    return (np.clip(np.round(w / scale) + zero, 0, 2**bits - 1) - zero) * scale


def factor(x, damp):
    """Return the upper Cholesky factor of the inverse Hessian."""
    h = 2 * (x.T @ x).astype(np.float64) / len(x)
    h[np.diag_indices_from(h)] += damp * np.mean(np.diag(h))
    return np.linalg.cholesky(np.linalg.inv(h)).T.astype(np.float32)


def gptq(w, x, bits, damp=0.01, block=128):
    """Round one input after the other and let the later ones make up for it; the grids are those of RTN."""
    scale, zero = each(w, bits)
    u, rest, out = factor(x, damp), w.copy(), np.empty_like(w)
    for a in range(0, len(w), block):
        b = min(a + block, len(w))
        errors = np.empty_like(w[a:b])
        for i in range(a, b):
            code = np.clip(np.round(rest[i] / scale[i]) + zero[i], 0, 2**bits - 1)
            out[i] = (code - zero[i]) * scale[i]
            errors[i - a] = (rest[i] - out[i]) / u[i, i]
            rest[i + 1 : b] -= u[i, i + 1 : b, None] * errors[i - a]
        rest[b:] -= u[a:b, b:].T @ errors
    return out


def awq(kernels, x, bits, steps=6):
    """Quantize kernels with one input after scaling its channels by mean|x|^α, for the best α of a grid."""
    x = x[::4]
    size = np.maximum(np.abs(x).mean(0), 1e-4)
    best, found = np.inf, None
    for step in range(steps):
        s = size ** (step / (steps - 1))
        s = (s / np.sqrt(s.max() * s.min()))[:, None]
        candidates = [rtn(w * s, bits) / s for w in kernels]
        error = sum(np.mean((x @ (q - w)) ** 2) for q, w in zip(candidates, kernels, strict=True))
        if error < best:
            best, found = error, candidates
    return found


def eight(x, kind, axis):
    """Round to INT8 or FP8 with the scale of the largest value along ``axis`` (None: of all)."""
    top = np.maximum(np.abs(x).max(axis, keepdims=True), 1e-12)
    return cast(x, kind, top)


def cast(x, kind, top):
    if kind == "int8":
        return np.clip(np.round(x * (127 / top)), -127, 127) * (top / 127)
    scaled = np.clip(x * (448 / top), -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return scaled.astype(np.float32) * (top / 448)


# The model: its linear layers are wrapped, to see and to change what goes in.


class Wrapped:
    """A linear layer that passes its input through ``before``."""

    def __init__(self, layer):
        self.layer, self.weight, self.before = layer, layer.kernel.numpy(), lambda x: x

    def __call__(self, x):
        return self.layer(self.before(x))


def wrap(model):
    """Wrap the linear layers of all blocks; return them by (block, part)."""
    layers = {}
    for index, block in enumerate(model.blocks):
        for part in PARTS:
            owner = block.attention if part in PARTS[:4] else block.feed_forward
            layers[index, part] = Wrapped(getattr(owner, part))
            setattr(owner, part, layers[index, part])
    return layers


def capture(model, layers, rows):
    """Return the inputs (tokens, in) of every set of layers that shares one, by (block, first part)."""
    seen = {}
    for (index, part), layer in layers.items():
        if part in ("query", "out", "gate", "down"):

            def look(x, key=(index, part)):
                seen[key] = x.numpy().reshape(-1, x.shape[-1])
                return x

            layer.before = look
    model(rows)
    reset(layers)
    return seen


def reset(layers):
    for layer in layers.values():
        layer.before = lambda x: x


def losses(model, rows):
    """rows (N, T) → mean loss of the tokens 2..T of each row (N,)."""
    out = []
    for four in np.split(rows, len(rows) // 4):
        logits = model(four)[0][:, :-1]
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(four[:, 1:], logits)
        out += tf.reduce_mean(loss, 1).numpy().tolist()
    return out


def texts(tokenizer):
    """Return calibration and test rows of both languages."""
    (train, _), (held, _) = data.imdb()
    english = sorted([*train, *held])
    korean = [item["output"] for item in data.instructions_ko()]
    found = {}
    for name, lines in (("en", english), ("ko", korean)):
        for half, part in (("calibration", lines[: len(lines) // 2]), ("test", lines[len(lines) // 2 :])):
            ids = np.array(tokenizer("\n".join(part)).input_ids)
            found[name, half] = ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH)
    return found


def calibration(rows, language, draw):
    """Return 8 rows: of one language, or 4 of each; other ones for each draw."""
    part = lambda name, count: rows[name, "calibration"][draw * CALIBRATION :][:count]  # noqa: E731
    if language == "mixed":
        return np.concatenate([part("en", CALIBRATION // 2), part("ko", CALIBRATION // 2)])
    return part(language, CALIBRATION)


class Recorder:
    """Sets the kernels, measures, and writes the table after every setting, so that nothing is measured twice."""

    def __init__(self, model, layers, rows):
        self.model, self.layers = model, layers
        self.test = {name: rows[name, "test"][:TEST] for name in ("en", "ko")}
        self.file = FOLDER / "table.json"
        tokens = {name: ids.tolist() for name, ids in self.test.items()}
        self.table = {"tokens": tokens, "losses": {}}
        if self.file.exists():
            self.table = json.loads(self.file.read_text())

    def save(self):
        entries = [f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in self.table["losses"].items()]
        tokens, losses = json.dumps(self.table["tokens"]), ",\n".join(entries)
        text = f'{{\n"tokens": {tokens},\n"losses": {{\n{losses}\n}}\n}}\n'
        self.file.write_text(text, encoding="utf-8", newline="\n")

    def missing(self, name):
        return name not in self.table["losses"]

    def measure(self, name, kernels=None, before=None):
        """kernels: (block, part) → kernel, for the original one nothing; before: the same for inputs."""
        if not self.missing(name):
            return
        start = time.process_time()
        for key, layer in self.layers.items():
            layer.layer.kernel.assign(kernels(key) if kernels else layer.weight)
            if before:
                layer.before = before(key)
        found = {part: np.round(losses(self.model, ids), 5).tolist() for part, ids in self.test.items()}
        reset(self.layers)
        self.table["losses"][name] = found
        self.save()
        shown = {part: round(float(np.exp(np.mean(values))), 2) for part, values in found.items()}
        print(name, shown, f"{time.process_time() - start:.0f} s", flush=True)


def first(part):
    return next(parts[0] for parts in SHARED if part in parts)


def awq_all(layers, seen, bits):
    """Return AWQ's kernels of all layers; attention's output is only rounded, as in llm-awq under GQA."""
    found = {}
    for index in range(1 + max(index for index, _ in layers)):
        for parts in SHARED:
            kernels, x = [layers[index, part].weight for part in parts], seen[index, parts[0]]
            new = [rtn(w, bits) for w in kernels] if parts == ("out",) else awq(kernels, x, bits)
            found |= {(index, part): kernel for part, kernel in zip(parts, new, strict=True)}
    return found


def gptq_all(layers, seen, bits):
    return {key: gptq(layer.weight, seen[key[0], first(key[1])], bits) for key, layer in layers.items()}


def write_layer(model, layers, rows):
    """Write inputs and a part of the weights of one query projection."""
    parts = {
        "calibration": ("en", "calibration", 4),
        "english": ("en", "test", 2),
        "korean": ("ko", "test", 2),
    }
    arrays = {"kernel": layers[BLOCK, "query"].weight[:, :OUTPUTS].astype(np.float32)}
    for name, (language, half, count) in parts.items():
        seen = capture(model, layers, rows[language, half][:count])
        arrays[name] = seen[BLOCK, "query"].astype(np.float16)
    write_npz(FOLDER / "layer.npz", zipfile.ZIP_LZMA, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--fresh", action="store_true", help="forget what is recorded and measure all of it")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    FOLDER.mkdir(exist_ok=True)
    if arguments.fresh:
        (FOLDER / "table.json").unlink(missing_ok=True)
    config, state, tokenizer = pretrained.smollm2()
    model, rows = Llama(config), texts(tokenizer)
    load_torch(model, state)
    del state
    layers = wrap(model)
    write_layer(model, layers, rows)
    recorder = Recorder(model, layers, rows)
    recorder.measure("fp32")
    for bits in (4, 3):
        recorder.measure(f"RTN W{bits} g{GROUP}", lambda key: rtn(layers[key].weight, bits))  # noqa: B023
    calibrated(recorder, layers, rows, "en", 0, (4, 3))
    for language, draw in (("ko", 0), ("mixed", 0), ("en", 1), ("ko", 1), ("en", 2), ("ko", 2)):
        calibrated(recorder, layers, rows, language, draw, (4,))
    eights(recorder, layers, rows)
    store.write_manifest()


def calibrated(recorder, layers, rows, language, draw, widths):
    """Measure GPTQ and AWQ for some numbers of bits on one calibration set."""
    settings = {
        f"{method} W{bits} g{GROUP} {language} {draw}": (make, bits)
        for bits in widths
        for method, make in (("AWQ", awq_all), ("GPTQ", gptq_all))
    }
    if not any(map(recorder.missing, settings)):
        return
    reset_kernels(layers)
    seen = capture(recorder.model, layers, calibration(rows, language, draw))
    for name, (make, bits) in settings.items():
        if recorder.missing(name):
            recorder.measure(name, make(layers, seen, bits).__getitem__)


def reset_kernels(layers):
    for layer in layers.values():
        layer.layer.kernel.assign(layer.weight)


def eights(recorder, layers, rows):
    """INT8 and FP8: weights with a scale per output, inputs as they are, per token, or with one fixed scale."""
    reset_kernels(layers)
    seen = capture(recorder.model, layers, calibration(rows, "en", 0))
    top = {key: float(np.abs(x).max()) for key, x in seen.items()}
    for kind in ("int8", "fp8"):
        kernels = lambda key: eight(layers[key].weight, kind, 0)  # noqa: E731, B023
        by_token = lambda key: lambda x: tf.constant(eight(x.numpy(), kind, -1))  # noqa: E731, B023
        recorder.measure(f"{kind} token", kernels, by_token)

        def fixed(key, kind=kind):
            limit = top[key[0], first(key[1])]
            return lambda x: tf.constant(cast(x.numpy(), kind, limit).astype(np.float32))

        recorder.measure(f"{kind} tensor", kernels, fixed)


if __name__ == "__main__":
    main()
