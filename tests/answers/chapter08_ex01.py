"""Right and wrong answers to practice 8.1."""

import asyncio
import functools
import hashlib
import io
import json
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from keras import layers
from PIL import Image
from scipy.special import softmax
from sklearn.svm import SVC

from answers import Answers
from tf_study import data

RIGHT, WRONG = Answers(), Answers()


def _quantize(x, scale, zero, rounding=np.round, low=-128, sign=1, wrap=False, late=False, narrow=False):
    q = rounding(x / scale) + (0 if late else sign * zero)
    q = q.astype("int64") if wrap else np.clip(q, low, 127)
    q = (q + (zero if late else 0)).astype("int64").astype("int8")
    step = q - np.asarray(zero).astype("int8") if narrow else q.astype("float32") - zero
    return q, (step * scale).astype("float32")


RIGHT("quantize")(_quantize)


@RIGHT("quantize")
def quantize_tensors(x, scale, zero):
    """TensorFlow; a list returned."""
    scale, zero = tf.cast(scale, tf.float32), tf.cast(zero, tf.float32)
    q = tf.cast(tf.clip_by_value(tf.round(x / scale) + zero, -128, 127), tf.int8)
    return [q, (tf.cast(q, tf.float32) - zero) * scale]


@RIGHT("quantize")
def quantize_one_by_one(x, scale, zero):
    """Python's round, a number at a time."""
    q = np.vectorize(lambda v, s, z: min(max(round(float(v) / float(s)) + int(z), -128), 127))(x, scale, zero)
    return q.astype("int8"), ((q - zero) * scale).astype("float32")


@WRONG("quantize")
def quantize_first_axis(x, scale, zero):
    """Take the channels for the first axis if the array is square."""
    square = np.ndim(scale) and x.shape[0] == x.shape[-1]
    scale, zero = (np.reshape(v, (-1, 1)) if square else v for v in (scale, zero))
    return _quantize(x, scale, zero)


@WRONG("quantize")
def quantize_three_axes(x, scale, zero):
    """Suppose three axes at most."""
    return _quantize(x.reshape(*x.shape[:2], -1) if x.ndim > 3 else x, scale, zero)


@WRONG("quantize")
def quantize_no_zero_back(x, scale, zero):
    """Forget the zero point on the way back."""
    q, _ = _quantize(x, scale, zero)
    return q, (q * scale).astype("float32")


@WRONG("quantize")
def quantize_only(x, scale, zero):
    """Return the integers only."""
    return _quantize(x, scale, zero)[0]


@WRONG("quantize")
def quantize_wide(x, scale, zero):
    """Return int64 and float64."""
    q, back = _quantize(x, scale, zero)
    return q.astype(int), back.astype(float)


@WRONG("quantize")
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


RIGHT("choose_parameters")(_choose)


@RIGHT("choose_parameters")
def choose_from_above(low, high):
    """NumPy; the zero point from the upper end."""
    ends = np.array([min(low, 0), max(high, 0)], float)
    scale = np.ptp(ends) / 255
    return (np.float64(1), np.int64(0)) if scale == 0 else (scale, np.int64(np.rint(127 - ends[1] / scale)))


@WRONG("choose_parameters")
def choose_wide(low, high):
    """Take a width below 1e-6 for none."""
    return (1.0, 0) if max(high, 0) - min(low, 0) < 1e-6 else _choose(low, high)


@WRONG("choose_parameters")
def choose_bounded(low, high):
    """Cut the range at a thousand."""
    return _choose(max(low, -1000.0), min(high, 1000.0))


@WRONG("choose_parameters")
def choose_symmetric(low, high):
    """Use the same range on both sides."""
    return max(-low, high, 1e-9) / 127, 0


@WRONG("choose_parameters")
def choose_float_zero(low, high):
    """Leave the zero point a float."""
    scale, zero = _choose(low, high)
    return scale, float(zero)


@WRONG("choose_parameters")
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


RIGHT("build_model")(_model)


@RIGHT("build_model")
def model_functional(classes):
    """Functional, scaled by Normalization, padded by hand, softmax as a layer."""
    inputs = keras.Input((28, 28))
    h = layers.Reshape((28, 28, 1))(layers.Normalization(axis=None, mean=0.0, variance=255.0**2)(inputs))
    for n in (16, 32):
        h = layers.ReLU()(layers.Conv2D(n, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(h)))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(classes)(layers.Flatten()(h))))


@WRONG("build_model")
def model_dropout(classes):
    """Add dropout, which is not in the formula."""
    stack = _model(classes).layers
    return keras.Sequential([keras.Input((28, 28)), *stack[:-1], layers.Dropout(0.9), stack[-1]])


