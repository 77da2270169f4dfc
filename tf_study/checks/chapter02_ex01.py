"""Checks of practice 2.1: preprocessing, parameter counts, the three Keras APIs and a target accuracy."""

import functools
import tempfile
from itertools import product
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit, softmax

from tf_study import data
from tf_study.data import unseen
from tf_study.expect import (
    Mismatch,
    expect,
    expect_close,
    expect_integers,
    expect_parts,
    expect_returned,
    expect_trainable,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem

TARGET = 0.80
MAX_PARAMETERS = 60_000


@problem("사진과 레이블의 전처리", minutes=5)
def preprocess(answer):
    """Pixels in 0..1 as rows, labels as one-hot rows."""
    rng = np.random.default_rng(201)
    cases = {
        "예시": (np.array([[[0, 51], [102, 255]]], np.uint8), [2], 3, np.int64),
        "정사각형 사진 (5, 4, 4)": (_images(rng, 5, 4, 4), [0, 1, 2, 1, 0], 3, np.int64),
        "가로가 긴 사진 (3, 2, 5)": (_images(rng, 3, 2, 5), [1, 0, 1], 2, np.int64),
        "한 장뿐인 사진 (1, 6, 3)": (_images(rng, 1, 6, 3), [0], 4, np.int64),
        "가장 밝은 픽셀이 100인 사진 (4, 3, 3)": (_images(rng, 4, 3, 3, 100), [3, 3, 0, 2], 4, np.int64),
        "뒤쪽 클래스가 나오지 않는 사진 (3, 2, 2)": (_images(rng, 3, 2, 2), [0, 1, 0], 10, np.int64),
        "레이블이 uint8인 사진 (2, 28, 28)": (_images(rng, 2, 28, 28), [9, 4], 10, np.uint8),
        "모두 검은 사진 (2, 3, 2)": (np.zeros((2, 3, 2), np.uint8), [1, 0], 2, np.int64),
    }
    for case, (images, labels, classes, kind) in cases.items():
        labels = np.array(labels, kind)
        with untouched(case, images, labels):
            X, Y = expect_parts(answer(images, labels, classes), ("입력", "원-핫"), case)
        expected = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images)).numpy()
        expect_close(
            X,
            expected,
            f"{case}, 입력",
            tol=1e-6,
            dtype=np.float32,
            mistakes={
                "255로 나누지 않았습니다.": expected * 255,
                "정수 나눗셈을 하면 소수점 아래가 사라집니다.": np.floor(expected),
                "255가 아니라 받은 사진의 최댓값으로 나누었습니다.": expected / max(expected.max(), 1e-9),
                "256이 아니라 255로 나눕니다.": expected * 255 / 256,
                "열을 먼저 읽으며 폈습니다. 행을 먼저 읽으세요.": images.transpose(0, 2, 1).reshape(
                    len(images), -1
                )
                / 255,
            },
        )
        expect_close(Y, np.eye(classes)[labels], f"{case}, 원-핫", tol=0, dtype=np.float32)


@problem("파라미터 수", minutes=10)
def count_parameters(answer):
    """Trainable and non-trainable parameters of a stack of Dense layers, against a built model."""
    for sizes in ([4, 3, 2], [784, 128, 10], [5, 1], [2, 3, 7, 5, 6], [7, 7, 7], [1, 1, 1, 1]):
        for batch_norm in (False, True):
            case = f"sizes={sizes}, batch_norm={batch_norm}"
            given = list(sizes)
            with untouched(case, given):
                counts = expect_parts(answer(given, batch_norm), ("학습하는 수", "학습하지 않는 수"), case)
            trainable, frozen = (expect_integers(count, case) for count in counts)
            layers = [keras.Input((sizes[0],))]
            for index, size in enumerate(sizes[1:], start=1):
                layers.append(keras.layers.Dense(size))
                if batch_norm and index < len(sizes) - 1:
                    layers.append(keras.layers.BatchNormalization())
            model = keras.Sequential(layers)
            expected, rest = (
                sum(int(np.prod(w.shape)) for w in weights)
                for weights in (model.trainable_weights, model.non_trainable_weights)
            )
            dense = sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
            expect_close(
                trainable,
                expected,
                f"{case}, 학습하는 수",
                tol=0,
                mistakes={
                    "편향을 빠뜨렸습니다.": dense + rest,
                    "이동 평균과 이동 분산까지 셌습니다.": expected + rest,
                    "배치 정규화의 배율과 이동을 빠뜨렸습니다.": expected - rest,
                    "출력층 뒤에는 배치 정규화가 없습니다.": expected + 2 * sizes[-1] * batch_norm,
                },
            )
            expect_close(
                frozen,
                rest,
                f"{case}, 학습하지 않는 수",
                tol=0,
                mistakes={"출력층 뒤에는 배치 정규화가 없습니다.": rest + 2 * sizes[-1] * batch_norm},
            )


