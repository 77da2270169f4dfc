"""Checks of practice 7.2: both losses, the optimal discriminator, both networks, one step, drawn digits."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from scipy import linalg
from scipy.special import expit, rel_entr
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import pairwise_distances_argmin_min

from tf_study import data
from tf_study.expect import (
    expect,
    expect_array,
    expect_close,
    expect_model,
    expect_parts,
    expect_returned,
    expect_trainable,
    untouched,
)
from tf_study.practice import TRAINING_SECONDS, problem
from tf_study.profile import pick

LIMIT = pick(small=250_000, full=1_000_000)  # parameters of one network
DISTANCE, DIGITS, SHARE, NEAR, COPIES = 0.15, 9, 0.02, 5.0, 0.1


def _bce(label: float, logits) -> float:
    """Return the binary cross-entropy in double precision."""
    logits = tf.constant(np.reshape(logits, (-1, 1)), tf.float64)
    return float(_cross(label, logits))


def _cross(label: float, logits):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label * tf.ones_like(logits), logits))


@problem("판별자의 손실", minutes=5)
def discriminator_loss(answer):
    """The value against TensorFlow's cross-entropy, and the slopes of both kinds of logits."""
    rng = np.random.default_rng(711)
    for case, (real, fake, smooth) in {
        "예시": ([np.log(3), 0.0], [0.0], 0.0),
        "예시, smooth = 0.1": ([np.log(3), 0.0], [0.0], 0.1),
        "로짓 한 쌍": ([-1.5], [0.7], 0.0),
        "배치 7과 4, smooth = 0.2": (rng.normal(0, 3, 7), rng.normal(0, 3, 4), 0.2),
        "로짓 ±200": ([200.0, -200.0], [200.0, -200.0, -200.0], 0.0),
        "로짓 ±200, smooth = 0.1": ([200.0, -200.0], [200.0, -200.0, 3.0], 0.1),
    }.items():
        a, b = (tf.Variable(np.reshape(v, (-1, 1)), dtype=tf.float32) for v in (real, fake))
        with tf.GradientTape() as tape:
            got = answer(a, b, smooth)
        right = _bce(1 - smooth, real) + _bce(0, fake)
        mistakes = {
            "두 평균을 더해야 하는데 반으로 나누었습니다.": right / 2,
            "진짜와 가짜의 레이블이 바뀌었습니다.": _bce(0, real) + _bce(1 - smooth, fake),
            "가짜의 레이블까지 부드럽게 했습니다.": _bce(1 - smooth, real) + _bce(smooth, fake),
            "smooth를 쓰지 않았습니다.": _bce(1, real) + _bce(0, fake),
            "부호가 반대입니다. 줄일 손실이어야 합니다.": -right,
        }
        expect_close(got, right, case, dtype="float32", mistakes=mistakes)
        expect(tf.is_tensor(got), f"{case}: 손실이 텐서가 아닙니다. TensorFlow의 연산으로 쓰세요.")
        if "예시" in case:  # At a logit of exactly 0 the stable formulas have a corner.
            continue
        slopes = tape.gradient(got, [a, b])
        expect(
            None not in slopes, f"{case}: 로짓까지 기울기가 이어지지 않습니다. 텐서플로의 연산으로 쓰세요."
        )
        expect_close(slopes[0], (expit(a.numpy()) - 1 + smooth) / len(real), f"{case}: 진짜 로짓의 기울기")
        both = {"가짜의 레이블까지 부드럽게 했습니다.": (expit(b.numpy()) - smooth) / len(fake)}
        expect_close(slopes[1], expit(b.numpy()) / len(fake), f"{case}: 가짜 로짓의 기울기", mistakes=both)


