"""Checks of practice 8.1: int8 numbers, a model with its preprocessing, a safe store, TFLite, a web service."""

import asyncio
import concurrent.futures
import contextlib
import functools
import hashlib
import http.client
import io
import json
import os
import re
import select
import socket
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from unittest import mock

import httpx
import keras
import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from keras import layers
from PIL import Image

from tf_study.data import unseen
from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_model,
    expect_parts,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

TARGET, LOST = 0.90, 0.01
SECONDS = 1.0  # for an answer that must come at once
MOMENT = 0.3  # for one that should have come already
HANGUL = re.compile("[가-힣]")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's chatter and the interpreter's deprecation note out of the notebook."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@problem("양자화와 역양자화", minutes=5)
def quantize(answer):
    """Exact fractions, one number at a time."""
    rng = np.random.default_rng(801)
    inside = rng.integers(-120, 120, (3, 5)) + rng.uniform(-0.4, 0.4, (3, 5))
    scales, zeros = np.array([0.5, 0.125, 2.0, 1.0, 0.25], "float32"), np.array([0, -128, 127, 5, -7])
    cases = {
        "예시": ([-1.0, 0.25, 0.75, 100.0], 0.5, 3),
        "절반인 값": ([0.5, 1.5, 2.5, -0.5, -1.5, 3.5], 1.0, 0),
        "영점이 -128이고 절반인 값": ([0.25, 0.75, 1.25], 0.5, -128),
        "범위를 크게 넘는 값": ([1e6, -1e6, 127.9, 128.1, 300.0, -300.0], 1.0, 0),
        "픽셀 (s = 1, z = -128)": ([0.0, 1.0, 127.0, 128.0, 255.0], 1.0, -128),
        "작은 스케일": (inside * 0.003, 0.003, 0),
        "영점이 127": ((inside - 127) * 0.02, 0.02, 127),
        "축이 셋": ((inside * 0.1).reshape(1, 5, 3), 0.1, 4),
        "채널마다 다른 스케일과 영점": (inside * scales, scales, zeros),
        "정사각형, 채널마다 다른 스케일": (inside[:, :3] * scales[:3], scales[:3], 3),
        "채널마다 다른 영점": ((inside - zeros) * 0.5, 0.5, zeros),
        "축이 넷": ((inside * 0.1).reshape(1, 3, 1, 5), 0.1, 4),
    }
    for case, (x, scale, zero) in cases.items():
        x = np.asarray(x, "float32")
        s, z = np.broadcast_to(np.float32(scale), x.shape), np.broadcast_to(zero, x.shape)
        pairs = [
            (Fraction(float(v)) / Fraction(float(t)), int(k))
            for v, t, k in zip(x.flat, s.flat, z.flat, strict=True)
        ]
        q = np.array([min(max(round(v) + k, -128), 127) for v, k in pairs]).reshape(x.shape)
        back = s * (q - z)
        ratio = x / s
        about_q = {
            "절반인 값은 짝수 쪽으로 반올림합니다.": np.clip(np.floor(ratio + 0.5) + z, -128, 127),
            "반올림하지 않고 버렸습니다.": np.clip(np.trunc(ratio) + z, -128, 127),
            "-128과 127로 자르지 않아 int8을 넘쳤습니다.": (np.round(ratio) + z)
            .astype("int64")
            .astype("int8"),
            "영점을 더하지 않았습니다.": np.clip(np.round(ratio), -128, 127),
            "영점을 뺐습니다. 양자화에서는 더합니다.": np.clip(np.round(ratio) - z, -128, 127),
            "영점은 반올림하고 자르기 전에 더합니다.": np.clip(np.round(ratio), -128, 127) + z,
            "-127에서 잘랐습니다.": np.maximum(q, -127),
        }
        about_back = {
            "영점을 빼지 않았습니다.": s * q,
            "int8로 빼면 넘칩니다. 먼저 float32로 바꾸세요.": s * (q - z).astype("int8"),
            "되돌린 값이 아니라 원래 값입니다.": x,
        }
        with untouched(case, x):
            got = expect_parts(answer(x, scale, zero), ("정수", "되돌린 값"), case)
        expect_close(got[0], q, f"{case}: 정수", tol=0, dtype="int8", mistakes=about_q)
        expect_close(got[1], back, f"{case}: 되돌린 값", dtype="float32", mistakes=about_back)


