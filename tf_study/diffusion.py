"""Diffusion on small pictures: a noise path, samplers, a judge, and checkpoints trained on digits.

Lectures 13.1, 13.2 and 13.4 build the samplers and guidance step by step, 13.3 the network
(:mod:`tf_study.models.unet`). The checkpoints come from ``tools/train_diffusion.py``.

Convention: time t = 0 is the clean picture, t = 1 is noise, and ``x_t = (1 - t) x_0 + t noise`` (the path of flow
matching, Lipman et al. 2022, arXiv:2210.02747). The network predicts the velocity ``noise - x_0``; it reads ``1000 t``.
Pictures are float32 (B, H, W, 1) from -1 (black) to 1. Label ``CLASSES`` stands for none.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_study import data
from tf_study.data import fetch, store
from tf_study.models.unet import UNet

CLASSES = 10
SIDE = 14  # of the pictures that the checkpoints know
TIME_SCALE = 1000.0
START = 7  # number of the noise that sampling begins with; the fresh noise of :func:`ddpm` has those after it
FEATURES = 64  # that the judge compares

Predict = Callable[[tf.Tensor, float], tuple[tf.Tensor, tf.Tensor]]  # x_t, t → x_0, noise


def shrink(pictures: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Turn uint8 (N, 28, 28) into float32 (N, side, side, 1) between -1 and 1 by averaging squares.

    Raises:
        ValueError: if ``side`` is neither a divisor of 28 nor 8 or 16, for which two pixels are added around it.
    """
    x = pictures.astype(np.float32) / 127.5 - 1
    if 28 % side:
        x = np.pad(x, ((0, 0), (2, 2), (2, 2)), constant_values=-1)
    factor, rest = divmod(x.shape[1], side)
    if rest:
        raise ValueError(f"{x.shape[1]} pixels cannot be shrunk to {side}")
    return x.reshape(-1, side, factor, side, factor).mean((2, 4), dtype=np.float32)[..., None]


def digits(side: int = SIDE) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return MNIST as ``(x_train, y_train), (x_test, y_test)``: pictures (N, side, side, 1), labels int32 (N,)."""
    train, test = data.mnist()
    return tuple((shrink(x, side), y.astype(np.int32)) for x, y in (train, test))


def guided(model: keras.Model, labels: np.ndarray, guidance: float = 1.0) -> Predict:
    """Return a function (x_t, t) → (x_0, noise), both as the network guesses them for ``labels`` (B,).

    With ``guidance`` w the velocity is ``none + w (label - none)`` (Ho and Salimans 2022, arXiv:2207.12598, in the
    convention where w = 1 is the conditional network itself and w = 0 the one without a label).
    """
    labels, none = tf.constant(labels, tf.int32), tf.fill(len(labels), model.classes)

    def velocity(x, t):
        time = tf.fill(len(labels), tf.constant(TIME_SCALE * t, tf.float32))
        forward = compiled(model, x.shape[1])
        if guidance == 1:
            return forward(x, time, labels)
        both = forward(tf.concat([x, x], 0), tf.concat([time, time], 0), tf.concat([labels, none], 0))
        with_label, without = tf.split(both, 2)
        return without + guidance * (with_label - without)

    def predict(x, t):
        v = velocity(x, t)
        return x - t * v, x + (1 - t) * v

    return predict


@functools.lru_cache(maxsize=4)
def compiled(model: keras.Model, side: int = SIDE) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the network, (x, time, label) → x, as one graph for any number of pictures of this side."""
    numbers, labels = tf.TensorSpec([None]), tf.TensorSpec([None], tf.int32)
    signature = tf.TensorSpec([None, side, side, model.image_channels]), numbers, labels

    @tf.function(autograph=False, input_signature=signature)
    def forward(x, time, label):
        return model(x, time=time, label=label)

    return forward


def start(count: int, side: int = SIDE, channels: int = 1, seed: int = 0) -> tf.Tensor:
    """Return the noise with which sampling begins, (count, side, side, channels); the same for the same seed."""
    return tf.random.stateless_normal((count, side, side, channels), (START, seed))


def ddim(predict: Predict, x: tf.Tensor, steps: int) -> Iterator[tf.Tensor]:
    """Yield x after each of ``steps`` steps of DDIM (Song et al. 2020, arXiv:2010.02502), times equally spaced.

    On this path it is Euler's method for the flow: lecture 17.4 shows it.
    """
    times = np.linspace(1, 0, steps + 1)
    for t, after in zip(times[:-1], times[1:], strict=True):
        clean, noise = predict(x, t)
        x = (1 - after) * clean + after * noise
        yield x


def ddpm(predict: Predict, x: tf.Tensor, steps: int, seed: int = 0) -> Iterator[tf.Tensor]:
    """Yield x after each of ``steps`` ancestral steps: draw from q(x_after | x_t, x_0) (Ho et al. 2020, equation 6)."""
    times = np.linspace(1, 0, steps + 1)
    for step, (t, after) in enumerate(zip(times[:-1], times[1:], strict=True)):
        clean, noise = predict(x, t)
        # Of the noise at `after` this part is new: its variance is after^2 (1 - SNR(t) / SNR(after)).
        kept = (1 - t) * after / (t * (1 - after))  # sqrt(SNR(t) / SNR(after))
        fresh = tf.random.stateless_normal(x.shape, (START + 1 + step, seed))
        x = (1 - after) * clean + after * (kept * noise + np.sqrt(1 - kept**2) * fresh)
        yield x