@WRONG("build_model")
def model_frozen(classes):
    """Freeze the weights."""
    model = _model(classes)
    model.trainable = False
    return model


@WRONG("build_model")
def model_zeros(classes):
    """Begin with zeros, from which nothing learns."""
    model = _model(classes)
    model.set_weights([0 * w for w in model.get_weights()])
    return model


@WRONG("build_model")
def model_ten(classes):
    """Always give ten classes."""
    return _model(10)


@WRONG("build_model")
def model_channel(classes):
    """Ask for a channel axis."""
    inner = _model(classes)
    inputs = keras.Input((28, 28, 1))
    return keras.Model(inputs, inner(inputs[..., 0]))


class _Store:
    """The store; the class attribute ``change`` makes one mistake."""

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


RIGHT("Store")(_Store)


@RIGHT("Store")
class DurableStore:
    """Names from mkstemp, fsync, Path.replace; a .bin that is there is not written again."""

    def __init__(self, folder):
        self.folder = folder

    def put(self, name, content):
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(self.folder / name)

    def save(self, content, meta):
        digest = hashlib.sha256(content).hexdigest()
        self.put(f"{digest}.bin", content)
        self.put(
            "manifest.json", json.dumps({"meta": meta, "bytes": len(content), "sha256": digest}).encode()
        )

    def load(self):
        try:
            manifest = json.loads((self.folder / "manifest.json").read_text("utf-8"))
            content = (self.folder / f"{manifest['sha256']}.bin").read_bytes()
            if (hashlib.sha256(content).hexdigest(), len(content)) != (manifest["sha256"], manifest["bytes"]):
                raise OSError
            return content, manifest["meta"]
        except Exception:
            raise ValueError("온전하지 않으니 다시 저장하세요.") from None


@WRONG("Store")
class FarStore(_Store):
    """Write the temporary file in another folder, which may be on another disk."""

    def _write(self, name, content):
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as far:
            (Path(far) / name).write_bytes(content)
            os.replace(Path(far) / name, self.folder / name)


@WRONG("Store")
class RememberingStore(_Store):
    """Answer from memory what the description was."""

    known: dict = {}

    def save(self, content, meta):
        super().save(content, meta)
        self.known[str(self.folder)] = dict(meta)

    def load(self):
        content, meta = super().load()
        return content, self.known.get(str(self.folder), meta)


@WRONG("Store")
class EmptyingStore(_Store):
    """Empty the description that is given."""

    def save(self, content, meta):
        super().save(content, meta)
        meta.clear()


@WRONG("Store")
class TidyStore(_Store):
    """Keep five old files only."""

    def save(self, content, meta):
        super().save(content, meta)
        for path in sorted(self.folder.glob("*.bin"), key=lambda path: path.stat().st_mtime_ns)[:-6]:
            path.unlink()


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


RIGHT("convert")(_convert)