@problem("Sequential 분류기", minutes=10)
def build_sequential(answer):
    """A stack of ReLU layers with a softmax, compared with NumPy after weight transfer."""
    rng = np.random.default_rng(203)
    cases = (
        ((2, 2), [3], 2),
        ((28, 28), [16, 8], 10),
        ((784,), [], 10),
        ((3, 5), [6, 6, 6], 4),
        ((4,), [9], 1 + 2),
        ((2, 3, 2), [5, 2], 7),
    )
    for shape, units, classes in cases:
        case = f"input_shape={shape}, units={units}, num_classes={classes}"
        keras.utils.set_random_seed(203)
        given = list(units)
        with untouched(case, given):
            model = answer(shape, given, classes)
        expect_type(model, keras.Sequential, case)
        expect(
            model.built,
            f"{case}: 데이터를 넣기 전에는 파라미터 수를 모릅니다. keras.Input으로 입력의 모양을 알려 주세요.",
        )
        sizes = [int(np.prod(shape)), *units, classes]
        wanted = [s for a, b in zip(sizes[:-1], sizes[1:], strict=True) for s in ((a, b), (b,))]
        _expect_shapes(model, wanted, case)
        expect_trainable(model, case)
        _expect_random([w for w in model.weights if len(w.shape) > 1][:-1], case)
        weights = _randomize(model, rng)
        for batch in (1, 5):
            x = rng.normal(size=(batch, *shape)).astype(np.float32)
            z, after_last = x.reshape(batch, -1).astype(float), None
            for index in range(0, len(weights), 2):
                z = z @ weights[index] + weights[index + 1]
                after_last = np.maximum(z, 0)
                z = after_last if index < len(weights) - 2 else z
            expect_close(
                model(x),
                softmax(z, axis=1),
                f"{case}, 배치 {batch}의 출력",
                tol=1e-4,
                mistakes={
                    "출력층에 소프트맥스가 없습니다.": z,
                    "출력층에 소프트맥스가 아니라 시그모이드가 있습니다.": expit(z),
                    "소프트맥스 앞에 ReLU가 있습니다.": softmax(after_last, axis=1),
                    "은닉층에 활성화 함수가 없습니다.": softmax(_linear(x, weights), axis=1),
                },
            )
            expect_close(model(x, training=True), model(x), f"{case}, training=True의 출력", tol=1e-6)
        other = answer(shape, list(units), classes)
        shared = {id(w) for w in model.weights} & {id(w) for w in other.weights}
        expect(not shared, f"{case}: 두 번 만든 모델이 가중치를 나누어 씁니다. 층을 매번 새로 만드세요.")


