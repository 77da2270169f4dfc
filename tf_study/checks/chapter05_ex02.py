"""Checks of practice 5.2: the block of EfficientNetB0, freezing in two stages and a classifier of flowers."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, recall_score

from tf_study.checks.eager import eagerly
from tf_study.data import unseen
from tf_study.expect import (
    Mismatch,
    expect,
    expect_accuracy,
    expect_array,
    expect_close,
    expect_integers,
    expect_parts,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

TARGET = pick(small=0.65, full=0.85)
BN = layers.BatchNormalization


@problem("압축-여기", minutes=10)
def squeeze_excite(answer):
    """The gate against the squeeze-and-excitation layers of EfficientNetB0."""
    x = np.array([1.0, 0.0, 3.0, 4.0], np.float32).reshape(1, 1, 2, 2)
    weights = (np.zeros((2, 1)), np.zeros(1), np.ones((1, 2)), np.array([0, np.log(3)]))
    weights = tuple(w.astype(np.float32) for w in weights)
    _gate(answer, x, weights, np.array([0.5, 0.0, 1.5, 3.0]).reshape(1, 1, 2, 2), "예시")
    rng = np.random.default_rng(501)
    cases = {
        "block1a의 (3, 4, 4, 32)": ("block1a", (3, 4, 4, 32), 1.0),
        "block3b, 그림 한 장 (1, 5, 2, 240)": ("block3b", (1, 5, 2, 240), 1.0),
        "block2a, 픽셀 하나 (4, 1, 1, 96)": ("block2a", (4, 1, 1, 96), 1.0),
        "block2b, 크고 음수인 특징 (2, 3, 7, 144)": ("block2b", (2, 3, 7, 144), 30.0),
    }
    for case, (name, shape, scale) in cases.items():
        x = (rng.normal(size=shape) * scale - scale / 2).astype(np.float32)
        reduce, expand = (_layer(f"{name}_se_{part}") for part in ("reduce", "expand"))
        gate = expand(reduce(tf.reduce_mean(x, (1, 2), keepdims=True)))
        weights = tuple(np.squeeze(w, (0, 1)) if w.ndim == 4 else w for w in _se_weights(name))
        _gate(answer, x, weights, np.asarray(x * gate), case)


def _gate(answer: Callable, x, weights: tuple, expected, case: str) -> None:
    def mistakes():
        w1, b1, w2, b2 = (w.astype(float) for w in weights)
        z = x.mean((1, 2)).astype(float) @ w1 + b1
        raw = z / (1 + np.exp(-z)) @ w2 + b2
        gates = {
            "첫 완전 연결 층의 활성화는 swish입니다.": 1 / (1 + np.exp(-(np.maximum(z, 0) @ w2 + b2))),
            "첫 완전 연결 층 뒤에 활성화가 없습니다.": 1 / (1 + np.exp(-(z @ w2 + b2))),
            "마지막에 시그모이드를 씌우지 않았습니다.": raw,
        }
        return {text: x * gate[:, None, None] for text, gate in gates.items()} | {
            "무게를 특징 맵에 곱하지 않았습니다.": np.broadcast_to(
                1 / (1 + np.exp(-raw))[:, None, None], x.shape
            ),
            "특징 맵을 그대로 돌려주었습니다.": x,
        }

    with untouched(case, x, *weights):
        got = answer(x, *weights)
    expect_close(got, expected, case, tol=1e-4, mistakes=mistakes)
    got = answer(tf.constant(x), *(tf.constant(w) for w in weights))
    expect_close(got, expected, f"{case}, 텐서 입력", tol=1e-4, mistakes=mistakes)


@problem("MBConv 블록", minutes=15)
def mbconv(answer):
    """The whole block against the blocks of EfficientNetB0 with random weights and statistics."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    blank = np.zeros((1, 1, 1, 1), np.float32)
    weights = {
        "expand": (blank, one, zero, zero, one),
        "depthwise": (np.zeros((3, 3, 1, 1), np.float32), one, zero, zero, one),
        "se": (np.zeros((1, 1), np.float32), zero, np.zeros((1, 1), np.float32), zero),
        "project": (blank, one, one / 2, zero, one),
    }
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(1, 2, 2, 1)
    expect_close(answer(x, weights, 1), x + 0.5, "예시, 스트라이드 1")
    expect_close(answer(x, weights, 2), np.full((1, 1, 1, 1), 0.5), "예시, 스트라이드 2")
    expect_close(answer(x[:, :1, :1], weights, 2), np.full((1, 1, 1, 1), 0.5), "스트라이드 2인 픽셀 하나")
    flat = {**weights, "project": (blank, one, one / 2, one, np.full(1, 0.003, np.float32))}
    expect_close(
        answer(x, flat, 1),
        x + 0.5 - 1 / np.sqrt(0.004),
        "분산이 0.003으로 작은 배치 정규화",
        mistakes={
            "분산에 ε = 0.001을 더하지 않았습니다.": x + 0.5 - 1 / np.sqrt(0.003),
            "ε이 0.001이 아니라 0.00001입니다.": x + 0.5 - 1 / np.sqrt(0.00301),
            "ε을 제곱근 밖에서 더했습니다.": x + 0.5 - 1 / (np.sqrt(0.003) + 0.001),
        },
    )
    rng = np.random.default_rng(502)
    cases = {  # Block → stride, channels of the input, shapes of the input.
        "block1a": (1, 32, [(2, 4, 4), (1, 5, 3)]),
        "block2a": (2, 16, [(2, 6, 6), (1, 4, 8)]),
        "block2b": (1, 24, [(3, 4, 4), (1, 3, 5)]),
        "block3a": (2, 24, [(2, 8, 8), (1, 4, 2)]),
        "block5a": (1, 80, [(2, 3, 3)]),
    }
    about = {
        "block1a": "넓히지 않는 블록",
        "block2a": "스트라이드 2",
        "block2b": "지름길이 있는 블록",
        "block3a": "5×5 커널, 스트라이드 2",
        "block5a": "스트라이드는 1이지만 채널 수가 바뀌는 블록",
    }
    for name, (stride, channels, shapes) in cases.items():
        for shape in shapes:
            x = rng.normal(size=(*shape, channels)).astype(np.float32)
            case = f"{name}({about[name]}), 입력 {x.shape}"
            expected, block = _reference_block(name, x), _block_weights(name)
            mistakes = {}
            if stride == 1 and expected.shape == x.shape:
                mistakes["지름길(입력)을 더하지 않았습니다."] = expected - x
            with untouched(case, x, *(weight for part in block.values() for weight in part)):
                got = answer(x, block, stride)
            expect_close(got, expected, case, tol=1e-3, mistakes=mistakes)