@problem("생성자의 손실", minutes=5)
def generator_loss(answer):
    """The value against TensorFlow's cross-entropy, and the slope where the discriminator is sure."""
    rng = np.random.default_rng(712)
    for case, fake in {
        "예시": [0.0, -np.log(3)],
        "로짓 하나": [1.3],
        "로짓 9개": rng.normal(0, 3, 9),
        "판별자가 가짜라고 확신 (-8)": [-8.0, -9.0],
        "로짓 ±200": [200.0, -200.0],
    }.items():
        b = tf.Variable(np.reshape(fake, (-1, 1)), dtype=tf.float32)
        with tf.GradientTape() as tape:
            got = answer(b)
        mistakes = {
            "log(1 - D)를 줄이는 포화하는 손실입니다.": -_bce(0, fake),
            "가짜의 레이블을 0으로 두었습니다. 판별자를 돕는 손실입니다.": _bce(0, fake),
            "평균이 아니라 합입니다.": _bce(1, fake) * len(fake),
            "부호가 반대입니다.": -_bce(1, fake),
        }
        expect_close(got, _bce(1, fake), case, dtype="float32", mistakes=mistakes)
        expect(tf.is_tensor(got), f"{case}: 손실이 텐서가 아닙니다. TensorFlow의 연산으로 쓰세요.")
        if "예시" in case:  # At a logit of exactly 0 the stable formulas have a corner.
            continue
        slope = tape.gradient(got, b)
        expect(slope is not None, f"{case}: 로짓까지 기울기가 이어지지 않습니다. 텐서플로의 연산으로 쓰세요.")
        expect_close(slope, -expit(-b.numpy()) / len(fake), f"{case}: 로짓의 기울기")


@problem("최적 판별자", minutes=10)
def optimal_discriminator(answer):
    """D point by point in Python's floats, V as a sum of relative entropies."""
    x = np.linspace(-6, 6, 241)
    rng = np.random.default_rng(713)

    def bell(m, s):
        return np.exp(-(((x - m) / s) ** 2) / 2) / s / np.sqrt(2 * np.pi)

    for case, (p, q, dx) in {
        "예시": (np.array([0.5, 0.5, 0, 0]), np.array([0, 0.5, 0.5, 0]), 1.0),
        "정규 분포 둘": (bell(-1, 0.6), bell(1, 1), 0.05),
        "p = q": (bell(0, 1), bell(0, 1), 0.05),
        "겹치지 않음": (np.repeat([1.0, 0, 0], 10), np.repeat([0, 0, 1.0], 10), 0.1),
        "아주 작은 밀도": (np.array([1e-12, 1e-30, 0.8]), np.array([3e-12, 1e-30, 0.2]), 1.0),
        "한쪽이 아주 작음": (np.array([1.0, 1e-20, 0.5]), np.array([1e-20, 1.0, 0.5]), 0.5),
        "아무 값 30개": (rng.uniform(0, 2, 30), rng.uniform(0, 2, 30), 0.03),
    }.items():
        with untouched(case, p, q):
            got = expect_parts(answer(p, q, dx), ("D*", "V"), case)
        d = [a / (a + b) if a + b > 0 else 0.5 for a, b in zip(p.tolist(), q.tolist(), strict=True)]
        v = dx * float(np.sum(rel_entr(p, p + q) + rel_entr(q, p + q)))
        about_d = {
            "p와 q의 자리가 바뀌었습니다.": 1 - np.array(d),
            "두 밀도가 모두 0인 자리는 1/2이어야 합니다.": np.where(p + q > 0, d, 0.0),
        }
        about_v = {
            "눈금의 간격 dx를 곱하지 않았습니다.": v / dx,
            "부호가 반대입니다. 손실이 아니라 값 함수입니다.": -v,
            "합이 아니라 평균입니다.": v / dx / len(p),
        }
        expect_close(got[0], d, f"{case}: D*", tol=1e-6, mistakes=about_d)
        expect_close(got[1], v, f"{case}: V", tol=1e-6, mistakes=about_v)


def _drawn(model, rng: np.random.Generator, scale: float) -> None:
    """Draw every trainable weight anew, so that nothing hides behind small or zero beginnings."""
    for weight in model.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))