@problem("출력이 둘인 잔차 모델", minutes=15)
def build_functional(answer):
    """The functional residual model with two heads, compared with NumPy after weight transfer."""
    rng = np.random.default_rng(204)
    for n_in, width, hidden, classes in (
        (2, 3, 4, 5),
        (784, 64, 32, 10),
        (6, 5, 5, 3),
        (1, 4, 1, 2),
        (4, 4, 3, 2),
    ):
        case = f"n_in={n_in}, width={width}, hidden={hidden}, num_classes={classes}"
        keras.utils.set_random_seed(204)
        model = answer(n_in, width, hidden, classes)
        expect_type(model, keras.Model, case)
        expect(
            not isinstance(model, keras.Sequential) and getattr(model, "inputs", None),
            f"{case}: keras.Input에서 시작해 keras.Model(inputs, outputs)로 만드세요.",
        )
        sizes = {
            "stem": (n_in, width),
            "inner": (width, hidden),
            "outer": (hidden, width),
            "label": (width, classes),
            "shoe": (width, 1),
        }
        names = [layer.name for layer in model.layers if layer.weights]
        expect(
            sorted(names) == sorted(sizes),
            f"{case}: 가중치가 있는 층의 이름이 {', '.join(sizes)}여야 하는데 {', '.join(names)}입니다.",
        )
        parts = {}
        for name, (rows, columns) in sizes.items():
            layer = model.get_layer(name)
            _expect_shapes(layer, [(rows, columns), (columns,)], f"{case}, {name} 층")
            expect_trainable(layer, f"{case}, {name} 층")
            _expect_random(layer.weights[:1] if name in ("stem", "inner") else [], f"{case}, {name} 층")
            parts[name] = _randomize(layer, rng)
        for batch in (1, 6):
            x = rng.normal(size=(batch, n_in)).astype(np.float32)
            with untouched(case, x):
                outputs = model(x)
            expect(
                isinstance(outputs, dict) and set(outputs) == {"label", "shoe"},
                f"{case}: 출력이 {{'label': ..., 'shoe': ...}}인 사전이어야 합니다.",
            )

            def dense(h, name, parts=parts):
                kernel, bias = parts[name]
                return h @ kernel + bias

            h = np.maximum(dense(x.astype(float), "stem"), 0)
            f = dense(np.maximum(dense(h, "inner"), 0), "outer")
            linear = dense(dense(h, "inner"), "outer")
            wrong = {
                "stem의 출력을 더하지 않았습니다.": f,
                "더한 뒤에 ReLU를 씌웠습니다.": np.maximum(h + f, 0),
                "outer에 ReLU를 씌운 다음 더했습니다.": h + np.maximum(f, 0),
                "inner에 ReLU가 없습니다.": h + linear,
                "갈라진 길을 거치지 않았습니다.": h,
                "더하지 않고 곱했습니다.": h * f,
            }
            heads = {"label": lambda z: softmax(z, axis=1), "shoe": expit}
            for name, head in heads.items():
                z = dense(h + f, name)
                expect_close(
                    outputs[name],
                    head(z),
                    f"{case}, 배치 {batch}의 {name}",
                    tol=1e-4,
                    mistakes={
                        **{text: head(dense(r, name)) for text, r in wrong.items()},
                        f"{name} 층에 활성화 함수가 없습니다.": z,
                        f"{name} 층에 소프트맥스가 아니라 시그모이드가 있습니다.": expit(z),
                        f"{name} 층에 시그모이드가 아니라 소프트맥스가 있습니다.": softmax(z, axis=1),
                    },
                )
                expect_close(model(x, training=True)[name], outputs[name], f"{case}, training=True", 1e-6)