@problem("스케일과 영점", minutes=5)
def choose_parameters(answer):
    """Exact fractions, and what both ends and zero become."""
    rng = np.random.default_rng(802)
    cases = [(0.0, 255.0), (-1.0, 4.1), (2.0, 5.0), (-7.0, -3.0), (0.0, 0.0), (-2.0, 0.0), (0.0, 255 / 256)]
    cases += [(-float(a), float(b)) for a, b in rng.uniform(0.01, 9, (6, 2))] + [(3.5, 3.5), (-1e-4, 2e-4)]
    cases += [(-1e-7, 2e-7), (0.0, 5e-5), (-1e4, 5e3)]
    for low, high in cases:
        case = f"({low:.4g}, {high:.4g})"
        a, b = min(Fraction(low), Fraction(0)), max(Fraction(high), Fraction(0))
        s = (b - a) / 255 or Fraction(1)
        z = round(-128 - a / s) if b > a else 0
        got = expect_parts(answer(low, high), ("스케일", "영점"), case)
        width = high - low
        about_s = {
            "범위에 0이 들어가게 넓히지 않았습니다.": width / 255,
            "256으로 나누었습니다. 칸은 255개입니다.": float(b - a) / 256,
            "127로 나누었습니다. 대칭이 아닌 범위를 다 쓰려면 255로 나눕니다.": float(max(-a, b)) / 127,
        }
        about_z = {
            "부호 없는 8비트의 영점입니다. int8에서는 128만큼 작습니다.": int(z) + 128,
            "부호가 반대입니다.": round(float(-128 + a / s)),
            "반올림하지 않고 버렸습니다.": int(float(-128 - a / s)),
        }
        _small_close(got[0], float(s), f"{case}: 스케일", about_s)
        expect(
            isinstance(got[1], int | np.integer),
            f"{case}: 영점은 정수여야 하는데 {type(got[1]).__name__}입니다.",
        )
        expect_close(got[1], z, f"{case}: 영점", tol=0, mistakes=about_z)


def _small_close(got, expected: float, case: str, mistakes: dict) -> None:
    """Compare relative to the expected value, which may be far below 1."""
    got = expect_array(got, case)
    expect(got.shape == () and got.dtype.kind in "fi", f"{case}: 수 하나여야 합니다.")
    scaled = {text: value / expected for text, value in mistakes.items()}
    expect_close(float(got) / expected, 1.0, f"{case}(기대한 값에 대한 비)", mistakes=scaled)


@problem("전처리를 품은 모델", minutes=10)
def build_model(answer):
    """The model against tf.nn on drawn weights, before and after the file."""
    rng = np.random.default_rng(803)
    for classes in (10, 3):
        case = f"클래스 {classes}개"
        model = answer(classes)
        expect_model(model, (28, 28), case)
        shapes = [(3, 3, 1, 16), (16,), (3, 3, 16, 32), (32,), (1568, classes), (classes,)]
        real = [tuple(w.shape) for w in model.weights]
        expect(real == shapes, f"{case}: 가중치의 모양이 {shapes}이어야 하는데 {real}입니다.")
        frozen = 6 - len(model.trainable_weights)
        expect(not frozen, f"{case}: 학습하지 않는 가중치가 {frozen}개 있습니다.")
        still = [
            shape for shape, w in zip(shapes[::2], model.weights[::2], strict=True) if not np.ptp(w.numpy())
        ]
        expect(not still, f"{case}: 모양이 {still[:1]}인 가중치가 모두 같은 값에서 시작합니다.")
        weights = [rng.normal(size=shape).astype("float32") * 0.2 for shape in shapes]
        model.set_weights(weights)
        pixels = rng.integers(0, 256, (5, 28, 28)).astype("uint8")
        expected = _forward(pixels / 255, weights)
        logits = _forward(pixels / 255, weights, probabilities=False)
        mistakes = {
            "255로 나누지 않았습니다.": _forward(pixels, weights),
            "127.5로 나누고 1을 뺐습니다.": _forward(pixels / 127.5 - 1, weights),
            "소프트맥스를 씌우지 않았습니다.": logits,
            "시그모이드를 씌웠습니다.": 1 / (1 + np.exp(-logits)),
            "합성곱에 ReLU가 없습니다.": _forward(pixels / 255, weights, relu=False),
        }
        for kind in ("uint8", "float32"):
            got = model(pixels.astype(kind))
            expect_close(got, expected, f"{case}, {kind} 픽셀", tol=1e-4, dtype="float32", mistakes=mistakes)
        expect_close(model(pixels[:1]), expected[:1], f"{case}, 한 장", tol=1e-4)
        expect_close(model(pixels, training=True), expected, f"{case}, training=True", tol=1e-4)
        with tempfile.TemporaryDirectory() as folder, _quiet():
            model.save(f"{folder}/model.keras")
            try:
                loaded = keras.models.load_model(f"{folder}/model.keras")
            except Exception as error:
                reason = " ".join(str(error).split())[:120]
                raise Mismatch(
                    f"{case}: 저장한 모델을 불러오지 못합니다. {type(error).__name__}: {reason}"
                ) from None
        expect_close(loaded(pixels), expected, f"{case}, 불러온 모델", tol=1e-4)


