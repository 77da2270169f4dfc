"""Checks of practice 5.1: the parts of a small residual network, its training, its accuracy and its errors."""

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.preprocessing import StandardScaler

from tf_study import data
from tf_study.practice import (
    expect,
    expect_close,
    expect_model,
    expect_parts,
    expect_returned,
    expect_type,
    problem,
)
from tf_study.profile import pick

keras = tf.keras
layers = keras.layers
MARK = 2.5  # What the recording augmentation writes into a pixel.


@problem("채널별 표준화", minutes=5)
def standardize(answer):
    """Standardise by the channels of the reference, against scikit-learn's StandardScaler."""
    rng = np.random.default_rng(501)
    example = np.array([[[[0, 10]]], [[[4, 30]]]], np.uint8)
    pictures = rng.integers(0, 256, (12, 6, 5, 3)) * [1.0, 0.4, 0.1]
    cases = {
        "예시": (example, example),
        "uint8 사진": (pictures[:4].astype(np.uint8), pictures[4:].astype(np.uint8)),
        "예시의 새 사진": (np.array([[[[6, 20]]]], np.uint8), example),
        "한 장": (pictures[:1].astype(np.uint8), pictures[1:].astype(np.uint8)),
        "크기가 다른 사진": (rng.integers(0, 256, (2, 9, 4, 3)).astype(np.uint8), pictures.astype(np.uint8)),
        "음수가 섞인 실수 사진": ((pictures[:3] - 90) / 7, pictures[3:] / 7),
        "흑백 사진": (pictures[:3, ..., :1].astype(np.uint8), pictures[3:, ..., :1].astype(np.uint8)),
    }
    for case, (x, reference) in cases.items():
        given, kept = x.copy(), reference.copy()
        got = answer(given, kept)
        expect(
            np.array_equal(given, x) and np.array_equal(kept, reference),
            f"{case}: 받은 사진을 바꾸었습니다.",
        )
        C = x.shape[-1]
        rows, known = x.reshape(-1, C).astype(float), reference.reshape(-1, C).astype(float)
        expected = StandardScaler().fit(known).transform(rows).reshape(x.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            mistakes = {
                "채널을 나누지 않고 통계를 하나만 구했습니다.": (x - known.mean()) / known.std(),
                "바꿀 사진의 통계를 썼습니다.": (x - rows.mean(0)) / rows.std(0),
                "평균을 빼지 않았습니다.": x / known.std(0),
                "표준편차로 나누지 않았습니다.": x - known.mean(0),
                "표준편차가 아니라 분산으로 나누었습니다.": (x - known.mean(0)) / known.var(0),
                "N - 1로 나눈 표준편차를 썼습니다.": (x - known.mean(0)) / known.std(0, ddof=1),
                "255로 나누기만 했습니다.": x / 255,
            }
        expect_close(got, expected, case, tol=1e-5, dtype="float32", mistakes=mistakes)


@problem("만들기 전에 세기", minutes=10)
def count_cost(answer):
    """Parameters and multiply-accumulates against a model that Keras builds from the plan."""
    conv, bn, relu, gap = "conv", ("bn",), ("relu",), ("gap",)
    cases = {
        "예시": (
            [
                (conv, 16, 3, 1, False),
                bn,
                relu,
                ("pool", 2),
                (conv, 32, 3, 2, True),
                gap,
                ("dense", 10),
            ],
            (32, 32, 3),
        ),
        "합성곱 하나": ([(conv, 7, 5, 1, True)], (9, 11, 2)),
        "홀수 크기와 스트라이드 2": ([(conv, 4, 3, 2, False), bn, (conv, 6, 3, 2, True)], (13, 7, 3)),
        "남는 줄을 버리는 풀링": ([(conv, 4, 3, 1, True), ("pool", 3), (conv, 5, 2, 1, False)], (11, 14, 1)),
        "1×1 합성곱과 스트라이드 3": ([(conv, 8, 1, 3, False), relu, (conv, 3, 1, 1, True)], (10, 20, 5)),
        "Dense 둘": ([(conv, 6, 3, 1, True), gap, ("dense", 5), relu, ("dense", 3)], (8, 8, 3)),
        "합성곱이 없는 신경망": ([bn, gap, ("dense", 4)], (6, 5, 3)),
    }
    for case, (plan, shape) in cases.items():
        got = expect_parts(answer(list(plan), shape), ("파라미터", "MAC"), case)
        wanted = _keras_cost(plan, shape)
        for name, value, expected in zip(("파라미터", "MAC"), got, wanted, strict=True):
            expect(
                isinstance(value, int | np.integer) and not isinstance(value, bool),
                f"{case}: {name}의 수는 정수여야 하는데 {type(value).__name__}입니다.",
            )
            expect(
                value == expected,
                f"{case}: {name}의 수가 다릅니다. 기대한 값은 {expected:,}, 나온 값은 {value:,}입니다.",
            )


@problem("잔차 블록", minutes=15)
def residual_block(answer):
    """The block against tf.nn operations that use the block's own weights."""
    cases = {
        "예시의 항등 지름길": ((32, 32, 16), 16, 1),
        "예시의 사영 지름길": ((32, 32, 16), 32, 2),
        "채널만 바뀌는 (5, 7, 3)": ((5, 7, 3), 6, 1),
        "채널은 같고 스트라이드만 2인 홀수 크기": ((9, 7, 5), 5, 2),
        "스트라이드 3으로 채널이 줄어드는 블록": ((10, 8, 6), 4, 3),
    }
    for index, (case, (shape, filters, stride)) in enumerate(cases.items()):
        inputs = keras.Input(shape)
        output = answer(inputs, filters, stride)
        expect_returned(output, case)
        expect(
            isinstance(output, keras.KerasTensor),
            f"{case}: Keras 텐서가 나와야 하는데 {type(output).__name__}입니다.",
        )
        size = tuple(-(-side // stride) for side in shape[:2])
        expect(
            tuple(output.shape) == (None, *size, filters),
            f"{case}: 출력의 모양이 {(None, *size, filters)}여야 하는데 {tuple(output.shape)}입니다.",
        )
        model = keras.Model(inputs, output)
        parts = _block_parts(model, shape, filters, stride, case)
        rng = np.random.default_rng(510 + index)
        for variable in model.weights:
            spread = rng.uniform(0.5, 2.0, variable.shape)
            signed = spread * rng.choice([-1, 1], variable.shape)
            if variable.name == "moving_variance":
                variable.assign(spread)
            elif variable.name in ("gamma", "beta", "moving_mean"):
                variable.assign(signed)
        x = tf.constant(rng.normal(size=(4, *shape)), tf.float32)
        expect_close(
            model(x, training=False),
            _block(parts, x, stride, training=False),
            f"{case}, 추론",
            tol=1e-4,
            mistakes={
                "더한 뒤의 ReLU가 없습니다.": _block(parts, x, stride, False, last=False),
                "더하기 전의 가지에 ReLU가 있습니다.": _block(parts, x, stride, False, early=True),
                "두 합성곱 사이의 ReLU가 없습니다.": _block(parts, x, stride, False, middle=False),
                "지름길을 더하지 않았습니다.": _block(parts, x, stride, False, skip=False),
            },
        )
        means = [norm.moving_mean.numpy() for norm in parts.norms]
        with tf.GradientTape() as tape:
            got = model(x, training=True)
            loss = tf.reduce_sum(got * tf.constant(rng.normal(size=got.shape), tf.float32))
        expect_close(got, _block(parts, x, stride, training=True), f"{case}, 훈련", tol=1e-3)
        for variable, gradient in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        ):
            expect(
                gradient is not None and float(tf.reduce_max(tf.abs(gradient))) > 0,
                f"{case}: 손실의 기울기가 가중치 {variable.name} {tuple(variable.shape)}에 닿지 않습니다.",
            )
        expect(
            all(not np.allclose(norm.moving_mean, old) for norm, old in zip(parts.norms, means, strict=True)),
            f"{case}: 훈련 방식으로 불러도 배치 정규화의 이동 평균이 바뀌지 않습니다.",
        )


@problem("신경망 조립", minutes=10)
def build_network(answer):
    """Kernels, strides, head and parameter count of the assembled network."""
    cases = {
        "예시": ((32, 32, 3), (16, 32), 10),
        "블록 셋과 흑백 사진": ((20, 24, 1), (4, 8, 8, 12), 7),
        "홀수 크기": ((11, 7, 2), (5, 3, 6), 3),
        "블록이 없는 신경망": ((8, 8, 3), (6,), 4),
    }
    for index, (case, (shape, widths, classes)) in enumerate(cases.items()):
        model = answer(shape, widths, classes)
        expect_model(model, shape, case)
        expect(
            tuple(model.output_shape) == (None, classes),
            f"{case}: 출력의 모양이 {(None, classes)}이어야 하는데 {model.output_shape}입니다.",
        )
        wanted = Counter({((3, 3, shape[-1], widths[0]), (1, 1)): 1})
        for narrow, wide in zip(widths, widths[1:], strict=False):
            wanted.update(
                [
                    ((3, 3, narrow, wide), (2, 2)),
                    ((3, 3, wide, wide), (1, 1)),
                    ((1, 1, narrow, wide), (2, 2)),
                ]
            )
        found = Counter((tuple(c.kernel.shape), tuple(c.strides)) for c in _all(model, layers.Conv2D))
        for (kernel, strides), _ in (found - wanted).items():
            expect(False, f"{case}: 커널 {kernel}, 스트라이드 {strides[0]}인 합성곱이 더 있습니다.")
        for (kernel, strides), _ in (wanted - found).items():
            expect(False, f"{case}: 커널 {kernel}, 스트라이드 {strides[0]}인 합성곱이 모자랍니다.")
        norms = sum(4 * kernel[-1] * count for (kernel, _), count in wanted.items())
        total = sum(int(np.prod(kernel)) * count for (kernel, _), count in wanted.items()) + norms
        total += (widths[-1] + 1) * classes
        expect(
            model.count_params() == total,
            f"{case}: 파라미터가 {total:,}개여야 하는데 {model.count_params():,}개입니다.",
        )
        poolings = _all(model, layers.GlobalAveragePooling2D)
        heads = _all(model, layers.Dense)
        expect(
            len(poolings) == 1 and len(heads) == 1,
            f"{case}: GlobalAveragePooling2D와 Dense가 하나씩 있어야 하는데 {len(poolings)}개와 {len(heads)}개입니다.",
        )
        rng = np.random.default_rng(520 + index)
        for variable in model.weights:
            if variable.name in ("gamma", "beta", "moving_mean"):
                variable.assign(rng.uniform(0.3, 1.5, variable.shape) * rng.choice([-1, 1], variable.shape))
        x = tf.constant(rng.normal(size=(3, *shape)), tf.float32)
        probe = keras.Model(model.input, [poolings[0].input, heads[0].input, model.output])
        maps, features, logits = (np.array(part) for part in probe(x, training=False))
        size = shape[:2]
        for _ in widths[1:]:
            size = tuple(-(-side // 2) for side in size)
        expect(
            maps.shape[1:] == (*size, widths[-1]),
            f"{case}: 전역 평균 풀링의 입력이 {(*size, widths[-1])}여야 하는데 {maps.shape[1:]}입니다.",
        )
        expect(maps.min() >= 0, f"{case}: 전역 평균 풀링의 입력에 음수가 있습니다. 마지막 ReLU를 보세요.")
        expect_close(features, maps.mean(axis=(1, 2)), f"{case}, Dense의 입력", tol=1e-4)
        linear = features @ heads[0].kernel.numpy() + heads[0].bias.numpy()
        shifted = np.exp(linear - linear.max(axis=1, keepdims=True))
        expect_close(
            logits,
            linear,
            f"{case}, 로짓",
            tol=1e-4,
            mistakes={
                "끝에 소프트맥스가 있습니다. 로짓을 내보내야 합니다.": shifted
                / shifted.sum(axis=1, keepdims=True),
                "끝에 ReLU가 있습니다.": np.maximum(linear, 0),
                "끝에 시그모이드가 있습니다.": 1 / (1 + np.exp(-linear)),
            },
        )
        relus = _all(model, layers.ReLU | layers.Activation)
        expect(
            len(relus) >= 2 * len(widths) - 1,
            f"{case}: ReLU가 {2 * len(widths) - 1}번 있어야 하는데 {len(relus)}번입니다. 첫 합성곱 뒤에도 있어야 합니다.",
        )


@problem("뒤집기와 옮겨 자르기", minutes=10)
def augment(answer):
    """Every picture must be one of its crops or mirrored crops, drawn independently and evenly."""
    rng = np.random.default_rng(530)
    cases = {
        "예시, shift = 0": (np.array([[[[1.0], [2.0]]]], np.float32), 0),
        "예시, shift = 1": (np.array([[[[1.0], [2.0]]]], np.float32), 1),
        "옮기지 않는 5×4": (rng.normal(size=(2, 5, 4, 3)).astype(np.float32), 0),
        "4×6, shift = 1": (rng.normal(size=(3, 4, 6, 2)).astype(np.float32), 1),
        "7×3, shift = 2": (rng.normal(size=(1, 7, 3, 1)).astype(np.float32), 2),
    }
    for case, (pictures, shift) in cases.items():
        choices = 2 * (2 * shift + 1) ** 2
        repeats = 60 * choices
        x = np.repeat(pictures, repeats, axis=0)
        got = answer(tf.constant(x), shift)
        _expect_pictures(got, x.shape, case)
        got = np.asarray(got).reshape(len(pictures), repeats, *pictures.shape[1:])
        for picture, many in zip(pictures, got, strict=True):
            seen = _which_crop(picture, many, shift, case)
            if picture.size < 6:
                continue  # Crops of so small a picture coincide.
            counts = np.bincount(seen, minlength=choices)
            expect(
                counts.min() > 0,
                f"{case}: {repeats}번 뽑는 동안 (세로, 가로, 뒤집기) {choices}가지 가운데 "
                f"{np.sum(counts == 0)}가지가 한 번도 나오지 않았습니다.",
            )
            expect(
                abs(counts.reshape(2, -1).sum(axis=1)[1] / repeats - 0.5) < 0.15,
                f"{case}: 뒤집은 비율이 {counts.reshape(2, -1).sum(axis=1)[1] / repeats:.2f}입니다. 절반이어야 합니다.",
            )
            expect(
                counts.max() < 60 * 2 and counts.min() > 60 / 3,
                f"{case}: 나온 횟수가 {counts.min()}번에서 {counts.max()}번까지 고르지 않습니다. "
                "모든 경우가 60번쯤이어야 합니다.",
            )
    x = tf.constant(rng.normal(size=(40, 5, 4, 3)), tf.float32)
    expect(
        not np.array_equal(answer(x, 1), answer(x, 1)),
        "두 번 불러도 같은 변환이 나옵니다. 함수 안에서 시드를 고정하지 마세요.",
    )
    case = "map 안에서 배치 크기가 다른 5×4"
    pictures = rng.normal(size=(10, 5, 4, 3)).astype(np.float32)
    # One iterator over eight rounds: with a global seed, a new iterator would draw the same numbers again.
    batches = tf.data.Dataset.from_tensor_slices(pictures).batch(4).repeat(8).map(lambda x: answer(x, 1))
    spec = batches.element_spec
    expect(
        isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4 and spec.shape[-1] == 3,
        f"{case}: 정적 모양이 (None, 5, 4, 3)이어야 하는데 {getattr(spec, 'shape', spec)}입니다.",
    )
    rounds = []
    drawn_parts = [part.numpy() for part in batches]
    for start in range(0, len(drawn_parts), 3):
        parts = drawn_parts[start : start + 3]
        for part, size in zip(parts, (4, 4, 2), strict=True):
            _expect_pictures(part, (size, 5, 4, 3), case)
        rounds.append(np.concatenate(parts))
    drawn = np.array(
        [
            [
                _which_crop(picture, one[None], 1, case)[0]
                for picture, one in zip(pictures, epoch, strict=True)
            ]
            for epoch in rounds
        ]
    )
    expect(len({tuple(row) for row in drawn}) > 1, f"{case}: 에포크마다 같은 변환이 되풀이됩니다.")
    expect(
        any(len(set(row)) > 2 for row in drawn), f"{case}: 사진마다 따로 뽑지 않고 배치 전체를 같이 바꿉니다."
    )


@problem("훈련", minutes=15)
def train(answer):
    """Two tiny trainings whose inputs, order, schedule and history are recorded."""
    cases = {"예시의 걸음 수": (20, 7, 8, 10, 0.02), "나누어떨어지는 배치": (24, 5, 6, 5, 0.05)}
    for index, (case, (count, held, batch_size, epochs, peak)) in enumerate(cases.items()):
        rng = np.random.default_rng(540 + index)
        pictures = rng.normal(scale=0.2, size=(count + held, 4, 4, 2)).astype(np.float32)
        labels = rng.permutation(np.arange(count + held) % 2).astype(np.int32)
        pictures[..., 0] += np.where(labels, 0.2, -0.2)[:, None, None]
        pictures[:, 0, 0, 1] = np.arange(count + held) / 1000  # The number of the picture.
        labels = np.where(rng.random(count + held) < 0.25, 1 - labels, labels).astype(np.int32)
        spy, augmented = Spy(), []
        model = keras.Sequential([keras.Input((4, 4, 2)), spy, layers.Flatten(), layers.Dense(2)])
        model.set_weights([rng.normal(scale=0.1, size=(32, 2)), np.array([0.4, 0.6])])

        def mark(x, augmented=augmented):
            def record(part):
                augmented.append(_numbers(part))
                part = part.copy()
                part[:, 0, 1, 1] = MARK  # Seen by the model, so that the result was used.
                return part

            marked = tf.numpy_function(record, [x], tf.float32)
            marked.set_shape(x.shape)
            return marked

        halves = (pictures[:count], labels[:count]), (pictures[count:], labels[count:])
        history = answer(model, mark, *halves, epochs, batch_size, peak)
        expect_type(history, dict, case)
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            expect(
                name in history and len(history[name]) == epochs,
                f"{case}: 기록에 길이가 {epochs}인 {name!r}가 있어야 합니다. 있는 것은 {sorted(history)}입니다.",
            )
        steps = epochs * -(-count // batch_size)
        done = int(model.optimizer.iterations.numpy())
        expect(done == steps, f"{case}: 걸음 수가 다릅니다. 기대한 값은 {steps}, 나온 값은 {done}입니다.")
        _check_pictures(spy, augmented, count, held, batch_size, epochs, case)
        logits = pictures.reshape(len(pictures), -1) @ model.weights[0].numpy() + model.weights[1].numpy()
        wanted = -np.mean(log_softmax(logits[count:], axis=1)[np.arange(held), labels[count:]])
        expect_close(
            history["val_loss"][-1],
            wanted,
            f"{case}, 마지막 검증 손실",
            tol=1e-3,
            mistakes={
                "로짓을 확률로 여긴 손실입니다.": _as_probabilities(logits[count:], labels[count:]),
            },
        )
        accuracy = np.mean(logits[count:].argmax(axis=1) == labels[count:])
        expect_close(history["val_accuracy"][-1], accuracy, f"{case}, 마지막 검증 정확도", tol=1e-3)
        expect(
            isinstance(model.optimizer, keras.optimizers.Adam),
            f"{case}: 옵티마이저가 Adam이어야 하는데 {type(model.optimizer).__name__}입니다.",
        )
        _check_schedule(model.optimizer, steps, peak, case)


@problem("목표 정확도", minutes=5)
def classify(answer):
    """Accuracy on the test set, and the same label alone as in a batch.

    The target of the full profile is one that 10,000 training pictures reach; all 50,000 do better.
    """
    target = pick(small=0.85, full=0.65)
    (_, _), (pictures, labels) = data.cifar10()
    labels = labels.ravel()
    few = pictures[:12].copy()
    got = answer(few)
    expect_returned(got, "열두 장")
    expect(np.array_equal(few, pictures[:12]), "열두 장: 받은 사진을 바꾸었습니다.")
    got = np.asarray(got)
    expect(got.shape == (12,), f"열두 장: 결과의 모양이 (12,)여야 하는데 {got.shape}입니다.")
    expect(got.dtype.kind in "iu", f"열두 장: 클래스 번호는 정수여야 하는데 자료형이 {got.dtype}입니다.")
    expect(
        got.min() >= 0 and got.max() <= 9,
        f"열두 장: 클래스 번호는 0에서 9까지인데 {got.min()}에서 {got.max()}까지 나왔습니다.",
    )
    everything = np.asarray(answer(pictures))
    expect(
        everything.shape == labels.shape,
        f"테스트 세트: 결과의 모양이 {labels.shape}여야 하는데 {everything.shape}입니다.",
    )
    accuracy = float(np.mean(everything == labels))
    expect(
        accuracy >= target,
        f"테스트 세트: 정확도가 {accuracy:.3f}로 목표 {target:.2f}보다 낮습니다. 무작위 추측은 0.1입니다.",
    )
    alone = np.array([np.asarray(answer(picture[None]))[0] for picture in pictures[:12]])
    # Rounding may turn over a close call, hence one difference is allowed.
    expect(
        np.sum(alone != everything[:12]) <= 1,
        f"한 장씩: 열두 장 가운데 {np.sum(alone != everything[:12])}장의 답이 함께 넣을 때와 다릅니다. "
        "이웃 사진에 따라 달라지는 통계를 쓰지 않는지 보세요.",
    )


@problem("헷갈리는 클래스", minutes=10)
def confusion(answer):
    """Confusion matrix and recall against scikit-learn, and the largest entry off the diagonal."""
    rng = np.random.default_rng(560)
    y = rng.integers(0, 10, 300)
    noisy = np.where(rng.random(300) < 0.4, rng.integers(0, 10, 300), y)
    cases = {
        "예시": ([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 0, 2], 3),
        "10클래스": (y, noisy, 10),
        "모두 맞은 예측": ([0, 1, 2, 1], [0, 1, 2, 1], 3),
        "동점": ([2, 2, 0, 1, 1], [0, 1, 2, 2, 0], 3),
        "사진이 없는 클래스와 예측에 없는 클래스": ([0, 0, 3, 3, 3], [3, 3, 0, 3, 1], 5),
        "대각보다 틀린 칸이 많은 예측": ([0] * 6 + [1] * 4, [1] * 5 + [0] + [0] * 3 + [1], 2),
        "한 장": ([1], [0], 2),
    }
    for case, (labels, predictions, classes) in cases.items():
        labels, predictions = np.array(labels), np.array(predictions)
        given = labels.copy(), predictions.copy()
        names = ("혼동 행렬", "재현율", "짝")
        C, recall, worst = expect_parts(answer(*given, classes), names, case)
        kinds = range(classes)
        expected = confusion_matrix(labels, predictions, labels=kinds)
        expect_close(
            C,
            expected,
            f"{case}, 혼동 행렬",
            tol=0,
            mistakes={
                "정답과 예측의 축이 바뀌었습니다.": expected.T,
                "같은 칸에 여러 번 더할 때 한 번만 더해졌습니다.": np.minimum(expected, 1),
            },
        )
        expect(np.asarray(C).dtype.kind in "iu", f"{case}: 혼동 행렬은 정수 배열이어야 합니다.")
        precision = np.diag(expected) / np.maximum(expected.sum(axis=0), 1)
        expect_close(
            recall,
            recall_score(labels, predictions, labels=kinds, average=None, zero_division=0),
            f"{case}, 재현율",
            mistakes={
                "행이 아니라 열의 합으로 나누었습니다. 그것은 정밀도입니다.": precision,
                "전체 사진 수로 나누었습니다.": np.diag(expected) / len(labels),
            },
        )
        wrong = [(int(expected[k, l]), -k, -l) for k in kinds for l in kinds if k != l]  # noqa: E741
        most, k, l = max(wrong)  # noqa: E741
        if most == 0:
            expect(worst is None, f"{case}: 틀린 사진이 없으니 짝이 None이어야 하는데 {worst}입니다.")
            continue
        expect(
            isinstance(worst, tuple) and tuple(map(int, worst)) == (-k, -l),
            f"{case}: 가장 헷갈리는 짝이 다릅니다. 기대한 값은 {(-k, -l)}, 나온 값은 {worst}입니다.",
        )
        expect(
            np.array_equal(given[0], labels) and np.array_equal(given[1], predictions),
            f"{case}: 받은 배열을 바꾸었습니다.",
        )


class Spy(layers.Layer):
    """Passes pictures on and records their numbers, marks and whether the call was a training one."""

    def __init__(self):
        super().__init__()
        self.calls, self.lock, self.supports_jit = [], threading.Lock(), False

    def call(self, x, training=False):
        """Return ``x`` unchanged."""

        def record(part):
            with self.lock:
                self.calls.append((bool(training), _numbers(part), part[:, 0, 1, 1].copy()))
            return part

        seen = tf.numpy_function(record, [x], tf.float32)
        seen.set_shape(x.shape)
        return seen


def _keras_cost(plan, shape) -> tuple[int, int]:
    """Build the plan in Keras and count from the shapes of its kernels and outputs."""
    make: dict[str, Callable] = {
        "conv": lambda filters, K, S, bias: layers.Conv2D(filters, K, S, "same", use_bias=bias),
        "bn": layers.BatchNormalization,
        "relu": layers.ReLU,
        "pool": layers.MaxPooling2D,
        "gap": layers.GlobalAveragePooling2D,
        "dense": layers.Dense,
    }
    model = keras.Sequential([keras.Input(shape), *(make[kind](*options) for kind, *options in plan)])
    macs = sum(
        int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Dense)
    )
    return model.count_params(), macs


class _Parts:
    """The layers of a residual block, each convolution with the normalisation behind it."""

    def __init__(self, first, second, shortcut):
        self.first, self.second, self.shortcut = first, second, shortcut
        self.norms = [pair[1] for pair in (first, second, shortcut) if pair]


def _all(model, kind) -> list:
    """Return the layers of one kind, nested models included."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def _after_norm(model, layer):
    """Return the batch normalisation that reads the output of ``layer``, or ``None``."""
    norms = _all(model, layers.BatchNormalization)
    return next((norm for norm in norms if norm.input is layer.output), None)


def _block_parts(model, shape, filters, stride, case) -> _Parts:
    """Find the convolutions and normalisations of a block and check their kernels and strides."""
    convs = _all(model, layers.Conv2D)
    project = stride != 1 or shape[-1] != filters
    wanted = Counter([((3, 3, shape[-1], filters), stride), ((3, 3, filters, filters), 1)])
    if project:
        wanted[(1, 1, shape[-1], filters), stride] += 1
    found = Counter((tuple(conv.kernel.shape), conv.strides[0]) for conv in convs)
    expect(
        found == wanted,
        f"{case}: 합성곱의 (커널, 스트라이드)가 {sorted(wanted.elements())}여야 하는데 "
        f"{sorted(found.elements())}입니다.",
    )
    expect(
        not any(conv.use_bias for conv in convs),
        f"{case}: 편향이 있는 합성곱이 있습니다. 주어진 conv_bn을 쓰세요.",
    )
    pairs = [(conv, _after_norm(model, conv)) for conv in convs]
    expect(
        all(norm is not None for _, norm in pairs)
        and len(_all(model, layers.BatchNormalization)) == len(convs),
        f"{case}: 합성곱마다 바로 뒤에 배치 정규화가 하나씩 있어야 합니다.",
    )
    large = [pair for pair in pairs if pair[0].kernel.shape[0] == 3]
    small = next((pair for pair in pairs if pair[0].kernel.shape[0] == 1), None)
    first = next((pair for pair in large if pair[0].input is model.inputs[0]), None)
    expect(first is not None, f"{case}: 첫 3×3 합성곱이 블록의 입력을 받지 않습니다.")
    expect(
        small is None or small[0].input is model.inputs[0],
        f"{case}: 지름길의 1×1 합성곱이 블록의 입력을 받지 않습니다.",
    )
    second = next(pair for pair in large if pair is not first)
    return _Parts(first, second, small)


def _block(parts, x, stride, training, middle=True, early=False, last=True, skip=True) -> np.ndarray:
    """The block in tf.nn operations; the switches give the outputs of known mistakes."""

    def run(pair, x, stride):
        conv, norm = pair
        x = tf.nn.conv2d(x, tf.convert_to_tensor(conv.kernel), stride, "SAME")
        mean, variance = norm.moving_mean, norm.moving_variance
        if training:
            mean, variance = tf.nn.moments(x, [0, 1, 2])
        mean, variance = tf.convert_to_tensor(mean), tf.convert_to_tensor(variance)
        beta, gamma = tf.convert_to_tensor(norm.beta), tf.convert_to_tensor(norm.gamma)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, norm.epsilon)

    y = run(parts.first, x, stride)
    y = run(parts.second, tf.nn.relu(y) if middle else y, 1)
    y = tf.nn.relu(y) if early else y
    if skip:
        y = y + (run(parts.shortcut, x, stride) if parts.shortcut else x)
    return (tf.nn.relu(y) if last else y).numpy()


def _expect_pictures(got, shape, case) -> None:
    expect_returned(got, case)
    got = np.asarray(got)
    expect(got.shape == shape, f"{case}: 결과의 모양이 {shape}여야 하는데 {got.shape}입니다.")
    expect(got.dtype == np.float32, f"{case}: 자료형이 float32여야 하는데 {got.dtype}입니다.")


def _which_crop(picture, many, shift, case) -> np.ndarray:
    """Return for each of ``many`` which crop of ``picture`` it is; the mirrored ones come second."""
    H, W, C = picture.shape
    padded = np.pad(picture, ((shift, shift), (shift, shift), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (H, W, C)).reshape(-1, H, W, C)
    candidates = np.concatenate([windows, windows[:, :, ::-1]])
    match = (many[:, None] == candidates[None]).all(axis=(2, 3, 4))  # (repeats, choices)
    lost = np.sum(~match.any(axis=1))
    expect(
        lost == 0,
        f"{case}: 결과 {len(many)}장 가운데 {lost}장이 0을 두른 사진을 잘라 내고 좌우를 뒤집어서는 나올 수 없습니다.",
    )
    return match.argmax(axis=1)


def _numbers(pictures) -> np.ndarray:
    """Read the numbers that the check of ``train`` wrote into a pixel of every picture."""
    return np.rint(pictures[:, 0, 0, 1] * 1000).astype(int)


def _check_pictures(spy, augmented, count, held, batch_size, epochs, case) -> None:
    """Which pictures were augmented, which reached the model, and in what order."""
    numbers = np.concatenate(augmented) if augmented else np.zeros(0, int)
    expect(len(numbers) > 0, f"{case}: augment가 불리지 않았습니다.")
    expect(numbers.max() < count, f"{case}: 검증 사진까지 augment에 넣었습니다.")
    trained = [call for call in spy.calls if call[0]]
    tested = [call for call in spy.calls if not call[0]]
    seen = np.concatenate([call[1] for call in trained])
    expect(
        len(seen) == epochs * count,
        f"{case}: {epochs}에포크 동안 훈련 사진이 {epochs * count}장 지나가야 하는데 {len(seen)}장입니다.",
    )
    expect(
        all((call[2] == MARK).all() for call in trained),
        f"{case}: 모델이 augment의 결과가 아닌 사진으로 훈련했습니다.",
    )
    expect(
        len(numbers) >= epochs * count,
        f"{case}: augment에 들어간 사진이 {len(numbers)}장입니다. 에포크마다 다시 넣어 {epochs * count}장이어야 합니다.",
    )
    expect(
        max(len(call[1]) for call in trained) == batch_size,
        f"{case}: 훈련 배치의 크기가 {batch_size}여야 하는데 {max(len(call[1]) for call in trained)}입니다.",
    )
    rounds = seen.reshape(epochs, count)
    expect(
        all(np.array_equal(np.sort(row), np.arange(count)) for row in rounds),
        f"{case}: 에포크마다 모든 훈련 사진이 꼭 한 번씩 나와야 합니다.",
    )
    expect(
        not any(np.array_equal(row, np.arange(count)) for row in rounds), f"{case}: 사진을 섞지 않았습니다."
    )
    expect(
        len({tuple(row) for row in rounds}) == epochs,
        f"{case}: 에포크마다 같은 순서가 되풀이됩니다.",
    )
    checked = np.concatenate([call[1] for call in tested]) if tested else np.zeros(0, int)
    expect(
        sorted(checked) == sorted(np.tile(np.arange(count, count + held), epochs)),
        f"{case}: 에포크마다 검증 사진 {held}장을 한 번씩 재야 합니다.",
    )


def _as_probabilities(logits, labels) -> float:
    """What the loss without from_logits gives: Keras normalises by the sum and clips."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = logits / logits.sum(axis=1, keepdims=True)
    return float(-np.mean(np.log(p.clip(1e-7, 1 - 1e-7)[np.arange(len(labels)), labels])))


def _check_schedule(optimizer, steps, peak, case) -> None:
    """Compare the learning rate at every step with the formula of the text."""
    warmup = steps // 10
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    t = np.arange(steps + 1)
    cosine = 0.5 * peak * (1 + np.cos(np.pi * (t - warmup) / (steps - warmup)))
    expected = np.where(t < warmup, peak * t / max(warmup, 1), cosine)
    expect(
        np.ptp(rates) > 0, f"{case}: 학습률이 걸음마다 바뀌지 않습니다. 스케줄 객체를 옵티마이저에 주세요."
    )
    expect_close(
        np.array(rates) / peak,
        expected / peak,
        f"{case}, 학습률 ÷ peak (위치는 걸음 번호)",
        tol=1e-4,
        mistakes={
            "웜업이 없습니다.": 0.5 * (1 + np.cos(np.pi * t / steps)),
        },
    )