@problem("잔차 층", minutes=15)
def residual_layer(answer):
    """A custom layer: weights, values on several shapes, configuration round trip, graph mode."""
    expect(
        isinstance(answer, type) and issubclass(answer, keras.layers.Layer) or not isinstance(answer, type),
        "Residual은 keras.layers.Layer를 상속해야 합니다.",
    )
    layer = _block(answer, 1, 2, 0.5, "예시")
    layer.set_weights([np.array(w, np.float32) for w in ([[1, -1]], [0, 0], [[3], [5]], [0])])
    expect_close(
        layer(np.array([[2.0]], np.float32)),
        [[5.0]],
        "손으로 확인할 예",
        mistakes={
            "입력을 더하지 않았습니다.": [[3.0]],
            "배율을 곱하지 않았습니다.": [[8.0]],
            "ReLU가 없습니다.": [[0.0]],
        },
    )
    rng = np.random.default_rng(205)
    cases = (
        ((5, 4), 3, 1.0),
        ((1, 6), 6, -0.7),
        ((3, 2), 7, 0.0),
        ((2, 3, 5), 4, 2.5),
        ((2, 2, 3, 3), 3, 0.1),
    )
    for shape, hidden, scale in cases:
        case = f"입력 {shape}, hidden={hidden}, scale={scale}"
        layer = _block(answer, shape[-1], hidden, scale, case)
        kernel, bias, kernel2, bias2 = layer.get_weights()
        expect(not bias.any() and not bias2.any(), f"{case}: 편향은 0에서 시작해야 합니다.")
        distinct = all(len(np.unique(k)) > 1 for k in (kernel, kernel2) if k.size > 1)
        expect(distinct, f"{case}: W1과 W2의 초깃값이 모두 같습니다. 무작위로 초기화하세요.")
        W1, b1, W2, b2 = (w.astype(float) for w in _randomize(layer, rng))
        x = rng.normal(size=shape).astype(np.float32)
        inside = np.maximum(x @ W1 + b1, 0)
        expected = x + scale * (inside @ W2 + b2)
        mistakes = {
            "입력을 더하지 않았습니다.": expected - x,
            "배율을 곱하지 않았습니다.": x + inside @ W2 + b2,
            "둘째 편향에 배율을 곱하지 않았습니다.": x + scale * (inside @ W2) + b2,
            "배율을 입력에까지 곱했습니다.": scale * (x + inside @ W2 + b2),
            "ReLU가 없습니다.": x + scale * ((x @ W1 + b1) @ W2 + b2),
            "ReLU를 끝에 씌웠습니다.": np.maximum(expected, 0),
            "b1을 더하지 않았습니다.": x + scale * (np.maximum(x @ W1, 0) @ W2 + b2),
            "b2를 더하지 않았습니다.": x + scale * (inside @ W2),
        }
        expect_close(layer(tf.constant(x)), expected, case, tol=1e-4, mistakes=mistakes)
        expect_close(
            tf.function(layer)(tf.constant(x)),
            expected,
            f"{case}, tf.function 안에서",
            1e-4,
            mistakes=mistakes,
        )
        config = _config(layer, {"hidden": hidden, "scale": scale, "name": "block"}, case)
        copy = type(layer).from_config(config)
        copy.build((None, *shape[1:]))
        copy.set_weights(layer.get_weights())
        expect_close(copy(x), expected, f"{case}, get_config로 다시 만든 층", tol=1e-4, mistakes=mistakes)
    expect(
        len({id(w) for w in layer.weights} & {id(w) for w in copy.weights}) == 0,
        "두 층이 가중치를 나누어 씁니다. 가중치는 build에서 self에 만드세요.",
    )
    plain = answer(3)
    plain.build((None, 2))
    scale = _config(plain, {"hidden": 3}, "scale을 적지 않은 층").get("scale")
    expect_close(scale, 1.0, "scale의 기본값")