def _forward(x, weights: list, relu: bool = True, probabilities: bool = True) -> np.ndarray:
    h = tf.constant(x, tf.float32)[..., None]
    for kernel, bias in (weights[:2], weights[2:4]):
        h = tf.nn.conv2d(h, kernel, 2, "SAME") + bias
        h = tf.nn.relu(h) if relu else h
    z = tf.reshape(h, (len(x), -1)) @ weights[4] + weights[5]
    return (tf.nn.softmax(z) if probabilities else z).numpy()


@problem("깨지지 않는 저장소", minutes=15)
def Store(answer):
    """What is on the disk, a stop between two renames, and every way to damage the files."""
    rng = np.random.default_rng(804)
    old, new = rng.bytes(3000), rng.bytes(2000)
    with _folder() as folder:
        store = answer(folder)
        _refuses(store, "아무것도 저장하지 않음")
        more = [rng.bytes(100 + n) for n in range(6)]
        for content, meta in (
            (old, {"판": 1}),
            (new, {}),
            (b"", {"a": [1, None]}),
            *((content, {"정확도": 0.9375}) for content in more),
            (old, {"판": 2}),
            (new, {"판": "새"}),
        ):
            case = f"{len(content)}바이트"
            with untouched(case, meta):
                store.save(content, meta)
            for reader in (store, answer(folder)):
                got = expect_parts(reader.load(), ("내용", "설명"), case)
                expect(got[0] == content, f"{case}: 불러온 내용이 저장한 것과 다릅니다.")
                expect(got[1] == meta, f"{case}: 불러온 설명이 {meta}이어야 하는데 {got[1]}입니다.")
            digest = hashlib.sha256(content).hexdigest()
            manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
            right = {"sha256": digest, "bytes": len(content), "meta": meta}
            expect(
                manifest == right,
                f"{case}: 목록이 {str(right)[:40]}…이어야 하는데 {str(manifest)[:120]}입니다.",
            )
            expect((folder / f"{digest}.bin").is_file(), f"{case}: 지문을 이름으로 한 .bin 파일이 없습니다.")
        names = {f"{hashlib.sha256(content).hexdigest()}.bin" for content in (old, new, b"", *more)} | {
            "manifest.json"
        }
        extra, missing = (
            {p.name for p in folder.iterdir()} - names,
            names - {p.name for p in folder.iterdir()},
        )
        expect(not extra, f"남아 있으면 안 되는 파일이 있습니다: {sorted(extra)[:2]}")
        expect(not missing, "새로 저장할 때 옛 .bin을 지웠습니다.")
        other = {**manifest, "meta": {"판": "다른 프로그램이 씀"}}
        (folder / "manifest.json").write_text(json.dumps(other), "utf-8")
        meta = expect_parts(store.load(), ("내용", "설명"), "설명을 바꾼 목록")[1]
        expect(meta == other["meta"], "설명을 바꾼 목록: 설명을 파일에서 읽지 않았습니다.")
    with _folder() as folder, _folder() as copies:
        answer(folder).save(old, {"판": 1})
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        for name in kept:
            os.link(folder / name, copies / name)  # The same file under a second name.
        answer(folder).save(new, {"판": 2})
        for name, content in kept.items():
            expect(
                (copies / name).read_bytes() == content,
                f"{name.split('.')[-1]} 파일을 열어 고쳐 썼습니다. 새 파일을 쓰고 이름을 바꾸세요.",
            )
    for stop in (1, 2):
        _stopped(answer, old, new, stop)
    _damaged(answer, old, new)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _stopped(answer: Callable, old: bytes, new: bytes, stop: int) -> None:
    """Fail the given rename, as if the power had gone; the old model must still be there."""
    with _folder() as folder:
        answer(folder).save(old, {"판": 1})
        count, real, far = 0, os.replace, []

        def rename(*args, **kwargs):
            nonlocal count
            count += 1
            far.extend(name for name in args[:2] if Path(name).resolve().parent != folder.resolve())
            if count >= stop:
                raise OSError("검사기가 멈추었습니다")
            return real(*args, **kwargs)

        with mock.patch("os.replace", rename), mock.patch("os.rename", rename), contextlib.suppress(OSError):
            answer(folder).save(new, {"판": 2})
        case = f"{stop}번째로 이름을 바꾸다 멈춤"
        expect(
            not far,
            f"{case}: 임시 파일이 다른 폴더에 있습니다. 디스크가 다르면 원자적이지 않으니 같은 폴더에 쓰세요.",
        )
        expect(
            count >= stop,
            f"{case}: os.replace로 이름을 바꾼 것이 {count}번뿐입니다. 파일 둘 다 바꾸어야 합니다.",
        )
        try:
            got = answer(folder).load()
        except ValueError:
            raise Mismatch(f"{case}: 옛 모델도 불러오지 못합니다. 목록을 나중에 바꾸세요.") from None
        expect(got[0] == old and got[1] == {"판": 1}, f"{case}: 옛 모델이 그대로 나와야 합니다.")


