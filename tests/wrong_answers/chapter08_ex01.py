"""Wrong answers to practice 8.1; every one of them must be marked ❌."""

import functools
import hashlib
import io
import json
import os
import threading

import numpy as np
import tensorflow as tf
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from PIL import Image
from scipy.special import softmax
from sklearn.svm import SVC

from tf_study import data
from wrong_answers import with_mistake

keras, layers = tf.keras, tf.keras.layers


def _quantize(x, scale, zero, rounding=np.round, low=-128, sign=1, wrap=False, late=False, narrow=False):
    q = rounding(x / scale) + (0 if late else sign * zero)
    q = q.astype("int64") if wrap else np.clip(q, low, 127)
    q = (q + (zero if late else 0)).astype("int64").astype("int8")
    step = q - np.asarray(zero).astype("int8") if narrow else q.astype("float32") - zero
    return q, (step * scale).astype("float32")


def quantize_no_zero_back(x, scale, zero):
    """Forget the zero point on the way back."""
    q, _ = _quantize(x, scale, zero)
    return q, (q * scale).astype("float32")


def quantize_only(x, scale, zero):
    """Return the integers only."""
    return _quantize(x, scale, zero)[0]


def quantize_wide(x, scale, zero):
    """Return int64 and float64."""
    q, back = _quantize(x, scale, zero)
    return q.astype(int), back.astype(float)


def quantize_scalar(x, scale, zero):
    """Use the first channel's scale for all."""
    return _quantize(x, np.ravel(scale)[0], np.ravel(zero)[0])


def _choose(low, high, zero_inside=True, steps=255, offset=-128, sign=-1, rounding=round, guard=True):
    if zero_inside:
        low, high = min(low, 0.0), max(high, 0.0)
    if guard and low == high:
        return 1.0, 0
    scale = (high - low) / steps
    return scale, rounding(offset + sign * low / scale)


def choose_symmetric(low, high):
    """Use the same range on both sides."""
    return max(-low, high, 1e-9) / 127, 0


def choose_float_zero(low, high):
    """Leave the zero point a float."""
    scale, zero = _choose(low, high)
    return scale, float(zero)


def choose_swapped(low, high):
    """Return the zero point first."""
    return _choose(low, high)[::-1]


def _model(
    classes, scaling="inside", activation="softmax", filters=(16, 32), relu="relu", padding="same", dtype=None
):
    first = {
        "inside": lambda: [layers.Rescaling(1 / 255)],
        "centred": lambda: [layers.Rescaling(1 / 127.5, -1)],
        "lambda": lambda: [layers.Lambda(lambda x: x / 255)],
        "none": lambda: [],
    }[scaling]()
    convolutions = [layers.Conv2D(n, 3, strides=2, padding=padding, activation=relu) for n in filters]
    stack = [keras.Input((28, 28)), *first, layers.Reshape((28, 28, 1)), *convolutions]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(classes, activation=activation)])


def model_ten(classes):
    """Always give ten classes."""
    return _model(10)


def model_channel(classes):
    """Ask for a channel axis."""
    inner = _model(classes)
    inputs = keras.Input((28, 28, 1))
    return keras.Model(inputs, inner(inputs[..., 0]))


