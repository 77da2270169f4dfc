"""Checks of practice 5.1: the parts of a small residual network, its training, its accuracy and its errors."""

import threading
from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.preprocessing import StandardScaler

from tf_study.checks.eager import eagerly
from tf_study.data import unseen
from tf_study.expect import (
    expect,
    expect_accuracy,
    expect_array,
    expect_close,
    expect_model,
    expect_parts,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

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
    many = np.concatenate([rng.integers(0, 20, (90, 6, 5, 3)), rng.integers(100, 256, (60, 6, 5, 3))])
    cases["밝기가 달라지는 150장"] = (pictures[:4].astype(np.uint8), many.astype(np.uint8))
    cases["앞과 모양이 같은 다른 150장"] = (pictures[:4].astype(np.uint8), many[::-1, ::-1] // 2)
    for case, (x, reference) in cases.items():
        with untouched(case, x, reference):
            got = answer(x, reference)
        C = x.shape[-1]
        rows, known = x.reshape(-1, C).astype(float), reference.reshape(-1, C).astype(float)
        expected = StandardScaler().fit(known).transform(rows).reshape(x.shape)

        def mistakes(x=x, rows=rows, known=known):
            with np.errstate(divide="ignore", invalid="ignore"):
                return {
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
        "큰 사진, 많은 채널, 깊은 신경망": (
            [
                (conv, 64, 7, 4, False),
                bn,
                relu,
                *[(conv, 256, 3, 1, False), bn, relu] * 8,
                gap,
                ("dense", 1000),
            ],
            (512, 384, 3),
        ),
    }
    for case, (plan, shape) in cases.items():
        with untouched(case, plan):
            got = expect_parts(answer(plan, shape), ("파라미터", "MAC"), case)
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
        "스트라이드 4로 채널이 줄어드는 블록": ((10, 8, 6), 4, 4),
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
        parts = _Parts.of(model, shape, filters, stride, case)
        rng = np.random.default_rng(510 + index)
        for variable in model.weights:
            spread = rng.uniform(0.5, 2.0, variable.shape)
            signed = spread * rng.choice([-1, 1], variable.shape)
            if variable.name == "moving_variance":
                variable.assign(spread)
            elif variable.name in ("gamma", "beta", "moving_mean"):
                variable.assign(signed)
        x = tf.constant(rng.normal(size=(4, *shape)), tf.float32)

        def mistakes(parts=parts, x=x, stride=stride):
            return {
                "더한 뒤의 ReLU가 없습니다.": _block(parts, x, stride, False, last=False),
                "더하기 전의 가지에 ReLU가 있습니다.": _block(parts, x, stride, False, early=True),
                "두 합성곱 사이의 ReLU가 없습니다.": _block(parts, x, stride, False, middle=False),
                "지름길을 더하지 않았습니다.": _block(parts, x, stride, False, skip=False),
            }

        got = model(x, training=False)
        expect_close(got, _block(parts, x, stride, False), f"{case}, 추론", tol=1e-4, mistakes=mistakes)
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
        stem = ((3, 3, shape[-1], widths[0]), 1)
        blocks = [
            [((3, 3, narrow, wide), 2), ((3, 3, wide, wide), 1), ((1, 1, narrow, wide), 2)]
            for narrow, wide in zip(widths, widths[1:], strict=False)
        ]
        pairs = _pairs(model, Counter([stem, *sum(blocks, [])]), case)
        total = sum(int(np.prod(kernel)) + 4 * kernel[-1] for kernel, _ in [stem, *sum(blocks, [])])
        total += (widths[-1] + 1) * classes
        expect(
            model.count_params() == total,
            f"{case}: 파라미터가 {total:,}개여야 하는데 {model.count_params():,}개입니다.",
        )
        poolings, heads = _all(model, layers.GlobalAveragePooling2D), _all(model, layers.Dense)
        expect(
            len(poolings) == 1 and len(heads) == 1,
            f"{case}: GlobalAveragePooling2D와 Dense가 하나씩 있어야 하는데 {len(poolings)}개와 {len(heads)}개입니다.",
        )
        rng = np.random.default_rng(520 + index)
        for variable in model.weights:
            if variable.name in ("gamma", "beta", "moving_mean", "bias"):
                variable.assign(rng.uniform(0.3, 1.5, variable.shape) * rng.choice([-1, 1], variable.shape))
        x = tf.constant(rng.normal(size=(3, *shape)), tf.float32)
        stem = pairs[stem].pop(0)
        parts = [_Parts(*(pairs[kind].pop(0) for kind in block)) for block in blocks]

        def logits(training=False, stem=stem, parts=parts, x=x, head=heads[0], relu=True, **switches):
            h = _conv_bn(stem, x, 1, training)
            h = tf.nn.relu(h) if relu else h
            for part in parts:
                h = _block(part, h, 2, training, **switches)
            return np.mean(h, axis=(1, 2)) @ head.kernel.numpy() + head.bias.numpy()

        def mistakes(logits=logits):
            z = logits()
            return {
                "끝에 소프트맥스가 있습니다. 로짓을 내보내야 합니다.": softmax(z, axis=1),
                "끝에 ReLU가 있습니다.": np.maximum(z, 0),
                "끝에 시그모이드가 있습니다.": 1 / (1 + np.exp(-z)),
                "첫 합성곱 뒤의 ReLU가 없습니다.": logits(relu=False),
                "블록의 끝에 ReLU가 없습니다.": logits(last=False),
                "블록의 지름길이 더해지지 않습니다.": logits(skip=False),
            }

        expect_close(model(x, training=False), logits(), f"{case}, 로짓", tol=1e-4, mistakes=mistakes)
        expect_close(model(x, training=True), logits(training=True), f"{case}, 훈련할 때의 로짓", tol=1e-3)


@problem("뒤집기와 옮겨 자르기", minutes=10, seconds=TRAINING_SECONDS)
def augment(answer):
    """Every picture must be one of its crops or mirrored crops, drawn independently and evenly."""
    rng = np.random.default_rng(530)
    cases = {
        "예시, shift = 0": (np.array([[[[1.0], [2.0]]]], np.float32), 0),
        "예시, shift = 1": (np.array([[[[1.0], [2.0]]]], np.float32), 1),
        "옮기지 않는 5×4": (rng.normal(size=(2, 5, 4, 3)).astype(np.float32), 0),
        "4×6, shift = 1": (rng.normal(size=(3, 4, 6, 2)).astype(np.float32), 1),
        "7×3, shift = 2": (rng.normal(size=(1, 7, 3, 1)).astype(np.float32), 2),
        "6×5, shift를 주지 않아 4": (rng.normal(size=(1, 6, 5, 1)).astype(np.float32), None),
    }
    for case, (pictures, shift) in cases.items():
        options, shift = ((), 4) if shift is None else ((shift,), shift)
        choices = 2 * (2 * shift + 1) ** 2
        each = 60 if shift < 2 else 20
        small = pictures[0].size < 6  # Crops of so small a picture coincide.
        repeats = 60 if small else each * choices
        x = np.repeat(pictures, repeats, axis=0)

        def draw(x, options=options):
            return answer(x, *options)

        draw = tf.function(draw) if len(x) > 300 else draw  # As in map; a loop over pictures is slow outside.
        got = _expect_pictures(draw(tf.constant(x)), x.shape, case)
        got = got.reshape(len(pictures), repeats, *pictures.shape[1:])
        mirrored = 0
        for picture, many in zip(pictures, got, strict=True):
            seen = _which_crop(picture, many, shift, case)
            if small:
                continue
            counts = np.bincount(seen, minlength=choices)
            expect(
                counts.min() > 0,
                f"{case}: {repeats}번 뽑는 동안 (세로, 가로, 뒤집기) {choices}가지 가운데 "
                f"{np.sum(counts == 0)}가지가 한 번도 나오지 않았습니다.",
            )
            mirrored += counts[choices // 2 :].sum()
            expect(
                each - 5 * np.sqrt(each) < counts.min() and counts.max() < each + 8 * np.sqrt(each),
                f"{case}: 나온 횟수가 {counts.min()}번에서 {counts.max()}번까지 고르지 않습니다. "
                f"모든 경우가 {each}번쯤이어야 합니다.",
            )
        drawn = len(pictures) * repeats
        expect(
            small or abs(mirrored / drawn - 0.5) < 5 * 0.5 / np.sqrt(drawn),  # 5 deviations
            f"{case}: {drawn}장 가운데 뒤집은 비율이 {mirrored / drawn:.2f}입니다. 절반이어야 합니다.",
        )
    x = tf.constant(rng.normal(size=(40, 5, 4, 3)), tf.float32)
    one, other = (expect_array(answer(x, 1), "두 번 부르기") for _ in range(2))
    expect(
        not np.array_equal(one, other),
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


@problem("훈련", minutes=15, seconds=TRAINING_SECONDS)
def train(answer):
    """Two tiny trainings whose pictures, order, schedule and history are recorded, and which are then replayed."""
    # Four steps without a warm-up show most mistakes; 21 show the warm-up, T // 10 of T / 10, and the buffer.
    cases = {"훈련 사진 11장, 배치 6장": (11, 5, 6, 2, 0.05), "훈련 사진 20장, 배치 3장": (20, 7, 3, 3, 0.02)}
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
        start = np.concatenate([model.weights[0].numpy(), model.weights[1].numpy()[None]])

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
        with untouched(case, pictures, labels), eagerly():
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
        expect(
            isinstance(model.optimizer, keras.optimizers.Adam),
            f"{case}: 옵티마이저가 Adam이어야 하는데 {type(model.optimizer).__name__}입니다.",
        )
        _check_schedule(model.optimizer, steps, peak, case)
        got = np.concatenate([model.weights[0].numpy(), model.weights[1].numpy()[None]])
        batches = [call[1] for call in spy.calls if call[0]]
        _check_history(history, got, start, pictures, labels, count, batches, peak, case)


@problem("목표 정확도", minutes=5, seconds=TRAINING_SECONDS)
def classify(answer):
    """Accuracy on pictures that no loader returns, and the same label alone as in a batch.

    What protects the verdict, and what does not, is said in ``tf_study/data/unseen.py``. The target of the full
    profile is one that 10,000 training pictures reach; all 50,000 do better.
    """
    pictures, labels = unseen.objects()
    hint = "검증 정확도를 먼저 보고, 훈련할 때와 같은 표준화를 거치는지 보세요."
    target = pick(small=0.85, full=0.65)
    expect_accuracy(answer, pictures, labels, target, "처음 보는 사진", hint, logits=False)


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
        "한 칸에 200장": ([0] * 200 + [1] * 3, [1] * 200 + [1, 1, 0], 2),
        "12클래스": (np.arange(60) % 12, rng.integers(0, 12, 60), 12),
    }
    for case, (labels, predictions, classes) in cases.items():
        labels, predictions = np.array(labels), np.array(predictions)
        names = ("혼동 행렬", "재현율", "짝")
        with untouched(case, labels, predictions):
            C, recall, worst = expect_parts(answer(labels, predictions, classes), names, case)
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
        integers = isinstance(worst, list | tuple) and all(
            isinstance(part, int | np.integer) for part in worst
        )
        expect(integers, f"{case}: 가장 헷갈리는 짝은 정수 둘의 튜플이어야 하는데 {worst!r}입니다.")
        expect(
            tuple(worst) == (-k, -l),
            f"{case}: 가장 헷갈리는 짝이 다릅니다. 기대한 값은 {(-k, -l)}, 나온 값은 {tuple(worst)}입니다.",
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

    def __init__(self, first, second, shortcut=None):
        self.first, self.second, self.shortcut = first, second, shortcut
        self.norms = [pair[1] for pair in (first, second, shortcut) if pair]

    @classmethod
    def of(cls, model, shape, filters, stride, case):
        """Return the parts of a model that is one block."""
        kinds = [((3, 3, shape[-1], filters), stride), ((3, 3, filters, filters), 1)]
        if stride != 1 or shape[-1] != filters:
            kinds.append(((1, 1, shape[-1], filters), stride))
        pairs = _pairs(model, Counter(kinds), case)
        return cls(*(pairs[kind].pop(0) for kind in kinds))


def _all(model, kind) -> list:
    """Return the layers of one kind in their order, those inside of models and layers included."""
    found = []
    for layer in model.layers:
        inside = _all(layer, kind) if isinstance(layer, keras.Model) else layer._flatten_layers()
        found += [part for part in inside if isinstance(part, kind)]
    return found


def _pairs(model, wanted: Counter, case) -> dict[tuple, list]:
    """Return the convolutions of each (kernel, stride) in their order, with the normalisation behind each."""
    convs, norms = _all(model, layers.Conv2D), _all(model, layers.BatchNormalization)
    for layer in convs + norms:
        expect(
            hasattr(layer, "output"),
            f"{case}: {layer.name}이 함수형 모델의 층이 아닙니다. 층의 클래스를 쓰지 말고 함수형 API로 이어 붙이세요.",
        )
    found = Counter((tuple(conv.kernel.shape), conv.strides[0]) for conv in convs)
    for text, odd in (("더 있습니다", found - wanted), ("모자랍니다", wanted - found)):
        for kernel, stride in odd:
            expect(False, f"{case}: 커널 {kernel}, 스트라이드 {stride}인 합성곱이 {text}.")
    pairs = {}
    for conv in convs:
        name = f"{case}: 커널 {tuple(conv.kernel.shape)}인 합성곱 {conv.name}"
        expect(not conv.use_bias, f"{name}에 편향이 있습니다. 주어진 conv_bn을 쓰세요.")
        norm = next((norm for norm in norms if norm.input is conv.output), None)
        expect(norm is not None, f"{name}의 바로 뒤에 배치 정규화가 없습니다. 주어진 conv_bn을 쓰세요.")
        given = np.isclose(norm.momentum, 0.9) and np.isclose(norm.epsilon, 1e-3)
        expect(given, f"{name} 뒤의 배치 정규화가 주어진 conv_bn의 것과 다릅니다. 모멘텀은 0.9입니다.")
        pairs.setdefault((tuple(conv.kernel.shape), conv.strides[0]), []).append((conv, norm))
    expect(
        len(norms) == len(convs), f"{case}: 배치 정규화는 합성곱마다 하나여야 하는데 {len(norms)}개입니다."
    )
    return pairs


def _conv_bn(pair, x, stride, training):
    """A convolution and its normalisation in tf.nn operations."""
    conv, norm = pair
    x = tf.nn.conv2d(x, tf.convert_to_tensor(conv.kernel), stride, "SAME")
    mean, variance = tf.convert_to_tensor(norm.moving_mean), tf.convert_to_tensor(norm.moving_variance)
    if training:
        mean, variance = tf.nn.moments(x, [0, 1, 2])
    beta, gamma = tf.convert_to_tensor(norm.beta), tf.convert_to_tensor(norm.gamma)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, norm.epsilon)


def _block(parts, x, stride, training, middle=True, early=False, last=True, skip=True) -> np.ndarray:
    """The block in tf.nn operations; the switches give the outputs of known mistakes."""
    y = _conv_bn(parts.first, x, stride, training)
    y = _conv_bn(parts.second, tf.nn.relu(y) if middle else y, 1, training)
    y = tf.nn.relu(y) if early else y
    if skip:
        y = y + (_conv_bn(parts.shortcut, x, stride, training) if parts.shortcut else x)
    return (tf.nn.relu(y) if last else y).numpy()


def _expect_pictures(got, shape, case) -> np.ndarray:
    got = expect_array(got, case)
    expect(got.shape == shape, f"{case}: 결과의 모양이 {shape}여야 하는데 {got.shape}입니다.")
    expect(got.dtype == np.float32, f"{case}: 자료형이 float32여야 하는데 {got.dtype}입니다.")
    return got


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
    forward = max(
        (row - np.arange(count)).max() for row in rounds
    )  # How far a picture has come to the front.
    expect(
        epochs < 3 or forward >= count // 2,  # By chance in 3 epochs of 20 pictures: 3 times in a million.
        f"{case}: {epochs}에포크 동안 가장 멀리 앞당겨진 사진이 {forward}자리입니다. 섞는 버퍼를 {count}장으로 하세요.",
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
    """What the loss without from_logits gives: Keras clips and normalises."""
    p = logits.clip(1e-7, 1 - 1e-7)
    return float(-np.mean(np.log(p / p.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]))


def _check_history(history, got, start, pictures, labels, count, batches, peak, case) -> None:
    """Take the recorded steps again with Adam by hand and compare the numbers of every epoch and the weights.

    A model that was trained on other labels, with another loss or with another Adam ends elsewhere.
    """
    x = np.concatenate([pictures.reshape(len(pictures), -1), np.ones((len(pictures), 1))], axis=1)  # (N, 33)
    marked = x.copy()
    marked[:, 3] = MARK  # Row 0, column 1, channel 1.
    hot, w, m, v = np.eye(2)[labels], start.astype(float), 0.0, 0.0
    expected = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    seen = []
    for step, rows in enumerate(batches):
        z = marked[rows] @ w
        seen += [(log_softmax(z, axis=1)[np.arange(len(rows)), labels[rows]], z.argmax(1) == labels[rows])]
        gradient = marked[rows].T @ (softmax(z, axis=1) - hot[rows]) / len(rows)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        size = _rates(len(batches), peak)[step] * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        w = w - size * m / (np.sqrt(v) + 1e-7)
        if sum(len(part) for part, _ in seen) == count:  # An epoch ends.
            logp, hits = (np.concatenate(parts) for parts in zip(*seen, strict=True))
            z = x[count:] @ w
            expected["loss"].append(-logp.mean())
            expected["accuracy"].append(hits.mean())
            expected["val_loss"].append(-np.sum(log_softmax(z, axis=1) * hot[count:], axis=1).mean())
            expected["val_accuracy"].append(np.mean(z.argmax(1) == labels[count:]))
            seen = []
    last = x[count:] @ got
    expect_close(
        history["val_loss"][-1],
        -np.sum(log_softmax(last, axis=1) * hot[count:], axis=1).mean(),
        f"{case}, 마지막 검증 손실",
        tol=1e-3,
        mistakes=lambda: {"로짓을 확률로 여긴 손실입니다.": _as_probabilities(last, labels[count:])},
    )
    expect_close(
        got,
        w,
        f"{case}, 사진마다 제 레이블로, 학습률만 정한 Adam으로 배운 가중치",
        tol=1e-3,
    )
    names = {
        "loss": "훈련 손실",
        "accuracy": "훈련 정확도",
        "val_loss": "검증 손실",
        "val_accuracy": "검증 정확도",
    }
    for key, name in names.items():
        expect_close(history[key], expected[key], f"{case}, 에포크마다의 {name}", tol=1e-3)


def _rates(steps: int, peak: float) -> np.ndarray:
    """The learning rates (steps + 1,) by the formula of the text."""
    warmup, t = steps // 10, np.arange(steps + 1)
    cosine = 0.5 * peak * (1 + np.cos(np.pi * (t - warmup) / (steps - warmup)))
    return np.where(t < warmup, peak * t / max(warmup, 1), cosine)


def _check_schedule(optimizer, steps, peak, case) -> None:
    """Compare the learning rate at every step with the formula of the text."""
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    expect(
        np.ptp(rates) > 0, f"{case}: 학습률이 걸음마다 바뀌지 않습니다. 스케줄 객체를 옵티마이저에 주세요."
    )
    expect_close(
        np.array(rates) / peak,
        _rates(steps, peak) / peak,
        f"{case}, 학습률 ÷ peak (위치는 걸음 번호)",
        tol=1e-4,
        mistakes={"웜업이 없습니다.": 0.5 * (1 + np.cos(np.pi * np.arange(steps + 1) / steps))},
    )
