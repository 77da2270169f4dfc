"""Checks of practice 1.1: five tensor problems and three gradient problems."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import numpy as np
import tensorflow as tf
from scipy.optimize import rosen_der, rosen_hess
from scipy.spatial.distance import cdist
from scipy.special import softmax

from tf_study.expect import Mismatch, expect, expect_close, expect_parts
from tf_study.practice import problem

UNWATCHED = "테이프가 None을 돌려주었습니다. 상수 텐서는 tape.watch(x)를 불러야 테이프가 지켜봅니다."


@problem("정답 점수와 원-핫", minutes=5)
def label_scores(answer):
    """The score of the labelled class and the one-hot rows."""
    rng = np.random.default_rng(101)
    example = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    masked = rng.normal(size=(4, 5))
    masked[:, 2] = -np.inf
    cases = {
        "예시": (example, [1, 0], np.int32),
        "음수가 섞인 (6, 4)": (rng.normal(size=(6, 4)), [3, 0, 2, 2, 1, 3], np.int32),
        "점수가 한 줄뿐인 (1, 3)": (rng.normal(size=(1, 3)), [2], np.int32),
        "뒤쪽 클래스가 한 번도 나오지 않는 (3, 7)": (rng.normal(size=(3, 7)), [0, 1, 0], np.int32),
        "레이블이 int64인 (5, 5)": (rng.normal(size=(5, 5)), [4, 3, 2, 1, 0], np.int64),
        "정답이 아닌 클래스의 점수가 -∞인 (4, 5)": (masked, [0, 1, 3, 4], np.int32),
    }
    for case, (scores, labels, kind) in cases.items():
        scores, labels = scores.astype(np.float32), np.array(labels, kind)
        picked, one_hot = expect_parts(
            answer(tf.constant(scores), tf.constant(labels)), ("정답 점수", "원-핫"), case
        )
        expected = np.array([row[label] for row, label in zip(scores, labels, strict=True)])
        expect_close(
            picked,
            expected,
            f"{case}, 정답 점수",
            dtype=np.float32,
            mistakes={"레이블이 아니라 가장 큰 점수를 골랐습니다.": scores.max(axis=1)},
        )
        expect_close(one_hot, np.eye(scores.shape[1])[labels], f"{case}, 원-핫", tol=0, dtype=np.float32)
    _expect_vectorized(
        answer,
        lambda size: (tf.zeros((size, 4)), tf.zeros(size, tf.int32)),
    )


@problem("배치 자르기와 뒤집기", minutes=10)
def crop_and_flip(answer):
    """One window cut from every image, mirrored where asked."""
    rng = np.random.default_rng(102)
    example = np.tile(np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1), (2, 1, 1, 1))
    bytes_ = rng.integers(0, 256, size=(3, 6, 9, 3), dtype=np.uint8)
    cases = {
        "예시": (example, (0, 1, 2, 2), [False, True]),
        "음수가 섞인 (4, 7, 5, 3)": (
            rng.normal(size=(4, 7, 5, 3)).astype(np.float32),
            (2, 1, 4, 3),
            [True, False, False, True],
        ),
        "uint8 영상 (3, 6, 9, 3)": (bytes_, (1, 0, 3, 5), [False, True, True]),
        "배치가 1인 (1, 5, 8, 1)": (rng.normal(size=(1, 5, 8, 1)).astype(np.float32), (0, 3, 5, 4), [True]),
        "하나도 뒤집지 않는 (2, 4, 4, 2)": (
            rng.normal(size=(2, 4, 4, 2)).astype(np.float32),
            (1, 1, 2, 3),
            [False, False],
        ),
        "자르지 않는 (3, 3, 6, 1)": (
            rng.normal(size=(3, 3, 6, 1)).astype(np.float32),
            (0, 0, 3, 6),
            [True, True, False],
        ),
        "배치와 높이와 너비가 같은 (4, 4, 4, 4)": (
            rng.normal(size=(4, 4, 4, 4)).astype(np.float32),
            (0, 0, 4, 4),
            [True, False, True, False],
        ),
    }
    for case, (images, window, flip) in cases.items():
        top, left, height, width = window
        cropped = tf.image.crop_to_bounding_box(images, top, left, height, width)
        mirrored = tf.image.flip_left_right(images)
        late = tf.image.crop_to_bounding_box(mirrored, top, left, height, width)
        expect_close(
            answer(tf.constant(images), top, left, height, width, tf.constant(flip)),
            _choose(flip, tf.image.flip_left_right(cropped), cropped),
            case,
            tol=0,
            dtype=images.dtype,
            mistakes=lambda flip=flip, cropped=cropped, late=late: {
                "뒤집은 다음에 자르면 다른 자리가 남습니다.": _choose(flip, late, cropped),
                "좌우가 아니라 위아래로 뒤집었습니다.": _choose(
                    flip, tf.image.flip_up_down(cropped), cropped
                ),
                "flip이 False인 영상까지 뒤집었습니다.": tf.image.flip_left_right(cropped),
                "flip이 True인 영상을 뒤집지 않았습니다.": cropped,
                "True와 False를 거꾸로 썼습니다.": _choose(flip, cropped, tf.image.flip_left_right(cropped)),
            },
        )
    _expect_vectorized(
        lambda images, flip: answer(images, 1, 0, 2, 3, flip),
        lambda size: (tf.zeros((size, 4, 5, 1)), tf.zeros(size, tf.bool)),
    )


@problem("반복문 없는 거리 행렬", minutes=10)
def pairwise_distances(answer):
    """Euclidean distances between all pairs of points."""
    rng = np.random.default_rng(103)
    points = rng.normal(size=(6, 3))
    cases = {
        "예시": (np.array([[0, 0], [3, 4]]), np.array([[0, 0], [0, 4], [6, 8]])),
        "x (5, 3), y (4, 3)": (rng.normal(size=(5, 3)), rng.normal(size=(4, 3))),
        "점 수가 같은 x (4, 4), y (4, 4)": (rng.normal(size=(4, 4)), rng.normal(size=(4, 4))),
        "점이 하나씩인 x (1, 2), y (1, 2)": (rng.normal(size=(1, 2)), rng.normal(size=(1, 2))),
        "좌표가 하나인 x (3, 1), y (5, 1)": (rng.normal(size=(3, 1)), rng.normal(size=(5, 1))),
        "y가 x와 같아 대각선이 0인 (6, 3)": (points, points),
        "원점에서 멀어 전개식이 자릿수를 잃는 x (4, 3), y (5, 3)": (
            1000 + rng.normal(size=(4, 3)),
            1000 + rng.normal(size=(5, 3)),
        ),
    }
    for case, (x, y) in cases.items():
        x, y = x.astype(np.float32), y.astype(np.float32)
        distances = cdist(x, y)
        expect_close(
            answer(tf.constant(x), tf.constant(y)),
            distances,
            case,
            dtype=np.float32,
            mistakes={
                "제곱근을 빠뜨렸습니다.": distances**2,
                "차의 제곱이 아니라 절댓값을 더했습니다.": cdist(x, y, "cityblock"),
                "좌표의 차를 더하지 않고 평균했습니다.": distances / np.sqrt(x.shape[1]),
                "행이 y, 열이 x입니다.": distances.T,
            },
        )
    _expect_vectorized(answer, lambda size: (tf.ones((size, 3)), tf.zeros((size + 1, 3))))


@problem("einsum으로 구하는 마할라노비스 거리", minutes=10)
def mahalanobis(answer):
    """Squared Mahalanobis distances from points to clusters."""
    rng = np.random.default_rng(104)
    example = (
        np.array([[1, 2]]),
        np.array([[0, 0], [0, 1]]),
        np.array([[[3, 0], [0, 1]], [[2, -1], [-1, 3]]]),
    )
    cases = {
        "예시": example,
        "점 5개, 군집 3개, 좌표 4개": _clusters(rng, 5, 3, 4),
        "점 수와 군집 수와 좌표 수가 모두 3": _clusters(rng, 3, 3, 3),
        "점 하나, 군집 하나, 좌표 2개": _clusters(rng, 1, 1, 2),
        "좌표가 하나뿐인 점 4개, 군집 2개": _clusters(rng, 4, 2, 1),
        "정밀도 행렬이 모두 단위행렬": (
            rng.normal(size=(4, 3)),
            rng.normal(size=(2, 3)),
            np.tile(np.eye(3), (2, 1, 1)),
        ),
    }
    for case, inputs in cases.items():
        x, means, precisions = (item.astype(np.float32) for item in inputs)
        rows = [
            cdist(x, means[k : k + 1], "mahalanobis", VI=precisions[k].astype(float))[:, 0] ** 2
            for k in range(len(means))
        ]
        diagonals = [
            cdist(x, means[k : k + 1], "seuclidean", V=1 / np.diag(precisions[k]))[:, 0] ** 2
            for k in range(len(means))
        ]
        expected = np.stack(rows, axis=1)
        expect_close(
            answer(tf.constant(x), tf.constant(means), tf.constant(precisions)),
            expected,
            case,
            tol=1e-4,
            dtype=np.float32,
            mistakes={
                "제곱근을 씌웠습니다. 거리의 제곱을 돌려주세요.": np.sqrt(expected),
                "정밀도 행렬을 쓰지 않은 거리입니다.": cdist(x, means) ** 2,
                "정밀도 행렬의 대각 원소만 썼습니다.": np.stack(diagonals, axis=1),
                "모든 군집에 첫 정밀도 행렬을 썼습니다.": cdist(
                    x, means, "mahalanobis", VI=precisions[0].astype(float)
                )
                ** 2,
                "평균을 빼지 않았습니다.": np.einsum("bi,kij,bj->bk", x, precisions, x),
                "행이 군집, 열이 점입니다.": expected.T,
            },
        )
    _expect_vectorized(
        answer,
        lambda size: (tf.ones((size, 2)), tf.zeros((size, 2)), tf.ones((size, 2, 2))),
    )


@problem("그룹별 평균과 편차", minutes=10)
def segment_means(answer):
    """The mean of every group and each row's deviation from its own group's mean."""
    rng = np.random.default_rng(105)
    cases = {
        "예시": (np.array([[1], [10], [3]]), [0, 2, 0], 3, np.int32),
        "번호가 뒤섞인 (8, 3), 그룹 4개": (rng.normal(size=(8, 3)), [3, 1, 0, 1, 2, 0, 3, 3], 4, np.int32),
        "행이 하나인 (1, 2), 그룹 1개": (rng.normal(size=(1, 2)), [0], 1, np.int32),
        "마지막 두 그룹이 빈 (5, 2), 그룹 5개": (rng.normal(size=(5, 2)), [2, 0, 2, 0, 2], 5, np.int32),
        "행과 열과 그룹 수가 같은 (4, 4)": (rng.normal(size=(4, 4)), [1, 1, 3, 0], 4, np.int32),
        "번호가 int64인 (6, 1), 그룹 2개": (rng.normal(size=(6, 1)), [1, 0, 1, 1, 0, 1], 2, np.int64),
        "모두 한 그룹인 (7, 2), 그룹 3개": (rng.normal(size=(7, 2)) - 5, [1] * 7, 3, np.int32),
    }
    for case, (values, ids, count, kind) in cases.items():
        values, ids = values.astype(np.float32), np.array(ids, kind)
        expected = np.zeros((count, values.shape[1]))
        for group in np.unique(ids):
            expected[group] = values[ids == group].astype(float).mean(axis=0)
        sizes = np.bincount(ids, minlength=count)[:, None]
        means, deviations = expect_parts(
            answer(tf.constant(values), tf.constant(ids), count), ("평균", "편차"), case
        )
        expect_close(
            means,
            expected,
            f"{case}, 평균",
            dtype=np.float32,
            mistakes={
                "그룹의 행 수로 나누지 않은 합입니다.": expected * sizes,
                "그룹의 행 수가 아니라 전체 행 수로 나누었습니다.": expected * sizes / len(values),
                "그룹의 행 수에 1을 더한 값으로 나누었습니다.": expected * sizes / (sizes + 1),
            },
        )
        expect_close(
            deviations,
            values - expected[ids],
            f"{case}, 편차",
            dtype=np.float32,
            mistakes={
                "뺄셈의 순서가 거꾸로입니다.": expected[ids] - values,
                "그룹이 아니라 전체의 평균을 뺐습니다.": values - values.mean(axis=0),
                "평균을 빼지 않고 행으로 펼치기만 했습니다.": expected[ids],
            },
        )
    _expect_vectorized(
        lambda values, ids: answer(values, ids, int(ids.shape[0])),
        lambda size: (tf.zeros((size, 2)), tf.zeros(size, tf.int32)),
    )


@problem("테이프와 손으로 구한 기울기", minutes=10)
def logsumexp_gradients(answer):
    """The gradient of log-sum-exp, once by tape and once by the chain rule."""
    rng = np.random.default_rng(106)
    cases = {
        "예시": np.log([1, 3]),
        "음수가 섞인 길이 6": rng.normal(size=6) * 3,
        "원소가 하나": np.array([-0.7]),
        "모두 같은 값 4개": np.full(4, 2.0),
        "아주 큰 값 [1000, 999, -1000]": np.array([1000, 999, -1000]),
        "아주 작은 값 [-1000, -1001, -1003]": np.array([-1000, -1001, -1003]),
    }
    taped = False
    for case, x in cases.items():
        x = x.astype(np.float32)
        with _tape_calls(case) as calls:
            by_tape, by_hand = expect_parts(
                answer(tf.constant(x)), ("테이프의 기울기", "손으로 구한 기울기"), case
            )
        taped = taped or bool(calls)  # A tf.function opens its tape only when it is traced.
        expect(taped, f"{case}: tf.GradientTape로 기울기를 구하지 않았습니다.")
        expect(by_tape is not None, f"{case}, 테이프: {UNWATCHED}")
        expect(
            by_tape is not by_hand,
            f"{case}: 두 결과가 같은 텐서입니다. 손으로 구한 기울기는 연쇄 법칙의 식으로 따로 계산하세요.",
        )
        expected = softmax(x.astype(float))
        with np.errstate(over="ignore"):
            undivided = np.exp(x.astype(float))
        mistakes = {
            "e의 거듭제곱을 그 합으로 나누지 않았습니다.": undivided,
            "부호가 반대입니다.": -expected,
            "기울기가 아니라 그 로그입니다.": np.log(np.maximum(expected, 1e-300)),
        }
        # exp(x - logsumexp(x)) in float32 is off by 2e-5 at the largest values.
        expect_close(by_tape, expected, f"{case}, 테이프", 1e-4, dtype=np.float32, mistakes=mistakes)
        expect_close(by_hand, expected, f"{case}, 손으로 구한 식", 1e-4, dtype=np.float32, mistakes=mistakes)
    # Of a length not seen before, so that a tf.function is traced again.
    x = rng.normal(size=9).astype(np.float32)
    with _doubled_tape():
        by_tape, by_hand = answer(tf.constant(x))
    case = "테이프가 두 배를 돌려줄 때"
    expect_close(by_tape, 2 * softmax(x), f"{case}, 테이프: 첫 결과가 tape.gradient의 값이 아닙니다", 1e-4)
    expect_close(by_hand, softmax(x), f"{case}, 손으로 구한 식: 둘째 결과도 테이프에서 나왔습니다", 1e-4)


@problem("로지스틱 회귀의 기울기", minutes=15)
def logistic_gradient(answer):
    """The gradient of the regularised logistic loss, without a tape."""
    rng = np.random.default_rng(107)
    cases = {
        "예시": (np.zeros(1), 0.0, np.array([[1], [3]]), np.array([0, 1]), 0.0),
        "λ = 0.5인 X (6, 3)": (*_logistic_inputs(rng, 6, 3), 0.5),
        "λ = 0인 X (5, 2)": (*_logistic_inputs(rng, 5, 2), 0.0),
        "샘플이 하나인 X (1, 4)": (*_logistic_inputs(rng, 1, 4), 0.1),
        "특성이 하나인 X (7, 1)": (*_logistic_inputs(rng, 7, 1), 0.2),
        "샘플 수와 특성 수가 같은 X (4, 4)": (*_logistic_inputs(rng, 4, 4), 1.5),
        "레이블이 모두 1인 X (5, 3)": (*_logistic_inputs(rng, 5, 3)[:3], np.ones(5), 0.3),
        "로짓이 ±500까지 가는 X (4, 2)": (
            np.array([300.0, -200.0]),
            0.5,
            np.array([[1, -1], [-1, 1], [0.5, 0.7], [-1, -1]]),
            np.array([1, 1, 0, 0]),
            0.01,
        ),
    }
    for case, (w, b, X, y, l2) in cases.items():
        w, X, y = (np.asarray(item, np.float32) for item in (w, X, y))
        b = np.float32(b)
        with _tape_calls(case) as calls:
            dw, db = expect_parts(
                answer(tf.constant(w), tf.constant(b), tf.constant(X), tf.constant(y), l2), ("dw", "db"), case
            )
        expect(not calls, f"{case}: 이 문제는 테이프 없이 식으로 풀어야 합니다.")
        expected_w, expected_b = _logistic_reference(w, b, X, y, l2)
        plain = expected_w - l2 * w
        expect_close(
            dw,
            expected_w,
            f"{case}, dw",
            dtype=np.float32,
            mistakes={
                "규제 항의 기울기가 빠졌습니다.": plain,
                "규제 항의 기울기가 두 배입니다. 손실의 규제 항은 λ/2를 곱한 것입니다.": plain + 2 * l2 * w,
                "규제 항의 부호가 반대입니다.": plain - l2 * w,
                "규제 항까지 샘플 수로 나누었습니다.": plain + l2 * w / len(X),
                "샘플 수로 나누지 않았습니다.": plain * len(X) + l2 * w,
                "손실 항의 부호가 반대입니다.": -plain + l2 * w,
            },
        )
        expect_close(
            db,
            expected_b,
            f"{case}, db",
            dtype=np.float32,
            mistakes={
                "편향은 규제하지 않습니다.": expected_b + l2 * b,
                "샘플 수로 나누지 않았습니다.": expected_b * len(X),
                "부호가 반대입니다.": -expected_b,
            },
        )


@problem("헤세 행렬로 뉴턴 한 걸음", minutes=20)
def newton_step(answer):
    """One Newton step for any smooth scalar function."""
    rng = np.random.default_rng(108)
    root = rng.normal(size=(4, 4))
    A, c = root @ root.T + np.eye(4), rng.normal(size=4)

    def example(x):
        return (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2

    def quadratic(x):
        return 0.5 * tf.tensordot(x, tf.linalg.matvec(tf.constant(A, x.dtype), x), 1) - tf.reduce_sum(
            tf.constant(c, x.dtype) * x
        )

    def saddle(x):
        return x[0] ** 2 - x[1] ** 2 + 3 * x[0] * x[1] + x[2] ** 2 - x[1]

    saddle_hessian = np.array([[2, 3, 0], [3, -2, 0], [0, 0, 2]])

    def quartic(x):
        return tf.reduce_sum(x**4)

    def smooth(x):
        return tf.reduce_logsumexp(x) + 0.5 * tf.reduce_sum(x**2)

    def rosenbrock(x):
        return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    cases = {
        "예시": (example, np.zeros(2), lambda x: (x * [2, 20] - [2, -40], np.diag([2, 20])), np.float32),
        "변수 4개가 얽힌 이차식": (quadratic, rng.normal(size=4), lambda x: (A @ x - c, A), np.float32),
        "변수가 하나인 x⁴": (
            quartic,
            np.array([1.5]),
            lambda x: (4 * x**3, np.diag(12 * x**2)),
            np.float32,
        ),
        "이차식이 아닌 로그합지수 + |x|²/2": (
            smooth,
            np.array([1.0, -2.0, 0.5]),
            lambda x: (
                softmax(x) + x,
                np.diag(softmax(x)) - np.outer(softmax(x), softmax(x)) + np.eye(3),
            ),
            np.float32,
        ),
        "헤세 행렬의 고윳값에 음수가 있는 안장": (
            saddle,
            np.array([1.0, 2.0, -1.0]),
            lambda x: (saddle_hessian @ x - [0, 1, 0], saddle_hessian),
            np.float32,
        ),
        "float64인 로젠브록 함수, 변수 2개": (
            rosenbrock,
            np.array([-1.2, 1.0]),
            lambda x: (rosen_der(x), rosen_hess(x)),
            np.float64,
        ),
        "float64인 로젠브록 함수, 변수 5개": (
            rosenbrock,
            rng.normal(size=5),
            lambda x: (rosen_der(x), rosen_hess(x)),
            np.float64,
        ),
    }
    for case, (f, x, derivatives, kind) in cases.items():
        x = x.astype(kind)
        gradient, hessian = derivatives(x.astype(float))
        step = np.linalg.solve(hessian, gradient)
        with _quiet_logger(), _tape_calls(case):
            point = answer(f, tf.constant(x))
        expect_close(
            point,
            x - step,
            case,
            tol=1e-4 if kind == np.float32 else 1e-8,
            dtype=kind,
            mistakes={
                "헤세 행렬 없이 기울기만큼 움직인 점입니다.": x - gradient,
                "걸음의 방향이 반대입니다.": x + step,
                "다음 점이 아니라 걸음만 돌려주었습니다.": step,
                "다음 점이 아니라 부호가 반대인 걸음만 돌려주었습니다.": -step,
                "헤세 행렬의 대각 원소만 썼습니다.": x - gradient / np.diag(hessian),
                "방정식을 푸는 대신 헤세 행렬을 곱했습니다.": x - hessian @ gradient,
                "걸음의 절반만 움직였습니다.": x - step / 2,
            },
        )
    with _quiet_logger():
        try:
            traced = tf.function(lambda x: answer(example, x), autograph=False)
            graph, point = traced.get_concrete_function(tf.zeros(2)).graph, traced(tf.zeros(2))
        except Exception:
            raise Mismatch(
                "그래프 검사: tf.function 안에서 실행되지 않습니다. NumPy로 바꾸거나 tf.Variable을 새로 만들지 말고 "
                "텐서 연산만 쓰세요."
            ) from None
    expect(not _calls_python(graph), "그래프 검사: NumPy로 바꾸지 말고 TensorFlow 연산만 쓰세요.")
    expect_close(point, [1, -2], "그래프 검사, 예시", dtype=np.float32)


def _expect_vectorized(answer: Callable, inputs: Callable[[int], tuple]) -> None:
    """Raise :class:`Mismatch` if the graph of ``answer`` grows with the input or holds a loop.

    Args:
        answer: takes tensors only.
        inputs: size → the tensors to trace with.
    """
    case = "반복문 검사"
    small, large = 3, 12
    counts = []
    for size in (small, large):
        traced = tf.function(lambda *tensors: answer(*tensors), autograph=False)
        try:
            graph = traced.get_concrete_function(*inputs(size)).graph
        except tf.errors.OperatorNotAllowedInGraphError:
            raise Mismatch(
                f"{case}: 텐서를 for로 돌거나 if의 조건으로 쓰지 말고 텐서 연산으로 바꾸세요."
            ) from None
        except (NotImplementedError, AttributeError):
            raise Mismatch(f"{case}: NumPy로 바꾸지 말고 TensorFlow 연산만 쓰세요.") from None
        expect(not _calls_python(graph), f"{case}: NumPy로 바꾸지 말고 TensorFlow 연산만 쓰세요.")
        operations = graph.get_operations()
        if any("While" in operation.type or "MapDefun" in operation.type for operation in operations):
            raise Mismatch(f"{case}: tf.map_fn과 tf.while_loop도 반복문이니 텐서 연산으로 바꾸세요.")
        counts.append(len(operations))
    expect(
        counts[1] - counts[0] < large - small,
        f"{case}: 입력의 크기를 {small}에서 {large}로 늘리자 연산의 수가 {counts[0]}개에서 {counts[1]}개로 "
        "늘었습니다. 파이썬 반복문을 텐서 연산으로 바꾸세요.",
    )


def _calls_python(graph: tf.Graph) -> bool:
    """Tell whether the graph leaves TensorFlow by ``tf.numpy_function`` or ``tf.py_function``."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for part in definition.library.function for node in part.node_def)]
    return any(node.op in {"PyFunc", "PyFuncStateless", "EagerPyFunc"} for node in nodes)