def _network(model, shape: tuple[int, ...], case: str) -> None:
    """Check the output's shape and the independence of the rows at inference."""
    rng = np.random.default_rng(714)
    x = tf.constant(rng.normal(size=(5, *model.input_shape[1:])), tf.float32)
    for rows in (5, 1):
        got = model(x[:rows], training=False)
        expect_returned(got, case)
        got = tuple(got.shape)
        expect(got == (rows, *shape), f"{case}: 출력의 모양이 {(rows, *shape)}이어야 하는데 {got}입니다.")
    expect_trainable(model, case)
    count = model.count_params()
    expect(count <= LIMIT, f"{case}: 파라미터가 {LIMIT:,}개 이하여야 하는데 {count:,}개입니다.")
    _drawn(model, rng, 0.3)
    many = model(x, training=False)
    text = f"{case}: training=False에서 같은 입력을 다시 부른 출력"
    expect_close(model(x, training=False), many, text, tol=1e-5)
    text = f"{case}: training=False에서 혼자 부른 출력과 배치에 섞어 부른 출력"
    expect_close(model(x[:1], training=False), many[:1], text, tol=1e-3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    slopes = tape.gradient(loss, model.trainable_weights)
    expect(
        len(slopes) and all(s is not None for s in slopes), f"{case}: 출력에 쓰이지 않는 가중치가 있습니다."
    )


@problem("생성자", minutes=10)
def build_generator(answer):
    """Shape, range and size of pictures for two latent sizes; every latent coordinate matters."""
    rng = np.random.default_rng(715)
    for latent in (8, 64):
        case = f"build_generator({latent})"
        model = answer(latent)
        expect_model(model, (latent,), case)
        _network(model, (28, 28, 1), case)
        _drawn(model, rng, 1.0)
        z = rng.normal(size=(64, latent)).astype("float32")
        images = np.asarray(model(z, training=False))
        low, high = images.min(), images.max()
        expect(
            -1 - 1e-5 <= low and high <= 1 + 1e-5,
            f"{case}: 가중치를 크게 뽑으면 픽셀이 [{low:.2g}, {high:.2g}]까지 나옵니다. [-1, 1]을 넘지 못해야 합니다.",
        )
        expect(
            low < -0.5 and high > 0.5,
            f"{case}: 픽셀이 [{low:.2g}, {high:.2g}]에만 있습니다. -1과 1 가까이까지 낼 수 있어야 합니다.",
        )
        expect(images.std(axis=(1, 2)).max() > 1e-3, f"{case}: 그림 한 장의 모든 픽셀이 같습니다.")
        _drawn(model, rng, 0.1)  # far from the flat ends of tanh
        still = np.std(model(z, training=False), axis=0) < 1e-7
        expect(not still.any(), f"{case}: z가 바뀌어도 변하지 않는 픽셀이 {still.sum()}개 있습니다.")
        moved = z[0] + np.eye(latent, dtype="float32")  # one coordinate changed in every row
        change = np.abs(model(moved, training=False) - model(z[:1], training=False)).max(axis=(1, 2, 3))
        unused = np.flatnonzero(change < 1e-7)
        expect(not len(unused), f"{case}: z의 좌표 {unused[:3].tolist()}을 바꾸어도 그림이 그대로입니다.")


@problem("판별자", minutes=10)
def build_discriminator(answer):
    """An unbounded logit of both signs that depends on every pixel and its place."""
    case, rng = "build_discriminator()", np.random.default_rng(716)
    model = answer()
    expect_model(model, (28, 28, 1), case)
    _network(model, (1,), case)
    x = tf.constant(rng.uniform(-1, 1, (8, 28, 28, 1)), tf.float32)
    shuffled = tf.reshape(tf.gather(tf.reshape(x, (8, -1)), rng.permutation(784), axis=1), x.shape)
    logits, seen, place = [], np.zeros((28, 28), bool), 0.0
    for _ in range(6):
        _drawn(model, rng, 0.5)
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = model(x, training=False)
        slope = tape.gradient(out, x)
        expect(slope is not None, f"{case}: 로짓이 그림에 따라 바뀌지 않습니다.")
        logits.append(np.asarray(out))
        seen |= (np.abs(slope) > 0).any(axis=(0, 3))
        place = max(place, float(np.abs(out - model(shuffled, training=False)).max()))
    expect(seen.mean() > 0.9, f"{case}: 픽셀의 {100 * seen.mean():.0f}%만 로짓에 쓰입니다.")
    expect(place > 1e-3, f"{case}: 픽셀의 자리를 섞어도 로짓이 같습니다. 모양을 보지 않습니다.")
    low, high = np.min(logits), np.max(logits)
    expect(
        low < -2 and high > 2,
        f"{case}: 가중치를 크게 뽑아도 출력이 [{low:.2g}, {high:.2g}]입니다. 활성화 함수 없는 로짓이어야 합니다.",
    )


def _small(sizes: tuple[int, ...], normalize: bool, rng: np.random.Generator):
    """Return a small dense network with drawn weights and its trainable weights in double precision."""
    width = keras.layers.Dense(sizes[1])
    middle = [keras.layers.BatchNormalization()] if normalize else []
    bend = keras.layers.LeakyReLU(negative_slope=0.2)
    model = keras.Sequential([keras.Input((sizes[0],)), width, *middle, bend, keras.layers.Dense(sizes[2])])
    _drawn(model, rng, 0.7)
    return model, [tf.constant(w.numpy(), tf.float64) for w in model.trainable_weights]


def _forward(weights: list, x, training: bool = True):
    """Compute the network of :func:`_small`; with four more than two pairs of weights it normalizes."""
    h = x @ weights[0] + weights[1]
    if len(weights) == 6:
        mean, variance = tf.nn.moments(h, axes=[0])
        if not training:  # as in a new layer
            mean, variance = tf.zeros_like(mean), tf.ones_like(variance)
        h = weights[2] * (h - mean) / tf.sqrt(variance + 1e-3) + weights[3]
    return tf.maximum(h, 0.2 * h) @ weights[-2] + weights[-1]


def _step(g, d, real, z, rates, smooth, saturating=False, together=False, training=True, both=False):
    """Return weights of G and D and both losses after one step of SGD; the options make known mistakes."""
    real, z = (tf.constant(v, tf.float64) for v in (real, z))

    def down(weights, slopes, rate):
        return [w - rate * s for w, s in zip(weights, slopes, strict=True)]

    with tf.GradientTape() as tape:
        tape.watch(d)
        fake = _forward(g, z, training)
        loss_d = _cross(1 - smooth, _forward(d, real)) + _cross(0, _forward(d, fake))
    new_d = down(d, tape.gradient(loss_d, d), rates[1])
    judge = d if together else new_d
    with tf.GradientTape() as tape:
        tape.watch([g, judge])
        b = _forward(judge, _forward(g, z, training))
        loss_g = -_cross(0, b) if saturating else _cross(1, b)
    slopes_g, slopes_d = tape.gradient(loss_g, [g, judge])
    if both:
        new_d = down(new_d, slopes_d, rates[0])
    return down(g, slopes_g, rates[0]), new_d, float(loss_d), float(loss_g)


def _flat(weights: list) -> np.ndarray:
    return np.concatenate([np.ravel(w) for w in weights])


@problem("학습 한 걸음", minutes=15, seconds=TRAINING_SECONDS)
def train_step(answer):
    """One step of SGD against double precision, eagerly and in a graph."""
    for number, (case, (batch, normalize, rates, smooth, graph)) in enumerate(
        {
            "SGD, smooth = 0": (6, (False, False), (0.2, 0.2), 0.0, False),
            "SGD, 두 학습률이 다름, smooth = 0.1": (5, (True, False), (0.1, 0.4), 0.1, False),
            "배치 정규화가 두 쪽에 있음": (8, (True, True), (0.3, 0.1), 0.1, False),
            "tf.function 안": (7, (True, True), (0.2, 0.3), 0.1, True),
        }.items()
    ):
        rng = np.random.default_rng(720 + number)
        (G, g), (D, d) = _small((3, 6, 4), normalize[0], rng), _small((4, 8, 1), normalize[1], rng)
        real, z = (
            rng.normal(1, 1, (batch, 4)).astype("float32"),
            rng.normal(size=(batch, 3)).astype("float32"),
        )
        optimizers = [keras.optimizers.SGD(rate) for rate in rates]
        if graph:  # A graph makes no variables.
            for optimizer, model in zip(optimizers, (G, D), strict=True):
                optimizer.build(model.trainable_variables)
        step = _graph(answer) if graph else answer
        got = step(G, D, tf.constant(real), tf.constant(z), *optimizers, smooth)
        got = expect_parts(got, ("판별자의 손실", "생성자의 손실"), case)
        arguments = g, d, real, z, rates, smooth
        new_g, new_d, loss_d, loss_g = _step(*arguments)
        known = {
            "포화하는 생성자 손실을 썼습니다.": {"saturating": True},
            "고치기 전의 판별자로 생성자의 손실을 쟀습니다.": {"together": True},
            "가짜를 만들 때 training=True를 주지 않았습니다.": {"training": False},
            "생성자를 고칠 때 판별자까지 고쳤습니다.": {"both": True},
        }

        def wrong(part, known=known, arguments=arguments):
            found = {text: _step(*arguments, **change)[part] for text, change in known.items()}
            return found if part > 1 else {text: _flat(weights) for text, weights in found.items()}

        def about_d(g=g, d=d, new_d=new_d, real=real, z=z, rates=rates, smooth=smooth, wrong=wrong):
            return wrong(1) | {
                "움직이지 않았습니다.": _flat(d),
                "손실이 커지는 쪽으로 움직였습니다.": 2 * _flat(d) - _flat(new_d),
                "smooth를 쓰지 않았습니다.": _flat(_step(g, d, real, z, rates, 0.0)[1]),
                "두 옵티마이저가 바뀌었습니다.": _flat(_step(g, d, real, z, rates[::-1], smooth)[1]),
            }

        def about_g(g=g, wrong=wrong):
            return wrong(0) | {"움직이지 않았습니다.": _flat(g)}

        def about_loss(g=g, d=d, real=real, z=z, rates=rates, loss_g=loss_g):
            plain = _step(g, d, real, z, rates, 0.0)[2]
            return {"두 손실의 순서가 바뀌었습니다.": loss_g, "smooth를 쓰지 않았습니다.": plain}

        expect_close(_flat(D.trainable_variables), _flat(new_d), f"{case}: D의 가중치", 1e-4, None, about_d)
        expect_close(_flat(G.trainable_variables), _flat(new_g), f"{case}: G의 가중치", 1e-4, None, about_g)
        expect_close(got[0], loss_d, f"{case}: 판별자의 손실", tol=1e-4, mistakes=about_loss)
        expect_close(
            got[1], loss_g, f"{case}: 생성자의 손실", tol=1e-4, mistakes=lambda wrong=wrong: wrong(3)
        )
        counts = [int(optimizer.iterations) for optimizer in optimizers]
        expect(counts == [1, 1], f"{case}: 두 옵티마이저를 한 번씩 써야 하는데 {counts}번 썼습니다.")


def _graph(answer: Callable) -> Callable:
    return tf.function(lambda *arguments: answer(*arguments))


@functools.lru_cache(maxsize=1)
def _judge() -> tuple:
    """Return what the score needs: projection, its moments on real digits, classifier, known pictures (6000, 784)."""
    (train, labels), (test, _) = data.mnist(train=5000, test=1000)
    train, test = (part.reshape(len(part), 784).astype("float32") / 127.5 - 1 for part in (train, test))
    features = _strokes(train)
    pca = PCA(32, svd_solver="covariance_eigh").fit(features)
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05).fit(features, labels)
    known = _centred(np.concatenate([train, test]))
    return pca, np.diag(pca.explained_variance_), classifier, known