def _damaged(answer: Callable, old: bytes, new: bytes) -> None:
    digest = hashlib.sha256(new).hexdigest()
    good = {"sha256": digest, "bytes": len(new), "meta": {}}
    flipped = new[:500] + bytes([new[500] ^ 16]) + new[501:]
    contents = {"비트 하나가 뒤집힘": flipped, "끝이 잘림": new[:-1], "끝에 덧붙음": new + b"\0"}
    contents |= {"비었음": b"", "다른 모델로 바뀜": old[: len(new)], ".bin이 없음": None}
    manifests = {
        "목록이 없음": None,
        "목록이 비었음": b"",
        "목록이 도중에 끊김": json.dumps(good).encode()[:40],
    }
    manifests |= {"목록이 UTF-8이 아님": b"\xff\xfe{}"}
    others = {"목록이 []": [], "목록이 수": 3, "sha256이 null": {**good, "sha256": None}}
    others |= {"크기가 틀림": {**good, "bytes": 1}, "지문이 다른 모델의 것": {**good, "sha256": "0" * 64}}
    others |= {f"{key}가 없음": {k: v for k, v in good.items() if k != key} for key in good}
    manifests |= {case: json.dumps(value).encode() for case, value in others.items()}
    for name, cases in ((f"{digest}.bin", contents), ("manifest.json", manifests)):
        for case, content in cases.items():
            with _folder() as folder:
                answer(folder).save(new, {})
                (folder / name).unlink()
                if content is not None:
                    (folder / name).write_bytes(content)
                _refuses(answer(folder), case)


def _refuses(store, case: str) -> None:
    try:
        store.load()
    except NotImplementedError:
        raise
    except ValueError as error:
        expect(
            HANGUL.search(str(error)),
            f"{case}: ValueError의 글이 한국어가 아닙니다. 스스로 낸 오류가 아닌 듯합니다.",
        )
    except Exception as error:
        raise Mismatch(f"{case}: ValueError가 나야 하는데 {type(error).__name__}이(가) 났습니다.") from None
    else:
        raise Mismatch(f"{case}: load가 거절해야 하는데 그대로 돌려주었습니다.")


@functools.cache
def _small_models() -> dict:
    """Models with drawn weights and samples that do not reach 255; the first sample is dark.

    The last is large enough (1,024 weights) for the converter to quantize its weights without samples.
    """
    rng, made = np.random.default_rng(805), {}
    for name, shape, units, top in (
        ("입력 (6,)", (6,), 5, 100),
        ("입력 (8, 8)", (8, 8), 20, 200),
    ):
        stack = [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(units, "softmax"),
        ]
        model = keras.Sequential(stack)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        samples = rng.integers(0, top + 1, (20, *shape)).astype("uint8")
        samples[0] //= 8
        samples[5].flat[0], samples[6].flat[0] = top, 0
        made[name] = model, samples, top
    return made


@problem("TFLite로 변환", minutes=10)
def convert(answer):
    """What an interpreter finds in the file, and what it computes."""
    models = _small_models()
    small, large = models
    for name, kind in (
        (small, "int8"),
        (large, "float32"),
        (large, "int8"),
    ):  # int8 first: most can go wrong.
        model, samples, top = models[name]
        expected = np.asarray(model(samples))
        case = f"{name}, {kind}"
        with _quiet():
            content = answer(model, *([samples] if kind == "int8" else []))
            expect_type(content, bytes, case)
            interpreter = tf.lite.Interpreter(model_content=content)
            interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        for text, detail in (("입력", source), ("출력", target)):
            got = np.dtype(detail["dtype"]).name
            expect(got == kind, f"{case}: {text}의 자료형이 {kind}이어야 하는데 {got}입니다.")
        types = {np.dtype(d["dtype"]).name for d in interpreter.get_tensor_details()}
        if kind == "float32":
            expect(
                "int8" not in types and "float16" not in types,
                f"{case}: 양자화된 텐서가 있습니다: {sorted(types)}",
            )
        else:
            expect(
                not any("float" in t for t in types),
                f"{case}: 실수로 남은 텐서가 있습니다: {sorted(types)}",
            )
            scale, zero = source["quantization"]
            hints = {
                "샘플을 0~1로 나누었습니다. 모델은 0~255를 받습니다.": 1 / 255,
                "첫 샘플만 썼습니다.": float(samples[0].max()) / top,
                "준 샘플이 아니라 0~255를 채운 다른 샘플을 썼습니다.": 255 / top,
            }
            expect_close(
                scale * 255 / top,
                1.0,
                f"{case}: 입력의 스케일(대표 데이터셋에서 나올 값에 대한 비)",
                tol=2e-3,
                mistakes=hints,
            )
            expect(zero == -128, f"{case}: 입력의 영점이 -128이어야 하는데 {zero}입니다.")
        got = np.array([_interpret(interpreter, source, target, sample) for sample in samples])
        tol = 1e-4 if kind == "float32" else 0.06
        expect_close(got, expected, f"{case}: Keras의 확률과 비교", tol=tol)