@functools.lru_cache(maxsize=1)
def _efficientnet() -> keras.Model:
    """EfficientNetB0 without its head, every weight drawn so that no part of a block is an identity."""
    net = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(500)
    for name in ("block1a", "block2a", "block2b", "block3a", "block3b", "block5a"):
        for layer in net.layers:
            if layer.name.startswith(f"{name}_"):
                for weight in layer.weights:
                    fan = max(1, int(np.prod(weight.shape[:-1])))
                    if (
                        weight.path.endswith("depthwise_kernel")
                        or "/kernel" in weight.path
                        and "dw" in weight.path
                    ):
                        fan = int(np.prod(weight.shape[:2]))
                    value = rng.normal(size=weight.shape) * np.sqrt(2 / fan)
                    if isinstance(layer, BN):
                        value = rng.normal(size=weight.shape) * 0.5
                        if weight.path.endswith(("gamma", "moving_variance")):
                            value = rng.uniform(0.5, 2.0, size=weight.shape)
                    weight.assign(value)
    return net


def _layer(name: str):
    return _efficientnet().get_layer(name)


def _se_weights(name: str) -> list[np.ndarray]:
    return [w for part in ("reduce", "expand") for w in _layer(f"{name}_se_{part}").get_weights()]


def _block_weights(name: str) -> dict[str, tuple]:
    """Return fresh copies of a block's weights in the form that the text gives them."""
    parts = {"depthwise": (f"{name}_dwconv", f"{name}_bn")}
    parts["project"] = (f"{name}_project_conv", f"{name}_project_bn")
    if name != "block1a":
        parts = {"expand": (f"{name}_expand_conv", f"{name}_expand_bn"), **parts}
    weights = {
        key: tuple(w for part in pair for w in _layer(part).get_weights()) for key, pair in parts.items()
    }
    return {**weights, "se": tuple(np.squeeze(w, (0, 1)) if w.ndim == 4 else w for w in _se_weights(name))}