def _strokes(images) -> np.ndarray:
    """Return the mean change of brightness in 8 directions in each of 7 x 7 fields, (N, 392)."""
    gy, gx = np.gradient(np.reshape(images, (-1, 28, 28)).astype(float), axis=(1, 2))
    parts = []
    for k in range(8):
        along = np.maximum(np.cos(np.pi * k / 4) * gx + np.sin(np.pi * k / 4) * gy, 0)
        parts.append(along.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)))
    return np.stack(parts, axis=-1).reshape(len(gx), -1)


def _centred(images) -> np.ndarray:
    """Return the pictures, (N, 784), moved by whole pixels so that their ink has its centre in the middle."""
    images = np.reshape(images, (-1, 28, 28))
    ink, place = images + 1.0 + 1e-6, np.arange(28)
    total = ink.sum(axis=(1, 2))
    down = np.rint(13.5 - (ink.sum(axis=2) @ place) / total).astype(int)
    right = np.rint(13.5 - (ink.sum(axis=1) @ place) / total).astype(int)
    moved = [np.roll(image, move, (0, 1)) for image, *move in zip(images, down, right, strict=True)]
    return np.reshape(moved, (len(images), -1))


def measure(images) -> tuple[float, int, float]:
    """Return the relative Fréchet distance, the number of digits drawn, and the share of copies."""
    pca, real, classifier, known = _judge()
    features = _strokes(images)
    points = pca.transform(features)  # The real ones have mean 0 and a diagonal covariance.
    own = np.cov(points, rowvar=False)
    root = linalg.sqrtm(np.sqrt(real) @ own @ np.sqrt(real) + 1e-12 * np.eye(len(own))).real
    distance = (np.sum(points.mean(axis=0) ** 2) + np.trace(own + real) - 2 * np.trace(root)) / np.trace(real)
    digits = np.bincount(classifier.predict(features), minlength=10)
    moved = _centred(images).astype(known.dtype)  # A copy that was moved is a copy.
    _, near = pairwise_distances_argmin_min(moved, known)
    return float(distance), int((digits >= SHARE * len(images)).sum()), float((near < NEAR).mean())