def _interpret(interpreter, source: dict, target: dict, sample) -> np.ndarray:
    x = sample[None].astype(float)
    if source["dtype"] == np.int8:
        scale, zero = source["quantization"]
        x = np.clip(np.rint(x / scale) + zero, -128, 127)
    interpreter.set_tensor(source["index"], x.astype(source["dtype"]))
    interpreter.invoke()
    y = interpreter.get_tensor(target["index"])[0].astype(float)
    scale, zero = target["quantization"]
    return (y - zero) * scale if target["dtype"] == np.int8 else y


@problem("학습과 int8 추론", minutes=15, seconds=TRAINING_SECONDS)
def classify(answer):
    """Accuracy of the three kinds on digits that no loader returns; int8 may lose one point.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``.
    """
    images, labels = (part[: pick(small=None, full=4000)] for part in unseen.digits())
    accuracy, results = {}, {}
    for kind in ("keras", "float32", "int8"):
        with _quiet():
            with untouched(kind, images):
                got = expect_array(answer(images, kind), kind)
            shape = (len(images), 10)
            expect(got.shape == shape, f"{kind}: 결과의 모양이 {shape}이어야 하는데 {got.shape}입니다.")
            expect(got.dtype == np.float32, f"{kind}: 결과의 자료형이 float32여야 하는데 {got.dtype}입니다.")
            expect(np.isfinite(got).all() and got.min() >= 0, f"{kind}: 확률에 음수나 NaN이 있습니다.")
            tol = 0.03 if kind == "int8" else 1e-4
            expect_close(got.sum(-1), np.ones(len(got)), f"{kind}: 확률의 합", tol=tol)
            for rows in (slice(3, 4), slice(10, 17), slice(6, 2, -1)):
                part = answer(images[rows], kind)
                expect_close(part, got[rows], f"{kind}: {len(images[rows])}장만 넣은 결과", tol=0.012)
        results[kind], accuracy[kind] = got, float(np.mean(got.argmax(-1) == labels))
    expect(
        accuracy["keras"] >= TARGET,
        f"Keras의 정확도 {accuracy['keras']:.3f}가 목표 {TARGET}에 못 미칩니다.",
    )
    expect_close(results["float32"], results["keras"], "float32와 Keras의 확률", tol=1e-3)
    steps = results["int8"] * 256
    expect(
        abs(steps - np.rint(steps)).max() < 1e-2,
        "int8: 확률이 1/256의 배수가 아닙니다. int8 모델을 썼는지, 역양자화가 맞는지 보세요.",
    )
    expect(
        accuracy["int8"] >= accuracy["keras"] - LOST - 1e-9,
        f"int8의 정확도 {accuracy['int8']:.3f}가 Keras의 {accuracy['keras']:.3f}보다 {LOST:.0%} 넘게 낮습니다.",
    )


def _file(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _palette(indices: np.ndarray) -> bytes:
    """Return a PNG whose palette reverses the greys."""
    image, file = Image.fromarray(indices).convert("P"), io.BytesIO()
    image.putpalette(np.repeat(np.arange(255, -1, -1, dtype="uint8"), 3).tobytes())
    image.save(file, "PNG")
    return file.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """Return a PNG that promises this size and ends before its pixels."""
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + (13).to_bytes(4, "big")
        + chunk
        + zlib.crc32(chunk).to_bytes(4, "big")
        + b"\0\0\x10\0IDAT"
    )