@contextlib.contextmanager
def _tape_calls(case: str) -> Iterator[list]:
    """Collect what tapes in the block return from ``gradient`` and ``jacobian``.

    An error in the block after a tape returned ``None`` becomes a :class:`Mismatch` that says so.
    """
    results: list = []

    def recording(method: Callable) -> Callable:
        def record(*args, **kwargs):
            results.append(method(*args, **kwargs))
            return results[-1]

        return record

    kind = tf.GradientTape
    with mock.patch.multiple(kind, gradient=recording(kind.gradient), jacobian=recording(kind.jacobian)):
        try:
            yield results
        except (Mismatch, NotImplementedError):
            raise
        except Exception:
            if any(result is None for result in results):
                raise Mismatch(f"{case}: {UNWATCHED}") from None
            raise


@contextlib.contextmanager
def _doubled_tape() -> Iterator[None]:
    """Let tapes in the block return twice the gradient, which tells what comes from a tape."""
    gradient = tf.GradientTape.gradient  # jacobian calls it, too.

    def double(*args, **kwargs):
        return tf.nest.map_structure(lambda value: 2 * value, gradient(*args, **kwargs))

    with mock.patch.object(tf.GradientTape, "gradient", double):
        yield


@contextlib.contextmanager
def _quiet_logger() -> Iterator[None]:
    """Keep TensorFlow's advice on repeated tracing, which grading provokes, out of the notebook."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _choose(flip: Sequence[bool], yes, no) -> np.ndarray:
    return np.stack([np.asarray(a if f else b) for f, a, b in zip(flip, yes, no, strict=True)])


def _clusters(rng: np.random.Generator, points: int, clusters: int, dimensions: int) -> tuple:
    roots = rng.normal(size=(clusters, dimensions, dimensions))
    precisions = roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(dimensions)
    return rng.normal(size=(points, dimensions)), rng.normal(size=(clusters, dimensions)), precisions


def _logistic_inputs(rng: np.random.Generator, samples: int, features: int) -> tuple:
    y = rng.integers(0, 2, size=samples)
    y[0] = 1
    return rng.normal(size=features), rng.normal() + 1, rng.normal(size=(samples, features)), y


def _logistic_reference(w, b, X, y, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """The gradient by tape in float64 from TensorFlow's own loss functions."""
    w, b, X, y = (tf.constant(item, tf.float64) for item in (w, b, X, y))
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        logits = tf.linalg.matvec(X, w) + b
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
        loss = tf.reduce_mean(losses) + l2 * tf.nn.l2_loss(w)
    dw, db = tape.gradient(loss, [w, b])
    return dw.numpy(), db.numpy()