def _reference_block(name: str, x) -> np.ndarray:
    """Run Keras' own layers of a block in their order; no weights are touched by hand."""
    inside = [layer for layer in _efficientnet().layers if layer.name.startswith(f"{name}_")]
    h, before_gate = tf.constant(x), None
    for layer in inside:
        if isinstance(layer, layers.GlobalAveragePooling2D):
            before_gate = h
        if isinstance(layer, layers.ZeroPadding2D):  # Its size was fixed for the size of the network.
            size, kernel = x.shape[1], _layer(f"{name}_dwconv").kernel_size[0]
            assert size % 2 == 0 and layer.padding == ((kernel // 2 - 1, kernel // 2),) * 2
        if isinstance(layer, layers.Add):
            h = layer([h, tf.constant(x)])
        elif isinstance(layer, layers.Multiply):
            h = layer([before_gate, h])
        else:
            h = layer(h, training=False) if isinstance(layer, BN | layers.Dropout) else layer(h)
    return np.asarray(h)


class _Shift(layers.Layer):
    """Stand in for augmentation: add 1 in training, nothing otherwise."""

    def call(self, x, training=False):
        return x + 1.0 if training else x


def _tiny(side: int | None = 6, channels: int = 3, seed: int = 7, name: str = "tiny") -> keras.Model:
    """A backbone of three blocks with drawn weights and statistics; the last one has 5 channels."""
    stack = [keras.Input((side, side, channels))]
    for k, filters in enumerate((3, 4, 5), start=1):
        stack.append(layers.Conv2D(filters, 3, padding="same", name=f"block{k}_conv"))
        stack.append(BN(momentum=0.5, name=f"block{k}_bn"))
        stack.append(layers.ReLU(name=f"block{k}_relu"))
    net = keras.Sequential(stack, name=name)  # At once: add would build the whole again each time.
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        layer.supports_jit = False  # Compiling with XLA would take longer than the training.
        layer.set_weights(
            [
                rng.uniform(0.5, 1.5, w.shape) if w.path.endswith(("gamma", "variance")) else _small(rng, w)
                for w in layer.weights
            ]
        )
    return net


def _small(rng: np.random.Generator, weight) -> np.ndarray:
    return 0.4 * rng.normal(size=weight.shape)


def _same(before: list, after: list) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@problem("백본 위의 분류기", minutes=10)
def build_classifier(answer):
    """A frozen backbone with a head of logits, on backbones of several shapes."""
    rng = np.random.default_rng(503)
    for case, (side, channels, classes, rate) in {
        "예시": (6, 3, 4, 0.5),
        "크기가 정해지지 않은 백본": (None, 3, 2, 0.9),
        "채널이 하나인 입력": (5, 1, 7, 0.25),
    }.items():
        backbone = _tiny(side, channels)
        start = backbone.get_weights()
        model = answer(backbone, classes, _Shift(), rate)
        expect_type(model, keras.Model, case)
        kinds = [(tuple(w.shape), w) for w in model.trainable_weights]
        expect(
            [shape for shape, _ in kinds] == [(5, classes), (classes,)],
            f"{case}: 학습되는 가중치는 헤드의 (5, {classes})와 ({classes},) 둘뿐이어야 하는데 "
            f"{[shape for shape, _ in kinds]}입니다. 5는 백본이 내는 채널 수입니다.",
        )
        kernel, bias = (w for _, w in kinds)
        expect(
            any(w is backbone.weights[0] for w in model.weights),
            f"{case}: 모델이 받은 백본을 쓰지 않습니다.",
        )
        expect(_same(start, backbone.get_weights()), f"{case}: 백본의 가중치가 바뀌었습니다.")
        kernel.assign(rng.normal(size=kernel.shape))
        bias.assign(rng.normal(size=bias.shape))
        x = rng.normal(size=(3, 6 if side is None else side, side or 4, channels)).astype(np.float32)
        maps = np.asarray(backbone(x, training=False))
        logits = maps.mean((1, 2)) @ np.asarray(kernel) + np.asarray(bias)
        augmented = np.asarray(backbone(x + 1.0, training=False)).mean((1, 2))
        mistakes = {
            "증강이 추론할 때도 걸립니다.": augmented @ np.asarray(kernel) + np.asarray(bias),
            "소프트맥스를 씌웠습니다. 로짓을 돌려주어야 합니다.": softmax(logits, axis=1),
            "전역 평균 대신 최댓값을 썼습니다.": maps.max((1, 2)) @ np.asarray(kernel) + np.asarray(bias),
        }
        expect_close(model(x), logits, f"{case}, 추론", tol=1e-4, mistakes=mistakes)

        rows = np.repeat(x[:1], 3000, axis=0)
        out = np.asarray(model(rows, training=True))
        expect(
            out.std(axis=0).max() > 1e-3,
            f"{case}: 학습 모드에서 같은 입력을 넣으면 출력이 모두 같습니다. 드롭아웃이 없습니다.",
        )
        shifted = np.asarray(backbone(x[:1] + 1.0, training=False)).mean((1, 2))  # (1, 5)
        spread = np.sqrt(rate / (1 - rate) * (shifted**2) @ np.square(kernel))[0]
        middle = (shifted @ np.asarray(kernel) + np.asarray(bias))[0]
        expect(
            np.all(np.abs(out.mean(axis=0) - middle) < 6 * spread / np.sqrt(len(rows)) + 1e-4),
            f"{case}: 학습 모드의 출력이 다릅니다. 증강은 백본 앞에서 학습할 때만 걸리고, 배치 정규화는 "
            "이동 통계를 써야 합니다.",
        )
        expect(
            np.allclose(out.std(axis=0), spread, rtol=0.25, atol=1e-4),
            f"{case}: 드롭아웃의 비율이 {rate}가 아니거나 자리가 다릅니다. 헤드 바로 앞에 두세요.",
        )
        expect(
            _same(start, backbone.get_weights()),
            f"{case}: 학습 모드로 부르자 백본의 이동 통계가 바뀌었습니다.",
        )


@problem("뒤쪽 블록만 풀기", minutes=10)
def unfreeze_top(answer):
    """Exactly the named layers become trainable, never a batch normalization."""
    example = keras.Sequential([keras.Input((8, 8, 3))])
    for k, (filters, size) in enumerate([(4, 3), (5, 1)], start=1):
        example.add(layers.Conv2D(filters, size, name=f"block{k}_conv"))
        example.add(BN(name=f"block{k}_bn"))
    for prefixes in (("block2",), ("block1", "block2"), ()):
        _unfrozen(answer, example, prefixes, f"예시, {prefixes}")
    backbone = _tiny()
    backbone.trainable = False
    _unfrozen(answer, backbone, ("block3",), "모두 얼려 있는 백본")
    _unfrozen(answer, backbone, ("block2", "block3"), "이름 둘")
    _unfrozen(answer, backbone, ("block1",), "앞서 푼 층을 다시 얼려야 하는 호출")
    _unfrozen(answer, backbone, (), "아무것도 풀지 않음")
    _unfrozen(answer, backbone, ("",), "모든 이름의 앞부분인 빈 문자열")
    free = _tiny()
    _unfrozen(answer, free, ("block2_conv",), "처음에 모두 풀려 있는 백본")
    names = keras.Sequential([keras.Input((4, 4, 2))])
    for name in ("stem_block7", "block7_conv", "top_conv"):
        names.add(layers.Conv2D(2, 1, name=name))
    names.add(BN(name="block7_norm"))
    _unfrozen(answer, names, ("block7", "top"), "이름의 가운데에만 block7이 든 층이 있는 백본")
    net = _efficientnet()
    _unfrozen(answer, net, ("block7", "top"), "EfficientNetB0")
    net.trainable = True


def _unfrozen(answer: Callable, backbone, prefixes: tuple, case: str) -> None:
    before = backbone.get_weights()
    got = answer(backbone, prefixes)
    weights = {w.path: (layer, w) for layer in backbone.layers for w in layer.weights}
    expected = (
        [
            path
            for path, (layer, _) in weights.items()
            if layer.name.startswith(prefixes)
            and not isinstance(layer, BN)
            and "seed" not in path
            and not isinstance(layer, layers.Normalization)
        ]
        if prefixes
        else []
    )
    head = keras.Sequential([keras.Input(backbone.input_shape[1:]), backbone])
    real = [w.path for w in head.trainable_weights]
    norms = [path for path in real if isinstance(weights[path][0], BN)]
    expect(not norms, f"{case}: 배치 정규화 층 {weights[norms[0]][0].name}이 풀려 있습니다." if norms else "")
    extra, missing = sorted(set(real) - set(expected)), sorted(set(expected) - set(real))
    expect(not extra, f"{case}: 얼려야 할 가중치 {extra[:2]}가 학습됩니다.")
    expect(not missing, f"{case}: 풀어야 할 가중치 {missing[:2]}가 얼어 있습니다.")
    count = sum(int(np.prod(weights[path][1].shape)) for path in expected)
    expect_close(got, count, f"{case}: 백본에서 학습되는 파라미터의 수", tol=0)
    expect(_same(before, backbone.get_weights()), f"{case}: 가중치의 값이 바뀌었습니다.")


@problem("두 단계 학습", minutes=15, seconds=TRAINING_SECONDS)
def fit_two_stages(answer):
    """Stage one moves the head only, stage two the named layers too, at its own rate."""
    x, y = _pictures()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(12)
    other = tf.data.Dataset.from_tensor_slices((x[:8] + 1, y[:8])).batch(8)
    runs = {"1단계만 (에포크 1, 0)": ("block3",), "두 단계 (에포크 1, 2)": ("block2", "block3")}
    plans = [(1, 0), (1, 2)]
    for (case, prefixes), epochs in zip(runs.items(), plans, strict=True):
        backbone = _tiny(seed=11)
        model = _head(backbone)
        start = {w.path: w.numpy() for w in model.weights}
        first, swapped, probabilities = _untrained()
        backbone.trainable = epochs[1] == 0  # Whatever was frozen before must not matter.
        rates = (0.02, 0.004)
        if epochs[1]:
            schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.004, 0.002])
            rates = (0.02, schedule)
        try:
            with eagerly():
                got = answer(model, backbone, batches, other, prefixes, epochs, rates)
        except ValueError as error:
            if "Unknown variable" not in str(error):
                raise
            raise Mismatch(
                f"{case}: 컴파일할 때 얼어 있던 가중치를 옵티마이저가 모릅니다. "
                "블록을 푼 다음에 compile을 다시 부르세요."
            ) from None
        got = expect_parts(got, ("1단계", "2단계"), case)
        for stage, (history, count) in enumerate(zip(got, epochs, strict=True), start=1):
            label = f"{case}: {stage}단계의 기록"
            expect_type(history, dict, label)
            for key in ("loss", "accuracy", "val_loss", "val_accuracy") if count else ():
                expect(key in history, f"{label}에 {key}가 없습니다. 있는 것은 {list(history)}입니다.")
                expect(
                    len(history[key]) == count,
                    f"{label}: {key}의 길이가 에포크 수 {count}이어야 하는데 {len(history[key])}입니다.",
                )
        moved = {w.path: not np.array_equal(w.numpy(), start[w.path]) for w in model.weights}
        tuned = prefixes if epochs[1] else ()
        for layer in [*backbone.layers, model.layers[-1]]:
            inside = layer in backbone.layers
            wanted = not inside or (
                bool(tuned) and layer.name.startswith(tuned) and not isinstance(layer, BN)
            )
            for weight in layer.weights:
                text = "움직여야 하는데 그대로입니다" if wanted else "그대로여야 하는데 바뀌었습니다"
                expect(moved[weight.path] == wanted, f"{case}: {layer.name}의 {weight.name}이(가) {text}.")
        expect_close(
            got[0]["loss"][0],
            first,
            f"{case}: 첫 에포크의 손실",
            tol=1e-3,
            mistakes={
                "모델은 로짓을 냅니다. from_logits=True를 주었는지 보세요.": probabilities,
                "train이 아니라 val로 배웠습니다.": swapped,
            },
        )
        if epochs[1]:
            expect_close(
                got[1]["val_loss"][-1],
                _entropy(model, x[:8] + 1, y[:8]),
                f"{case}: 마지막 검증 손실",
                tol=1e-3,
                mistakes=lambda model=model: {"val이 아니라 train으로 검증했습니다.": _entropy(model, x, y)},
            )
            rate, wanted = float(model.optimizer.learning_rate), float(rates[1](epochs[1]))
            expect(
                abs(rate - wanted) < 1e-6,
                f"{case}: 스케줄을 받은 2단계의 학습률이 {epochs[1]}걸음 뒤에 {wanted:.4g}이어야 하는데 {rate:.4g}입니다.",
            )
            expect(
                int(model.optimizer.iterations) == epochs[1],
                f"{case}: 2단계는 새 옵티마이저로 시작해야 합니다. 걸음 수가 {epochs[1]}이어야 하는데 "
                f"{int(model.optimizer.iterations)}입니다.",
            )
        expect_type(model.optimizer, keras.optimizers.Adam, f"{case}: 옵티마이저")
        if not epochs[1]:  # Adam's first step is as long as its rate.
            step = np.abs(model.layers[-1].bias.numpy() - start[model.layers[-1].bias.path]).max()
            expect(
                abs(step - rates[0]) < 0.02 * rates[0],
                f"1단계의 학습률이 {rates[0]}이어야 하는데 첫 걸음의 길이가 {step:.4g}입니다.",
            )