class _Store:
    """The store with one mistake, chosen by the class attribute ``change``."""

    change: dict = {}

    def __init__(self, folder):
        self.folder = folder

    def _write(self, name, content):
        if self.change.get("direct") == name[-4:]:
            (self.folder / name).write_bytes(content)
            return
        temporary = (self.folder / name).with_suffix(".tmp")
        temporary.write_bytes(content)
        os.replace(temporary, self.folder / name)
        if self.change.get("leaves"):
            temporary.write_bytes(content)

    def save(self, content, meta):
        digest = hashlib.sha256(content).hexdigest()
        manifest = {"sha256": digest, "bytes": len(content), "meta": meta}
        parts = [(f"{digest}.bin", content), ("manifest.json", json.dumps(manifest).encode())]
        if self.change.get("cleans"):
            for path in self.folder.glob("*.bin"):
                path.unlink()
        for name, part in parts[:: -1 if self.change.get("manifest_first") else 1]:
            self._write(name, part)

    def load(self):
        caught = () if self.change.get("uncaught") else (OSError, ValueError, KeyError, TypeError)
        try:
            manifest = json.loads((self.folder / "manifest.json").read_bytes())
            digest, meta = manifest["sha256"], manifest["meta"]
            size = manifest.get("bytes") if self.change.get("no_size") else manifest["bytes"]
            content = (self.folder / f"{digest}.bin").read_bytes()
        except caught as error:
            raise ValueError("broken" if self.change.get("english") else "읽을 수 없습니다.") from error
        same = hashlib.sha256(content).hexdigest() == digest or self.change.get("no_hash")
        if not same or (len(content) != size and not self.change.get("no_size")):
            if self.change.get("prints"):
                return None, meta
            raise ValueError("손상되었습니다.")
        return content, meta


def _store(mistake, **change):
    return type(f"Store_{'_'.join(change)}", (_Store,), {"change": change, "__doc__": mistake})


def _convert(model, samples=None, scale=1.0, count=None, io=True, full=True, kind=tf.int8, use="given"):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if use == "always":
        samples = np.zeros((2, *model.input_shape[1:])) if samples is None else samples
    if use == "weights":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if samples is None or use == "never":
        return converter.convert()
    if use == "noise":
        samples = np.random.default_rng(0).uniform(0, 255, samples.shape)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if full:
        chosen = [[np.float32(sample[None] * scale)] for sample in samples[:count]]
        converter.representative_dataset = lambda: iter(chosen)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if io:
            converter.inference_input_type = converter.inference_output_type = kind
    return converter.convert()


@functools.cache
def _baseline():
    (images, labels), _ = data.mnist(2500, 10)
    return SVC(C=10, gamma=0.02, decision_function_shape="ovr").fit(
        images.reshape(len(images), -1) / 255, labels
    )


@functools.lru_cache(maxsize=8)
def _scores(pixels):
    """Cached, since every kind of every wrong answer asks for the same pictures."""
    return _baseline().decision_function(np.frombuffer(pixels, "uint8").reshape(-1, 784) / 255)


def _classify(images, kind, step=1 / 256, dtype="float32", flip=False, noise=0.0, one=False, same=False):
    scores = _scores(np.ascontiguousarray(images).tobytes())
    p = softmax(3 * scores, axis=-1)
    if flip:
        p = p[:, ::-1]
    if kind == "int8" and not same:
        p = np.roll(p, 1, -1) if noise and len(p) > 20 else p
        p = np.round(p / step) * step
    return (p[0] if one else p).astype(dtype)


def classify_weak(images, kind):
    """Stay below the target."""
    p = _classify(images, kind)
    p[np.reshape(images, (len(images), -1)).sum(-1) % 5 == 0] = np.eye(10, dtype="float32")[0]
    return p


def classify_logits(images, kind):
    """Return scores that are no probabilities."""
    return 10 * _classify(images, kind)


def classify_integers(images, kind):
    """Return the int8 numbers as they are."""
    p = _classify(images, kind)
    return (p * 256 - 128).astype("int8") if kind == "int8" else p


def classify_fixed(images, kind):
    """Answer for the first picture only and repeat it."""
    return np.repeat(_classify(images[:1], kind), len(images), 0)