@problem("요청 처리 함수", minutes=10)
def handle(answer):
    """Pixels that arrive, the order of the refusals, and random damage."""
    rng = np.random.default_rng(807)
    grey = rng.integers(0, 256, (28, 28)).astype("uint8")
    smooth = np.add.outer(np.arange(28), np.arange(28)).astype("uint8") * 4
    color = rng.integers(0, 256, (28, 28, 3)).astype("uint8")
    good = _file(grey)
    pictures = {
        "PNG": (good, grey, 0),
        "팔레트 PNG": (_palette(grey), 255 - grey, 0),
        "회색 RGB PNG": (_file(np.repeat(grey[..., None], 3, -1)), grey, 0),
        "색이 있는 PNG": (_file(color), color @ [0.299, 0.587, 0.114], 1.0),
        "투명도가 있는 PNG": (_file(np.dstack([grey] * 3 + [np.full((28, 28), 200, "uint8")])), grey, 0),
        "JPEG": (_file(smooth, "JPEG", quality=95), smooth, 6),
    }
    for k, (case, (body, pixels, tol)) in enumerate(pictures.items()):
        probabilities = np.roll(np.array([0.1, 0.623456, 0.196544, 0.08], "float32"), k)
        predict = mock.Mock(return_value=probabilities[None])
        reply = _reply(answer, body, predict, len(body), 200, case)
        expect(
            set(reply) == {"digit", "probability"},
            f"{case}: 응답의 열쇠가 digit과 probability여야 하는데 {list(reply)}입니다.",
        )
        for key, kind in (("digit", int), ("probability", float)):
            expect_type(reply[key], kind, f"{case}: {key}")
        expect(
            reply["digit"] == (1 + k) % 4,
            f"{case}: digit이 {(1 + k) % 4}이어야 하는데 {reply['digit']}입니다.",
        )
        expect_close(reply["probability"], 0.623456, f"{case}: probability", tol=1e-6)
        expect(
            predict.call_count == 1 and len(predict.call_args.args) == 1,
            f"{case}: predict(pixels)를 한 번 불러야 합니다.",
        )
        seen = np.asarray(predict.call_args.args[0])
        expect(
            seen.shape == (1, 28, 28),
            f"{case}: predict가 받은 모양이 (1, 28, 28)이어야 하는데 {seen.shape}입니다.",
        )
        expect(
            seen.dtype == np.uint8, f"{case}: predict가 받은 자료형이 uint8이어야 하는데 {seen.dtype}입니다."
        )
        worst = abs(seen[0].astype(float) - pixels).max()
        expect(worst <= tol, f"{case}: predict가 받은 픽셀이 최대 {worst:.0f}만큼 다릅니다.")
    jpeg, wrong = pictures["JPEG"][0], _file(np.zeros((28, 30), "uint8"))
    refused = {
        "한계보다 1바이트 큼": (413, good, len(good) - 1),
        "한계보다 큰 글": (413, b"x" * 50, 10),
        "빈 본문": (400, b"", 100),
        "글": (415, "숫자 7".encode(), 100),
        "GIF": (415, _file(grey, "GIF"), 10**6),
        "BMP": (415, _file(grey, "BMP"), 10**6),
        "PNG 서명의 앞부분뿐": (415, good[:6], 100),
        "서명뿐인 PNG": (400, good[:8], 100),
        "머리말이 끊긴 PNG": (400, good[:20], 100),
        "픽셀이 끊긴 PNG": (400, good[: len(good) // 2], 10**6),
        "서명뿐인 JPEG": (400, jpeg[:3], 100),
        "픽셀이 끊긴 JPEG": (400, jpeg[: len(jpeg) - len(jpeg) // 4], 10**6),
        "28×30 PNG": (422, wrong, 10**6),
        "30×28 JPEG": (422, _file(np.zeros((28, 30), "uint8"), "JPEG"), 10**6),
        "14×56 PNG (픽셀의 수는 같음)": (422, _file(np.zeros((56, 14), "uint8")), 10**6),
        "크기가 틀리고 픽셀도 끊긴 PNG": (422, _png_header(30, 28), 10**6),
        "4000×4000이라고 적힌 PNG": (422, _png_header(4000, 4000), 10**6),
        "20000×20000이라고 적힌 PNG": (
            (400, 422),
            _png_header(20000, 20000),
            10**6,
        ),  # Pillow refuses to open it.
    }
    for case, (status, body, limit) in refused.items():
        predict = mock.Mock(return_value=np.full((1, 4), 0.25))
        _reply(answer, body, predict, limit, status, case)
        expect(not predict.called, f"{case}: 오류인데 predict를 불렀습니다.")
    broken = mock.Mock(side_effect=RuntimeError("secret-path"))
    reply = _reply(answer, good, broken, 10**6, 500, "predict가 예외를 냄")
    expect("secret" not in json.dumps(reply), "predict가 예외를 냄: 예외의 글이 응답에 들어 있습니다.")
    for k in range(60):
        body = bytearray(good if k % 2 else jpeg)
        for place in rng.integers(8, len(body), 1 + k % 3):
            body[place] ^= 1 << int(rng.integers(8))
        predict = mock.Mock(return_value=np.full((1, 4), 0.25, "float32"))
        _reply(answer, bytes(body), predict, 10**6, (200, 400, 422), f"비트가 뒤집힌 파일 {k}번")


def _reply(answer: Callable, body: bytes, predict: Callable, limit: int, status, case: str) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            got = answer(body, predict, limit)
        except NotImplementedError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:80]
            raise Mismatch(f"{case}: 예외가 밖으로 나왔습니다. {type(error).__name__}: {text}") from None
    got = expect_parts(got, ("상태", "응답"), case)
    wanted = status if isinstance(status, tuple) else (status,)
    expect(got[0] in wanted, f"{case}: 상태가 {' 또는 '.join(map(str, wanted))}이어야 하는데 {got[0]}입니다.")
    expect_type(got[1], dict, f"{case}: 응답")
    try:
        json.dumps(got[1])
    except TypeError as error:
        raise Mismatch(f"{case}: 응답을 JSON으로 쓸 수 없습니다. {error}") from None
    if got[0] != 200:
        _korean_error(got[1], case)
    return got[1]


def _korean_error(reply, case: str) -> None:
    text = reply.get("error") if isinstance(reply, dict) else None
    expect(
        isinstance(text, str) and HANGUL.search(text) and len(reply) == 1,
        f"{case}: 응답이 {{'error': 한국어 문장}}이어야 하는데 {str(reply)[:60]}입니다.",
    )


@problem("HTTP 서버", minutes=10)
def create_app(answer):
    """A real server on a free port: replies, limits before the body is in, six clients, health while busy."""
    limit, entered, release, lock, calls = 2000, threading.Event(), threading.Event(), threading.Lock(), []
    active = most = place = 0

    def work(body):
        nonlocal active, most, place
        with lock:
            active += 1
            most = max(most, active)
        try:
            calls.append(body)
            if body == b"slow":
                place = threading.get_ident()
                entered.set()
                release.wait(8)
            elif body.startswith(b"many"):
                time.sleep(0.02)
            return (
                (422, {"error": "틀린 크기"})
                if body == b"no"
                else (200, {"sha": hashlib.sha256(body).hexdigest()})
            )
        finally:
            with lock:
                active -= 1

    app = answer(work, limit)
    expect_type(app, FastAPI, "결과")
    watched = _Watched(app, limit)
    with _serving(watched) as (client, loop), concurrent.futures.ThreadPoolExecutor(6) as pool:
        port = client.base_url.port
        try:
            _expect_json(client.get("/health"), 200, {"status": "ok"}, "GET /health")
            for body in (b"\x89PNG\r\n" + bytes(range(256)), b"", b"x" * limit):
                right = {"sha": hashlib.sha256(body).hexdigest()}
                _expect_json(
                    client.post("/predict", content=body), 200, right, f"POST /predict, {len(body)}바이트"
                )
                expect(
                    isinstance(calls[-1], bytes),
                    f"answer가 bytes가 아니라 {type(calls[-1]).__name__}을(를) 받았습니다.",
                )
            client.post("/predict", content=b"")
            expect(
                len(calls) == 4, "같은 본문이 다시 왔을 때 answer를 부르지 않았습니다. 답을 외워 두지 마세요."
            )
            right = {"sha": hashlib.sha256(b"ab" * 300).hexdigest()}
            _expect_json(
                client.post("/predict", content=iter([b"ab" * 100] * 3)), 200, right, "조금씩 보낸 600바이트"
            )
            _expect_json(
                client.post("/predict", content=b"no"), 422, {"error": "틀린 크기"}, "answer가 422를 냄"
            )
            for method, path, status in (
                ("GET", "/predict", 405),
                ("POST", "/health", 405),
                ("GET", "/none", 404),
            ):
                got = client.request(method, path).status_code
                expect(got == status, f"{method} {path}: 상태가 {status}이어야 하는데 {got}입니다.")
            count = len(calls)
            case = "Content-Length가 크고 본문은 아직 오지 않음"
            _expect_too_large(watched, port, {"Content-Length": "100000000"}, b"", case)
            chunk = b"%x\r\n" % (limit + 1) + b"z" * (limit + 1) + b"\r\n"
            case = "길이를 알리지 않고 한계를 넘게 보냄"
            _expect_too_large(watched, port, {"Transfer-Encoding": "chunked"}, chunk, case)
            got = client.post("/predict", content=b"x" * (limit + 1))
            expect(
                got.status_code == 413,
                f"한계보다 1바이트 큼: 상태가 413이어야 하는데 {got.status_code}입니다.",
            )
            expect(len(calls) == count, "413인데 answer를 불렀습니다.")
            slow = pool.submit(client.post, "/predict", content=b"slow")
            expect(entered.wait(SECONDS), "느린 요청이 answer에 닿지 않았습니다.")
            blocked = "추론하는 동안 /health가 답하지 않습니다."
            expect(place != loop, f"{blocked} answer가 이벤트 루프를 막습니다.")
            try:
                reply = client.get("/health", timeout=SECONDS)
            except httpx.TimeoutException:
                raise Mismatch(f"{blocked} answer를 기다리지 않게 하세요.") from None
            _expect_json(reply, 200, {"status": "ok"}, "추론하는 동안의 GET /health")
            release.set()
            expect(slow.result(8).status_code == 200, "느린 요청이 200으로 끝나지 않았습니다.")
            bodies = [b"many%d" % k for k in range(6)]
            replies = list(pool.map(lambda body: client.post("/predict", content=body), bodies))
            for body, reply in zip(bodies, replies, strict=True):
                _expect_json(reply, 200, {"sha": hashlib.sha256(body).hexdigest()}, "동시에 보낸 여섯 요청")
            expect(
                most == 1, f"answer를 동시에 {most}번 불렀습니다. 인터프리터는 한 번에 하나만 써야 합니다."
            )
        finally:
            release.set()


def _expect_json(reply: httpx.Response, status: int, right: dict, case: str) -> None:
    expect(reply.status_code == status, f"{case}: 상태가 {status}이어야 하는데 {reply.status_code}입니다.")
    try:
        got = reply.json()
    except ValueError:
        got = reply.text
    expect(got == right, f"{case}: 응답이 {str(right)[:60]}이어야 하는데 {str(got)[:60]}입니다.")


class _Watched:
    """Passes requests to the app and notes whether it asks for more of a body that is too long already."""

    def __init__(self, app: FastAPI, limit: int) -> None:
        self.app, self.limit, self.asked = app, limit, threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        size = int(dict(scope.get("headers", ())).get(b"content-length", 0))

        async def more():
            nonlocal size
            if size > self.limit:
                self.asked.set()
            message = await receive()
            size += len(message.get("body", b""))
            return message

        await self.app(scope, more, send)


def _answers(connection: http.client.HTTPConnection, asked: threading.Event) -> bool:
    """Wait for a reply; one that asks for more of the body, which never comes, has only a moment left."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if select.select([connection.sock], [], [], 0.02)[0]:
            return True
        if asked.is_set():
            return bool(select.select([connection.sock], [], [], MOMENT)[0])
    return False


def _expect_too_large(watched: _Watched, port: int, headers: dict, sent: bytes, case: str) -> None:
    """Send the beginning of a request, keep the connection open, and expect 413 without more."""
    watched.asked.clear()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.putrequest("POST", "/predict")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(sent)
        late = f"{case}: 답이 없습니다. 본문을 다 받기 전에 413으로 거절해야 합니다."
        expect(_answers(connection, watched.asked), late)
        reply = connection.getresponse()
        expect(reply.status == 413, f"{case}: 상태가 413이어야 하는데 {reply.status}입니다.")
        _korean_error(json.loads(reply.read()), case)
    except TimeoutError:
        raise Mismatch(late) from None
    finally:
        connection.close()


@contextlib.contextmanager
def _serving(app: Callable) -> Iterator[tuple[httpx.Client, int | None]]:
    """Run the app on a free port of this machine; the server stops whatever happens.

    It is cancelled: asked to end, it would first look for the wish ten times a second and then wait for the clients.

    Yields:
        A client and the number of the thread whose event loop serves.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Else the body of each reply waits 40 ms until its headers are acknowledged; connections inherit the option.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical"))
        loop = asyncio.new_event_loop()

        def serve() -> None:
            with (
                asyncio.Runner(loop_factory=lambda: loop) as runner,
                contextlib.suppress(asyncio.CancelledError),
            ):
                runner.run(server.serve(sockets=[listener]))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            end = time.monotonic() + 10
            while not server.started and thread.is_alive() and time.monotonic() < end:
                time.sleep(0.01)
            expect(server.started, "앱을 서버로 띄우지 못했습니다.")
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            # Nothing is encrypted here, and reading the list of authorities takes longer than the rest.
            with httpx.Client(base_url=address, timeout=10, trust_env=False, verify=False) as client:
                yield client, thread.ident
        finally:
            with contextlib.suppress(RuntimeError):  # It has ended by itself.
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
            thread.join(10)