def _head(backbone, classes: int = 3) -> keras.Model:
    inputs = keras.Input(backbone.input_shape[1:])
    h = layers.GlobalAveragePooling2D()(backbone(inputs))
    head = layers.Dense(classes, name="head")
    model = keras.Model(inputs, head(h))
    rng = np.random.default_rng(12)
    head.set_weights([rng.normal(size=w.shape) for w in head.weights])
    return model


def _entropy(model, x, y) -> float:
    """Cross-entropy of the logits at inference."""
    return -log_softmax(np.asarray(model(x, training=False)), axis=1)[np.arange(len(y)), y].mean()


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(505)
    return rng.normal(size=(12, 6, 6, 3)).astype(np.float32), rng.integers(0, 3, 12)


@functools.cache
def _untrained() -> tuple[float, float, float]:
    """Return what a model that has learnt nothing loses on train, on val, and on train were its logits probabilities."""
    (x, y), model = _pictures(), _head(_tiny(seed=11))
    wrong = keras.losses.SparseCategoricalCrossentropy()(y, model(x))
    return _entropy(model, x, y), _entropy(model, x[:8] + 1, y[:8]), float(wrong)


@problem("무엇을 틀렸는가", minutes=10)
def diagnose(answer):
    """Confusion, recall and order of the mistakes against scikit-learn and SciPy."""
    logits = np.array([[2, 0, 0], [0, 3, 0], [1, 0, 0], [0, 0, 4], [0, 5, 0]], np.float32)
    labels = np.array([0, 0, 1, 2, 2])
    _diagnosed(answer, logits, labels, 3, "예시")
    rng = np.random.default_rng(506)
    for case, (n, k, top, shift, scale) in {
        "(60, 5)": (60, 5, 6, 0.0, 2.0),
        "샘플이 하나 (1, 4)": (1, 4, 3, 0.0, 1.0),
        "모두 1000이 더해진 로짓 (40, 3)": (40, 3, 10, 1000.0, 1.0),
        "음수인 로짓, 두 클래스 (30, 2)": (30, 2, 5, -50.0, 1.0),
        "틀린 것보다 큰 top (12, 3)": (12, 3, 50, 0.0, 3.0),
    }.items():
        logits = (rng.normal(size=(n, k)) * scale).astype(np.float32) + np.float32(shift)
        _diagnosed(answer, logits, rng.integers(0, k, n), top, case)
    logits = (rng.normal(size=(20, 4)) * 2).astype(np.float32)
    _diagnosed(answer, logits, rng.integers(0, 2, 20), 4, "레이블에 없는 클래스가 있음 (20, 4)")
    _diagnosed(answer, logits, logits.argmax(1), 4, "틀린 것이 없음")