def _handle(body, predict, limit, **change):
    late = change.get("late_limit")
    if not late and len(body) > limit - bool(change.get("strict")):
        return 413, {"error": "큽니다."}
    if not body and not change.get("empty"):
        return 400, {"error": "없습니다."}
    if not change.get("any_format") and not body.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return 415, {"error": "not an image" if change.get("english") else "PNG나 JPEG가 아닙니다."}
    caught = {"one": OSError, "none": ()}.get(change.get("caught"), Exception)
    try:
        image = Image.open(io.BytesIO(body))
        if change.get("decode_first"):
            image.load()
        if change.get("resize"):
            image = image.resize((28, 28))
        if (image.width * image.height != 784) if change.get("area") else (image.size != (28, 28)):
            return change.get("size", 422), {"error": "크기가 다릅니다."}
        pixels = np.asarray(image.convert("L"))
        if change.get("mean"):
            pixels = np.asarray(image.convert("RGB")).mean(-1).astype("uint8")
    except caught:
        return 400, {"error": "깨졌습니다."}
    if late and len(body) > limit:
        return 413, {"error": "큽니다."}
    if change.get("scaled"):
        pixels = pixels / np.float32(255)
    try:
        p = np.asarray(predict(pixels[..., None][None] if change.get("channel") else pixels[None]))[0]
    except Exception as error:
        if change.get("raises"):
            raise
        return 500, {"error": f"오류: {error}" if change.get("leaks") else "답을 내지 못했습니다."}
    digit = np.argmax(p)
    if change.get("numpy"):
        return 200, {"digit": digit, "probability": p[digit]}
    return 200, {"digit": int(digit), "probability": float(p[0 if change.get("first") else digit])}


def _app(answer, limit, **change):
    app, lock = FastAPI(), threading.Lock()
    large = {"error": "too large"} if change.get("english") else {"error": "큽니다."}

    def one(body):
        if change.get("free"):
            return answer(body)
        with lock:
            return answer(body)

    @app.get("/health")
    async def health():
        if change.get("waits"):
            await run_in_threadpool(one, b"")
        return {"status": "ok"}

    @app.api_route("/predict", methods=["GET", "POST"] if change.get("get") else ["POST"])
    async def predict(request: Request):
        size = int(request.headers.get("content-length", 0))
        if size > limit - bool(change.get("strict")) and not change.get("no_header"):
            return JSONResponse(large, change.get("status", 413))
        if change.get("whole"):
            body = await request.body()
        else:
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit and not change.get("no_count"):
                    return JSONResponse(large, 413)
        if len(body) > limit:
            return JSONResponse(large, 413)
        body = body.decode("latin-1").encode() if change.get("text") else body
        status, reply = one(body) if change.get("blocks") else await run_in_threadpool(one, body)
        return JSONResponse(reply, 200 if change.get("always_ok") else status)

    return None if change.get("nothing") else app