def dpm_solver(predict: Predict, x: tf.Tensor, steps: int) -> Iterator[tf.Tensor]:
    """Yield x after each of ``steps`` steps of DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    Times from 0.99 to 0.02 are equally spaced in log((1 - t) / t), which is infinite at both ends; x counts as if it
    stood at 0.99, and the last step takes the guess of the clean picture as it is.
    """
    ratios = np.linspace(np.log(0.01 / 0.99), np.log(0.98 / 0.02), steps)
    times = np.concatenate([1 / (1 + np.exp(ratios)), [0.0]])
    before = None
    for step, (t, after) in enumerate(zip(times[:-1], times[1:], strict=True)):
        clean, _ = predict(x, t)
        if after == 0:
            yield clean
            return
        guess = clean if before is None else clean + (clean - before) / 2  # equal spacing: r = 1
        h = ratios[step + 1] - ratios[step]
        x = after / t * x - (1 - after) * np.expm1(-h) * guess
        before = clean
        yield x


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpm": dpm_solver}


def sample(
    model: keras.Model,
    labels: np.ndarray,
    steps: int = 16,
    guidance: float = 1.0,
    seed: int = 0,
    sampler: Callable = ddim,
    side: int = SIDE,
) -> np.ndarray:
    """Return one picture a label, float32 (B, side, side, channels) clipped to -1 ... 1.

    ``seed`` fixes the noise to begin with; for other fresh noise too, ``sampler=functools.partial(ddpm, seed=seed)``.
    """
    x = start(len(labels), side, model.image_channels, seed)
    (last,) = deque(sampler(guided(model, labels, guidance), x, steps), maxlen=1)
    return np.clip(last, -1, 1)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Frechet distance of two sets of features (N, D) and (M, D), as Gaussians (Heusel et al. 2017).

    It is too large for small sets, so compare only what was measured with the same N and M.
    """
    return _distance_to(b)(a)


def frechet_error(features: np.ndarray, real: np.ndarray, seed: int = 0, resamples: int = 50) -> float:
    """Return the standard error of :func:`frechet` by bootstrap: its spread over features drawn anew with replacement."""
    rng, distance = np.random.default_rng(seed), _distance_to(real)
    rows = (rng.integers(len(features), size=len(features)) for _ in range(resamples))
    return float(np.std([distance(features[row]) for row in rows], ddof=1))


def _distance_to(real: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function from features to their Frechet distance to ``real``, which is looked at only once."""
    centre, cov_real = real.mean(0), np.cov(real, rowvar=False)
    values, vectors = np.linalg.eigh(cov_real)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T

    def distance(features):
        cov = np.cov(features, rowvar=False)
        mean = ((features.mean(0) - centre) ** 2).sum()
        # The eigenvalues of cov cov_real are those of the symmetric root cov root.
        both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov @ root), 0)).sum()
        return float(mean + np.trace(cov) + np.trace(cov_real) - 2 * both)

    return distance


class Classifier(keras.Model):
    """Pictures (B, side, side, image_channels) → features (B, 64) and logits (B, classes)."""

    def __init__(self, side: int = SIDE, classes: int = CLASSES, image_channels: int = 1):
        super().__init__()
        layers = keras.layers
        self.body = keras.Sequential([keras.Input((side, side, image_channels))])
        for channels in (32, 64):
            self.body.add(layers.Conv2D(channels, 3, padding="same"))
            self.body.add(layers.BatchNormalization(momentum=0.9))
            self.body.add(layers.ReLU())
            self.body.add(layers.MaxPool2D(2, padding="same"))
            self.body.add(layers.Dropout(0.2, seed=0))
        self.body.add(layers.Flatten())
        self.body.add(layers.Dense(FEATURES, "relu"))
        self.head = layers.Dense(classes)
        self.head.build((None, FEATURES))
        self.built = True

    def call(self, x, training=False):
        features = self.body(x, training=training)
        return features, self.head(features)


class Judge:
    """Says how good pictures are, with a classifier's eyes: not the eyes of a person, nor those of published FIDs.

    Attributes:
        accuracy: of the classifier on the test digits.
        floor: the Frechet distance that real digits have, test against training set.
    """

    def __init__(self, classifier: Classifier | None = None, side: int = SIDE):
        self.classifier = load_classifier() if classifier is None else classifier
        (x_train, self.labels), (x_test, y_test) = digits(side)
        self.features, _ = self.look(x_train)
        test, logits = self.look(x_test)
        self.accuracy = float((logits.argmax(1) == y_test).mean())
        self.floor = frechet(test, self.features)

    def look(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (N, H, W, 1) → features (N, 64), logits (N, 10)."""
        parts = [self.classifier(pictures[i : i + 500]) for i in range(0, len(pictures), 500)]
        return tuple(np.concatenate([part[k] for part in parts]) for k in range(2))

    def score(self, pictures: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return ``accuracy`` for the labels asked for, ``distance`` to the training digits (Frechet) and
        ``diversity``: the spread of the features within a class, as a share of the training digits' (1 is theirs).
        """
        features, logits = self.look(pictures)
        spread = [
            features[labels == c].std(0).mean() / self.features[self.labels == c].std(0).mean()
            for c in np.unique(labels)
        ]
        return {
            "accuracy": float((logits.argmax(1) == labels).mean()),
            "distance": frechet(features, self.features),
            "diversity": float(np.mean(spread)),
        }


def load_unet() -> UNet:
    """Return the UNet trained on 14x14 digits (see ``tf_study/data/README.md``)."""
    return load_weights(UNet(), "unet14")


def load_classifier() -> Classifier:
    """Return the classifier behind :class:`Judge`, for 14x14 digits."""
    return load_weights(Classifier(), "judge14")


def load_weights(model: keras.Model, name: str) -> keras.Model:
    """Fill a model with the checkpoint ``diffusion/<name>.npz``: its weights in their order, as float16.

    Raises:
        StudyError: if the file is missing or not what the manifest says.
    """
    fetch.read_weights(model, store.path(f"diffusion/{name}.npz"))
    return model