@problem("잔차 모델", minutes=15)
def residual_net(answer):
    """A subclassed model: values, dropout only in training, configuration and file round trip."""
    expect(
        isinstance(answer, type) and issubclass(answer, keras.Model) or not isinstance(answer, type),
        "ResidualNet은 keras.Model을 상속해야 합니다.",
    )
    rng = np.random.default_rng(206)
    for n, width, hidden, classes, rate in ((5, 6, 3, 4, 0.5), (7, 4, 8, 2, 0.0), (784, 16, 4, 10, 0.3)):
        case = f"입력 {n}, width={width}, hidden={hidden}, num_classes={classes}, rate={rate}"
        x = rng.normal(size=(6, n)).astype(np.float32)
        net = answer(width, hidden, classes, rate=rate, name="net")
        expect_type(net, keras.Model, case)
        net(x)
        parts = _net_weights(net, (n, width, hidden, classes), rng, case)
        r = _residual_values(x, parts)
        kernel, bias = parts["head"]
        z = r @ kernel + bias
        h = np.maximum(x @ parts["stem"][0] + parts["stem"][1], 0)
        mistakes = {
            "head에 소프트맥스가 없습니다.": z,
            "head에 소프트맥스가 아니라 시그모이드가 있습니다.": expit(z),
            "잔차 층을 거치지 않았습니다.": softmax(h @ kernel + bias, axis=1),
            "stem에 ReLU가 없습니다.": softmax(
                _residual_values(x, parts, stem_relu=False) @ kernel + bias, axis=1
            ),
        }
        expect_close(net(x), net(x), f"{case}, training을 주지 않고 두 번 부른 출력", tol=1e-6)
        for batch in (6, 1):
            expect_close(
                net(x[:batch]),
                softmax(z[:batch], axis=1),
                f"{case}, 배치 {batch}의 출력",
                tol=1e-4,
                mistakes={text: value[:batch] for text, value in mistakes.items()},
            )
        wanted = {"width": width, "hidden": hidden, "num_classes": classes, "rate": rate, "name": "net"}
        copy = type(net).from_config(_config(net, wanted, case))
        expect_type(copy, keras.Model, f"{case}, get_config로 다시 만든 모델")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.keras"
            net.save(path)
            loaded = keras.models.load_model(path, custom_objects={type(net).__name__: type(net)})
        expect_close(loaded(x), net(x), f"{case}, 저장했다가 되살린 모델의 출력", tol=1e-5)
        expect_close(getattr(loaded.dropout, "rate", None), rate, f"{case}, 되살린 모델의 드롭아웃 비율")
        if n == 5:  # Other sizes change neither dropout nor its default.
            _expect_dropout(answer, rng)
            default = _config(answer(3, 2, 2), {}, "rate를 적지 않은 모델").get("rate")
            expect_close(default, 0.2, "rate의 기본값")


@problem("목표 정확도까지 학습", minutes=20, seconds=TRAINING_SECONDS)
def train_classifier(answer):
    """Train by the learner's function and measure on pictures that no function of ``tf_study.data`` returns.

    The classes are renumbered, so that a model trained elsewhere does not help, and the labels are read when the
    predictions are made, so that there is nothing to look up, by pixels or in the grader's variables. Nothing
    hinders an answer that reads the file itself.
    """
    order = np.random.default_rng(207).permutation(10)
    X, labels, X_test = _clothes()
    Y = np.eye(10, dtype=np.float32)[labels][:, order]
    keras.utils.set_random_seed(207)
    model = answer(X.copy(), Y.copy())
    expect_returned(model, "학습한 모델")
    expect(
        isinstance(model, keras.Model),
        f"학습한 모델을 돌려주어야 하는데 결과의 형이 {type(model).__name__}입니다. fit의 결과는 모델이 아니라 기록입니다.",
    )
    p = _probabilities(model, X_test)
    expect(
        (p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3),
        "행마다 더해 1이 되는 확률이 아닙니다. 출력층의 활성화 함수가 소프트맥스인지 보세요.",
    )
    count = model.count_params()
    expect(count <= MAX_PARAMETERS, f"파라미터가 {count:,}개로 {MAX_PARAMETERS:,}개를 넘습니다.")
    expect(not _is_linear(model, X_test), "은닉층이 없는 선형 분류기입니다. 은닉층과 ReLU를 두세요.")
    training = np.mean(_probabilities(model, X).argmax(axis=1) == Y.argmax(axis=1))
    accuracy = np.mean(p.argmax(axis=1) == np.argsort(order)[unseen.clothes()[1]])
    expect(
        accuracy >= TARGET,
        f"정확도가 목표 {TARGET:.2f}에 못 미칩니다(처음 보는 사진 {accuracy:.3f}, 훈련 사진 {training:.3f}). "
        "넘겨받은 X와 Y로만 학습하세요.",
    )


# -- helpers ---------------------------------------------------------------------------------------------