def _diagnosed(answer: Callable, logits, labels, top: int, case: str) -> None:
    classes = logits.shape[1]
    with untouched(case, logits, labels):
        got = expect_parts(answer(logits, labels, top), ("혼동 행렬", "재현율", "번호"), case)
    guess = logits.argmax(1)
    matrix = confusion_matrix(labels, guess, labels=range(classes))
    expect_close(
        expect_integers(got[0], f"{case}: 혼동 행렬"),
        matrix,
        f"{case}: 혼동 행렬",
        tol=0,
        mistakes={"행이 정답, 열이 예측입니다. 뒤집혔습니다.": matrix.T},
    )
    recall = recall_score(labels, guess, labels=range(classes), average=None, zero_division=0)
    columns = np.diag(matrix) / np.maximum(matrix.sum(0), 1)
    expect_close(
        got[1],
        recall,
        f"{case}: 재현율",
        mistakes={
            "열의 합으로 나누었습니다. 그것은 정밀도입니다.": columns,
            "전체 수로 나누었습니다.": np.diag(matrix) / len(labels),
        },
    )
    sure = softmax(logits.astype(float), axis=1).max(axis=1)
    wrong = np.flatnonzero(guess != labels)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:top]
    chosen = expect_array(got[2], f"{case}: 번호")
    expect(
        chosen.shape == order.shape,
        f"{case}: 번호는 {len(order)}개여야 하는데 모양이 {chosen.shape}입니다. 틀린 것만, 많아야 top개입니다.",
    )
    expect_close(
        chosen,
        order,
        f"{case}: 자신 있게 틀린 번호",
        tol=0,
        mistakes={
            "자신 없는 것부터 늘어놓았습니다.": wrong[np.argsort(sure[wrong], kind="stable")][:top],
            "확률이 아니라 로짓의 크기로 늘어놓았습니다.": wrong[
                np.argsort(-logits[wrong].max(1), kind="stable")
            ][:top],
        },
    )


@problem("꽃 사진 분류", minutes=10, seconds=TRAINING_SECONDS)
def predict_flowers(answer):
    """Accuracy on flowers that no loader returns, in files whose names do not tell the class.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``.
    """
    hint = "에포크 수, 학습률, 푸는 블록을 바꾸어 보세요."
    with unseen.flowers() as (paths, labels):
        expect_accuracy(answer, paths, labels, TARGET, "처음 보는 꽃", hint)