@problem("숫자 그리기", minutes=15, seconds=TRAINING_SECONDS)
def draw_digits(answer):
    """Shape, range and freshness of the drawings, then the three numbers of the score on 1,000 of them."""
    images = _images(answer, 1000)
    expect(images.max() - images.min() > 1, "픽셀의 폭이 1도 되지 않습니다. 값의 범위를 [-1, 1]로 맞추세요.")
    expect(images.min() < -0.5, "음수인 픽셀이 없습니다. [0, 1]이 아니라 [-1, 1]의 그림이어야 합니다.")
    few, single = [_images(answer, 16) for _ in range(2)], [_images(answer, 1) for _ in range(3)]
    expect(not np.array_equal(*few), "부를 때마다 같은 그림입니다. 잡음을 새로 뽑으세요.")
    expect(
        np.std(single, axis=0).max() > 0.01,
        "한 장씩 그리면 늘 같은 그림입니다. training=False인지, 잡음을 새로 뽑는지 보세요.",
    )
    distance, digits, copies = measure(images)
    expect(
        copies <= COPIES, f"그림의 {100 * copies:.0f}%가 데이터에 있는 그림과 거의 같습니다. 베낀 그림입니다."
    )
    expect(
        distance <= DISTANCE,
        f"거리가 {DISTANCE} 이하여야 하는데 {distance:.3f}입니다. 더 오래 학습해 보세요.",
    )
    expect(digits >= DIGITS, f"숫자 {DIGITS}가지 이상을 2% 넘게 그려야 하는데 {digits}가지입니다.")


def _images(answer: Callable, n: int) -> np.ndarray:
    case = f"draw_digits({n})"
    got = expect_array(answer(n), case)
    shape = (n, 28, 28, 1)
    expect(got.shape == shape, f"{case}: 모양이 {shape}이어야 하는데 {got.shape}입니다.")
    expect(got.dtype.kind == "f" and np.isfinite(got).all(), f"{case}: 유한한 실수의 배열이어야 합니다.")
    low, high = got.min(), got.max()
    expect(low >= -1.001 and high <= 1.001, f"{case}: 픽셀이 [-1, 1]을 벗어나 [{low:.3g}, {high:.3g}]입니다.")
    return got