@functools.cache
def _clothes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pictures to learn from, their labels, and the pictures to judge by, whose labels nobody keeps."""
    images, labels = data.fashion_mnist(train=5000)[0]
    return _rows(images), labels, _rows(unseen.clothes()[0])


def _rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _probabilities(model: keras.Model, X: np.ndarray) -> np.ndarray:
    """Return what the model says about the ten classes, (N, 10) finite numbers."""
    p = model(tf.constant(X))
    if isinstance(p, dict):
        expect("label" in p, "출력이 사전이면 'label'이 있어야 합니다.")
        p = p["label"]
    expect_type(p, tf.Tensor, "모델의 출력")
    p = np.asarray(p)
    expect(p.shape == (len(X), 10), f"출력의 모양이 {(len(X), 10)}이어야 하는데 {p.shape}입니다.")
    expect(np.isfinite(p).all(), "출력에 NaN 또는 무한대가 들어 있습니다. 학습률을 줄여 보세요.")
    return p


def _is_linear(model: keras.Model, X: np.ndarray) -> bool:
    """Tell whether the log ratios of the classes are affine, as they are without a hidden layer."""
    one, other = X[:200], X[200:400]
    scores = [np.log(np.maximum(_probabilities(model, x), 1e-30)) for x in (one, other, (one + other) / 2)]
    # Where a probability underflows the logarithm says nothing.
    usable = np.min([s.min(axis=1) for s in scores], axis=0) > -60
    a, b, middle = (s[usable] - s[usable].mean(axis=1, keepdims=True) for s in scores)
    return bool(len(a) > 10 and np.abs((a + b) / 2 - middle).max() < 0.01)


def _images(rng: np.random.Generator, count: int, height: int, width: int, largest: int = 255) -> np.ndarray:
    images = rng.integers(0, largest + 1, size=(count, height, width), dtype=np.uint8)
    images.flat[0] = largest
    return images


def _expect_shapes(owner, wanted: list[tuple], case: str) -> None:
    """Require the shapes of all weights, in order."""
    shapes = [tuple(w.shape) for w in owner.weights]
    expect(shapes == wanted, f"{case}: 가중치의 모양이 {_short(wanted)}여야 하는데 {_short(shapes)}입니다.")


def _expect_random(kernels: list, case: str) -> None:
    """Require kernels of hidden layers that do not start with equal numbers: their units would stay equal."""
    for kernel in kernels:
        values = np.asarray(kernel)
        expect(
            values.size < 2 or np.ptp(values) > 0,
            f"{case}: {kernel.path}의 초깃값이 모두 같습니다. 무작위로 초기화하세요.",
        )


def _short(shapes: list[tuple]) -> str:
    return ", ".join(map(str, shapes)) or "없음"


def _randomize(owner, rng: np.random.Generator) -> list[np.ndarray]:
    """Set every weight, biases too, to random numbers and return them."""
    weights = [
        (rng.normal(size=w.shape) / np.sqrt(w.shape[0] if len(w.shape) > 1 else 1)).astype(np.float32)
        for w in owner.weights
    ]
    owner.set_weights(weights)
    return weights


def _linear(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    z = x.reshape(len(x), -1).astype(float)
    for index in range(0, len(weights), 2):
        z = z @ weights[index] + weights[index + 1]
    return z


def _block(answer, n: int, hidden: int, scale: float, case: str) -> keras.layers.Layer:
    """Make and build a residual layer and require its four weights."""
    layer = answer(hidden, scale=scale, name="block")
    expect_type(layer, keras.layers.Layer, case)
    expect(not layer.weights, f"{case}: 입력을 받기 전에 가중치가 있습니다. 가중치는 build에서 만드세요.")
    layer(tf.zeros((1, n)))
    inside = any(part.weights for part in layer._flatten_layers(include_self=False))
    expect(not inside, f"{case}: 안에서 가중치가 있는 다른 층을 썼습니다. 가중치는 add_weight로 만드세요.")
    _expect_shapes(layer, [(n, hidden), (hidden,), (hidden, n), (n,)], case)
    expect(
        len(layer.trainable_weights) == 4,
        f"{case}: 학습하는 가중치가 4개여야 하는데 {len(layer.trainable_weights)}개입니다.",
    )
    return layer


def _config(owner, wanted: dict, case: str) -> dict:
    """Return the configuration after requiring the given entries."""
    config = owner.get_config()
    expect(isinstance(config, dict), f"{case}: get_config가 사전을 돌려주어야 합니다.")
    for key, value in wanted.items():
        expect(key in config, f"{case}: get_config에 빠진 열쇠가 있습니다({key!r}).")
        expect(
            config[key] == value,
            f"{case}: get_config의 {key!r}에서 기대한 값은 {value!r}, 나온 값은 {config[key]!r}입니다.",
        )
    return config


def _net_weights(net, sizes: tuple[int, int, int, int], rng: np.random.Generator, case: str) -> dict:
    """Require the four parts of a residual model, randomise their weights and return these."""
    n, width, hidden, classes = sizes
    wanted = {
        "stem": [(n, width), (width,)],
        "residual": [(width, hidden), (hidden,), (hidden, width), (width,)],
        "dropout": [],
        "head": [(width, classes), (classes,)],
    }
    parts = {}
    for name, shapes in wanted.items():
        part = getattr(net, name, None)
        expect(isinstance(part, keras.layers.Layer), f"{case}: 속성 {name!r}에 층이 없습니다.")
        _expect_shapes(part, shapes, f"{case}, {name}")
        expect_trainable(part, f"{case}, {name}")
        _expect_random(part.weights[:1] if name == "stem" else [], f"{case}, {name}")
        parts[name] = [w.astype(float) for w in _randomize(part, rng)]
    count = sum(int(np.prod(s)) for shapes in wanted.values() for s in shapes)
    expect(
        net.count_params() == count,
        f"{case}: 파라미터가 {count}개여야 하는데 {net.count_params()}개입니다.",
    )
    return parts


def _residual_values(x: np.ndarray, parts: dict, stem_relu: bool = True) -> np.ndarray:
    h = x @ parts["stem"][0] + parts["stem"][1]
    h = np.maximum(h, 0) if stem_relu else h
    W1, b1, W2, b2 = parts["residual"]
    return h + np.maximum(h @ W1 + b1, 0) @ W2 + b2


def _expect_dropout(answer, rng: np.random.Generator) -> None:
    """In training every output must come from one of the masks, kept values scaled by 1 / (1 - rate)."""
    rate, width, rows = 0.25, 4, 600
    case = f"rate={rate}, training=True"
    keras.utils.set_random_seed(206)
    net = answer(width, 3, width, rate=rate)
    x = np.tile(rng.normal(size=(1, 5)).astype(np.float32), (rows, 1))
    net(x)
    parts = _net_weights(net, (5, width, 3, width), rng, case)
    expect_close(getattr(net.dropout, "rate", None), rate, f"{case}: 드롭아웃 비율")
    r = np.array([0.9, -0.6, 1.7, 0.4])
    # The residual branch gives the wanted values whatever the input: no kernel of it is left.
    net.stem.set_weights([np.zeros((5, width)), np.zeros(width)])
    net.residual.set_weights([np.zeros_like(parts["residual"][0]), np.zeros(3), np.zeros((3, width)), r])
    net.head.set_weights([np.eye(width), np.zeros(width)])
    got = net(x, training=True)
    expect_type(got, tf.Tensor, case)
    got = np.asarray(got)
    expect(got.shape == (rows, width), f"{case}: 출력의 모양이 {got.shape}입니다.")
    if np.allclose(got, softmax(r), atol=1e-4):
        raise Mismatch(
            f"{case}: residual의 출력에 드롭아웃이 걸리지 않았습니다. "
            "드롭아웃이 residual과 head 사이에 있는지, training을 dropout에 넘기는지 보세요."
        )
    masks = np.array(list(product((0, 1), repeat=width)))
    distances = np.abs(got[:, None] - softmax(r * masks / (1 - rate), axis=1)[None]).max(axis=-1)
    expect(
        (distances.min(axis=1) < 1e-4).all(),
        f"{case}: 잔차 층의 출력에 드롭아웃을 건 값이 아닙니다. 드롭아웃은 residual과 head 사이에 한 번 둡니다.",
    )
    kept = masks[distances.argmin(axis=1)].mean()
    expect(
        abs(kept - (1 - rate)) < 0.08,
        f"{case}: 남은 값의 비율이 {1 - rate} 근처여야 하는데 {kept:.2f}입니다.",
    )
    expect_close(net(x[:3]), np.tile(softmax(r), (3, 1)), f"rate={rate}, 학습하지 않을 때의 출력", tol=1e-4)