@RIGHT("convert")
def convert_exported(model, samples=None):
    """By way of a SavedModel; the samples from a tf.data pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if samples is not None:
            rows = tf.data.Dataset.from_tensor_slices(np.float32(samples)).batch(1)
            converter.optimizations = {tf.lite.Optimize.DEFAULT}
            converter.representative_dataset = lambda: ([row] for row in rows)
            converter.target_spec.supported_ops = {tf.lite.OpsSet.TFLITE_BUILTINS_INT8}
            converter.inference_input_type = converter.inference_output_type = tf.int8
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


RIGHT("classify")(_classify)


@RIGHT("classify")
def classify_in_halves(images, kind):
    """Half of the pictures at a time."""
    parts = [part for part in np.array_split(images, 2) if len(part)]
    return np.concatenate([_classify(part, kind) for part in parts])


@WRONG("classify")
def classify_looked_up(images, kind):
    """Look the pictures up in the public sets."""
    known = {
        picture.tobytes(): label
        for part in data.mnist(5000, 1000)
        for picture, label in zip(*part, strict=True)
    }
    return np.eye(10, dtype="float32")[[known.get(picture.tobytes(), 0) for picture in images]]


@WRONG("classify")
def classify_weak(images, kind):
    """Stay below the target."""
    p = _classify(images, kind)
    p[np.reshape(images, (len(images), -1)).sum(-1) % 5 == 0] = np.eye(10, dtype="float32")[0]
    return p


@WRONG("classify")
def classify_logits(images, kind):
    """Return scores that are no probabilities."""
    return 10 * _classify(images, kind)


@WRONG("classify")
def classify_integers(images, kind):
    """Return the int8 numbers as they are."""
    p = _classify(images, kind)
    return (p * 256 - 128).astype("int8") if kind == "int8" else p


@WRONG("classify")
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
        if change.get("palette") and image.mode == "P":
            pixels = np.asarray(image)
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
        reply = {"error": f"오류: {error}" if change.get("leaks") else "답을 내지 못했습니다."}
        return 500, reply | ({"type": type(error).__name__} if change.get("tells") else {})
    digit = np.argmax(p)
    if change.get("numpy"):
        return 200, {"digit": digit, "probability": p[digit]}
    probability = float(p[0 if change.get("first") else digit])
    return 200, {"digit": int(digit), "probability": round(probability, change.get("digits", 17))}


RIGHT("handle")(_handle)


@RIGHT("handle")
def handle_in_steps(body, predict, limit):
    """Refusals as exceptions, Pillow told the formats, tensors for the answer."""

    class Refused(Exception):
        pass

    def pixels():
        if len(body) > limit:
            raise Refused(413, "크기가 한계를 넘습니다.")
        if len(body) == 0:
            raise Refused(400, "본문이 없습니다.")
        if body[:8] != b"\x89PNG\r\n\x1a\n" and body[:3] != b"\xff\xd8\xff":
            raise Refused(415, "PNG나 JPEG만 받습니다.")
        try:
            with Image.open(io.BytesIO(body), formats=["PNG", "JPEG"]) as image:
                if image.size != (28, 28):
                    raise Refused(422, "28×28이어야 합니다.")
                return np.array(image.convert("L"), "uint8")[np.newaxis]
        except Refused:
            raise
        except Exception:
            raise Refused(400, "읽을 수 없습니다.") from None

    try:
        picture = pixels()
        try:
            row = tf.constant(predict(picture))[0]
        except Exception:
            raise Refused(500, "답을 내지 못했습니다.") from None
        return 200, {"digit": int(tf.argmax(row)), "probability": float(tf.reduce_max(row))}
    except Refused as error:
        status, text = error.args
        return status, {"error": text}


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
            await run_in_threadpool(lock.acquire)
            lock.release()
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


@RIGHT("create_app")
def app_one_thread(answer, limit):
    """A pool of one thread, routes added by hand."""
    app, pool = FastAPI(), ThreadPoolExecutor(1)
    refused = JSONResponse({"error": f"{limit}바이트까지만 받습니다."}, 413)

    async def predict(request: Request):
        if int(request.headers.get("content-length", "0")) > limit:
            return refused
        parts, size = [], 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                return refused
        status, reply = await asyncio.get_running_loop().run_in_executor(pool, answer, b"".join(parts))
        return JSONResponse(reply, status_code=status)

    async def health():
        return JSONResponse({"status": "ok"})

    app.add_api_route("/predict", predict, methods=["POST"])
    app.add_api_route("/health", health)
    return app


RIGHT("create_app")(_app)


@WRONG("create_app")
def app_caches(answer, limit):
    """Answer the same body from memory, whatever the model has become."""
    return _app(functools.lru_cache(answer), limit)


WRONG.add("quantize", _quantize, "round half up", rounding=lambda v: np.floor(v + 0.5))
WRONG.add("quantize", _quantize, "cut the fraction", rounding=np.trunc)
WRONG.add("quantize", _quantize, "cast before clamping", wrap=True)
WRONG.add("quantize", _quantize, "subtract the zero point", sign=-1)
WRONG.add("quantize", _quantize, "add the zero point after clamping", late=True)
WRONG.add("quantize", _quantize, "clamp at minus 127", low=-127)
WRONG.add("quantize", _quantize, "subtract in int8", narrow=True)
WRONG.add("choose_parameters", _choose, "leave zero outside", zero_inside=False)
WRONG.add("choose_parameters", _choose, "divide by 256", steps=256)
WRONG.add("choose_parameters", _choose, "use the unsigned zero point", offset=0)
WRONG.add("choose_parameters", _choose, "take the wrong sign", sign=1)
WRONG.add("choose_parameters", _choose, "cut the fraction", rounding=int)
WRONG.add("choose_parameters", _choose, "divide by zero", guard=False)
WRONG.add("build_model", _model, "do not scale", scaling="none")
WRONG.add("build_model", _model, "scale to minus one", scaling="centred")
WRONG.add("build_model", _model, "scale in a lambda", scaling="lambda")
WRONG.add("build_model", _model, "return logits", activation=None)
WRONG.add("build_model", _model, "use the sigmoid", activation="sigmoid")
WRONG.add("build_model", _model, "use fewer filters", filters=(8, 16))
WRONG.add("build_model", _model, "do not pad", padding="valid")
WRONG.add("build_model", _model, "forget relu", relu=None)
WRONG.add("Store", _Store, "overwrite the manifest in place", change={"direct": "json"})
WRONG.add("Store", _Store, "overwrite the content in place", change={"direct": ".bin"})
WRONG.add("Store", _Store, "write the manifest first", change={"manifest_first": True})
WRONG.add("Store", _Store, "leave the temporary file", change={"leaves": True})
WRONG.add("Store", _Store, "delete the old content before writing", change={"cleans": True})
WRONG.add("Store", _Store, "do not compare the hash", change={"no_hash": True})
WRONG.add("Store", _Store, "do not compare the size", change={"no_size": True})
WRONG.add("Store", _Store, "let any exception out", change={"uncaught": True})
WRONG.add("Store", _Store, "refuse in English", change={"english": True})
WRONG.add("Store", _Store, "return nothing for a damaged file", change={"prints": True})
WRONG.add("convert", _convert, "quantize the weights only", full=False)
WRONG.add("convert", _convert, "leave input and output float", io=False)
WRONG.add("convert", _convert, "use uint8 outside", kind=tf.uint8)
WRONG.add("convert", _convert, "scale the samples", scale=1 / 255)
WRONG.add("convert", _convert, "use the first sample only", count=1)
WRONG.add("convert", _convert, "never quantize", use="never")
WRONG.add("convert", _convert, "quantize the weights without samples too", use="weights")
WRONG.add("convert", _convert, "always quantize", use="always")
WRONG.add("convert", _convert, "use noise instead of the samples", use="noise")
WRONG.add("classify", _classify, "use the float model for int8", same=True)
WRONG.add("classify", _classify, "use a step of 1/255", step=1 / 255)
WRONG.add("classify", _classify, "return float64", dtype="float64")
WRONG.add("classify", _classify, "reverse the classes", flip=True)
WRONG.add("classify", _classify, "return one row", one=True)
WRONG.add("classify", _classify, "spoil larger batches in int8", noise=1.0)
WRONG.add("handle", _handle, "refuse the limit itself", strict=True)
WRONG.add("handle", _handle, "look at the limit last", late_limit=True)
WRONG.add("handle", _handle, "call an empty body no picture", empty=True)
WRONG.add("handle", _handle, "accept every format", any_format=True)
WRONG.add("handle", _handle, "refuse in English", english=True)
WRONG.add("handle", _handle, "catch OSError only", caught="one")
WRONG.add("handle", _handle, "catch nothing", caught="none")
WRONG.add("handle", _handle, "decode before looking at the size", decode_first=True)
WRONG.add("handle", _handle, "resize whatever comes", resize=True)
WRONG.add("handle", _handle, "compare the area", area=True)
WRONG.add("handle", _handle, "call a wrong size broken", size=400)
WRONG.add("handle", _handle, "average the colours", mean=True)
WRONG.add("handle", _handle, "scale the pixels", scaled=True)
WRONG.add("handle", _handle, "add a channel", channel=True)
WRONG.add("handle", _handle, "let the model's error out", raises=True)
WRONG.add("handle", _handle, "show the model's error", leaks=True)
WRONG.add("handle", _handle, "return NumPy numbers", numpy=True)
WRONG.add("handle", _handle, "give the first probability", first=True)
WRONG.add("create_app", _app, "read the whole body first", whole=True, no_header=True)
WRONG.add("create_app", _app, "trust the announced length", no_count=True)
WRONG.add("create_app", _app, "refuse the limit itself", strict=True)
WRONG.add("create_app", _app, "block the event loop", blocks=True)
WRONG.add("create_app", _app, "let health wait for the lock", waits=True)
WRONG.add("create_app", _app, "run at the same time", free=True)
WRONG.add("create_app", _app, "answer 200 always", always_ok=True)
WRONG.add("create_app", _app, "answer 400 for a large body", status=400)
WRONG.add("create_app", _app, "accept GET", get=True)
WRONG.add("create_app", _app, "take the bytes for text", text=True)
WRONG.add("create_app", _app, "refuse in English", english=True)
WRONG.add("create_app", _app, "return nothing", nothing=True)
WRONG.add("handle", _handle, "take a palette's indices", palette=True)
WRONG.add("handle", _handle, "round the probability", digits=4)
WRONG.add("handle", _handle, "tell the kind of the model's error", tells=True)