WRONG = {
    "quantize": [
        with_mistake(_quantize, "round half up", rounding=lambda v: np.floor(v + 0.5)),
        with_mistake(_quantize, "cut the fraction", rounding=np.trunc),
        with_mistake(_quantize, "cast before clamping", wrap=True),
        with_mistake(_quantize, "subtract the zero point", sign=-1),
        with_mistake(_quantize, "add the zero point after clamping", late=True),
        with_mistake(_quantize, "clamp at minus 127", low=-127),
        with_mistake(_quantize, "subtract in int8", narrow=True),
        quantize_no_zero_back,
        quantize_only,
        quantize_wide,
        quantize_scalar,
    ],
    "choose_parameters": [
        with_mistake(_choose, "leave zero outside", zero_inside=False),
        with_mistake(_choose, "divide by 256", steps=256),
        with_mistake(_choose, "use the unsigned zero point", offset=0),
        with_mistake(_choose, "take the wrong sign", sign=1),
        with_mistake(_choose, "cut the fraction", rounding=int),
        with_mistake(_choose, "divide by zero", guard=False),
        choose_symmetric,
        choose_float_zero,
        choose_swapped,
    ],
    "build_model": [
        with_mistake(_model, "do not scale", scaling="none"),
        with_mistake(_model, "scale to minus one", scaling="centred"),
        with_mistake(_model, "scale in a lambda", scaling="lambda"),
        with_mistake(_model, "return logits", activation=None),
        with_mistake(_model, "use the sigmoid", activation="sigmoid"),
        with_mistake(_model, "use fewer filters", filters=(8, 16)),
        with_mistake(_model, "do not pad", padding="valid"),
        with_mistake(_model, "forget relu", relu=None),
        model_ten,
        model_channel,
    ],
    "Store": [
        _store("Overwrite the manifest in place.", direct="json"),
        _store("Overwrite the content in place.", direct=".bin"),
        _store("Write the manifest first.", manifest_first=True),
        _store("Leave the temporary file.", leaves=True),
        _store("Delete the old content before writing.", cleans=True),
        _store("Do not compare the hash.", no_hash=True),
        _store("Do not compare the size.", no_size=True),
        _store("Let any exception out.", uncaught=True),
        _store("Refuse in English.", english=True),
        _store("Return nothing for a damaged file.", prints=True),
    ],
    "convert": [
        with_mistake(_convert, "quantize the weights only", full=False),
        with_mistake(_convert, "leave input and output float", io=False),
        with_mistake(_convert, "use uint8 outside", kind=tf.uint8),
        with_mistake(_convert, "scale the samples", scale=1 / 255),
        with_mistake(_convert, "use the first sample only", count=1),
        with_mistake(_convert, "never quantize", use="never"),
        with_mistake(_convert, "quantize the weights without samples too", use="weights"),
        with_mistake(_convert, "always quantize", use="always"),
        with_mistake(_convert, "use noise instead of the samples", use="noise"),
    ],
    "classify": [
        with_mistake(_classify, "use the float model for int8", same=True),
        with_mistake(_classify, "use a step of 1/255", step=1 / 255),
        with_mistake(_classify, "return float64", dtype="float64"),
        with_mistake(_classify, "reverse the classes", flip=True),
        with_mistake(_classify, "return one row", one=True),
        with_mistake(_classify, "spoil larger batches in int8", noise=1.0),
        classify_weak,
        classify_logits,
        classify_integers,
        classify_fixed,
    ],
    "handle": [
        with_mistake(_handle, "refuse the limit itself", strict=True),
        with_mistake(_handle, "look at the limit last", late_limit=True),
        with_mistake(_handle, "call an empty body no picture", empty=True),
        with_mistake(_handle, "accept every format", any_format=True),
        with_mistake(_handle, "refuse in English", english=True),
        with_mistake(_handle, "catch OSError only", caught="one"),
        with_mistake(_handle, "catch nothing", caught="none"),
        with_mistake(_handle, "decode before looking at the size", decode_first=True),
        with_mistake(_handle, "resize whatever comes", resize=True),
        with_mistake(_handle, "compare the area", area=True),
        with_mistake(_handle, "call a wrong size broken", size=400),
        with_mistake(_handle, "average the colours", mean=True),
        with_mistake(_handle, "scale the pixels", scaled=True),
        with_mistake(_handle, "add a channel", channel=True),
        with_mistake(_handle, "let the model's error out", raises=True),
        with_mistake(_handle, "show the model's error", leaks=True),
        with_mistake(_handle, "return NumPy numbers", numpy=True),
        with_mistake(_handle, "give the first probability", first=True),
    ],
    "create_app": [
        with_mistake(_app, "read the whole body first", whole=True, no_header=True),
        with_mistake(_app, "trust the announced length", no_count=True),
        with_mistake(_app, "refuse the limit itself", strict=True),
        with_mistake(_app, "block the event loop", blocks=True),
        with_mistake(_app, "let health wait for the lock", waits=True),
        with_mistake(_app, "run at the same time", free=True),
        with_mistake(_app, "answer 200 always", always_ok=True),
        with_mistake(_app, "answer 400 for a large body", status=400),
        with_mistake(_app, "accept GET", get=True),
        with_mistake(_app, "take the bytes for text", text=True),
        with_mistake(_app, "refuse in English", english=True),
        with_mistake(_app, "return nothing", nothing=True),
    ],
}
