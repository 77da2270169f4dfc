"""Clips of one digit that moves and bounces: how they are made, judged and sampled; checkpoints trained on them.

The networks are :mod:`tf_study.models.causal_vae` and :mod:`tf_study.models.video_dit`; chapter 17 builds them. The
checkpoints come from ``tools/train_video.py``.

Convention of chapter 17: ``x_t = (1 - t) noise + t latent``, so t = 0 is noise and t = 1 the clip; the network predicts
the velocity ``latent - noise`` and reads ``1000 t``. Clips are float32 (B, T, H, W, 1) from -1 (black) to 1.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_study import data, diffusion
from tf_study.models.causal_vae import CausalAutoencoder
from tf_study.models.video_dit import VideoDiT

SIDE, FRAMES, DIGIT = 16, 9, 10  # pixels of a frame, frames of a clip, pixels of a digit
SPEEDS = (0.75, 2.0)  # pixels a frame, of each axis
DIRECTIONS = ("왼쪽 위", "오른쪽 위", "왼쪽 아래", "오른쪽 아래")  # 2 * (down) + (right)
CROP = 12  # pixels that the judge looks at, the digit in their middle


@dataclass(frozen=True)
class Clips:
    """Clips and what is true of them.

    Attributes:
        pictures: float32 (N, T, side, side, 1), -1 ... 1.
        labels: int32 (N, 2): the digit, and its direction in the first step, an index of :data:`DIRECTIONS`.
        path: float32 (N, T, 2): row and column of the digit's upper left corner.
    """

    pictures: np.ndarray
    labels: np.ndarray
    path: np.ndarray


def digits(test: bool = False, size: int = DIGIT) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle 20x20 pixels of MNIST, averaged to ``size``, a divisor of 20: float32 (N, size, size) from 0 to
    1, and labels int32.
    """
    x, y = data.mnist()[int(test)]
    middle = x[:, 4:24, 4:24].astype(np.float32) / 255
    return middle.reshape(-1, size, 20 // size, size, 20 // size).mean((2, 4)), y.astype(np.int32)


def draw(seed: tf.Tensor, count: int, pictures, labels, frames: int = FRAMES, side: int = SIDE):
    """Return ``count`` clips as tensors (pictures, labels, path), see :class:`Clips`; usable inside a graph.

    A digit starts anywhere, keeps its speed, and turns round at the walls; its first step meets none.
    Between pixels it is drawn by linear interpolation. Pictures of another size than :data:`DIGIT` move
    faster or slower in proportion.
    """
    room = float(side - pictures.shape[1])
    scale = pictures.shape[1] / DIGIT

    def random(kind, shape, **options):
        return tf.random.stateless_uniform(shape, (seed, kind), **options)

    rows = random(1, (count,), minval=0, maxval=len(pictures), dtype=tf.int32)
    speed = random(3, (count, 2), minval=scale * SPEEDS[0], maxval=scale * SPEEDS[1])
    speed *= tf.sign(random(4, (count, 2)) - 0.5)
    low, high = tf.maximum(0.0, -speed), tf.minimum(room, room - speed)
    start = low + random(2, (count, 2)) * (high - low)
    time = tf.range(frames, dtype=tf.float32)[None, :, None]
    straight = start[:, None] + speed[:, None] * time  # (N, T, 2)
    path = room - tf.abs(tf.math.floormod(straight, 2 * room) - room)  # folded at the walls
    rows_of, columns_of = (placement(path[..., axis], pictures.shape[1], side) for axis in range(2))
    films = tf.einsum("ntya,nab,ntxb->ntyx", rows_of, tf.gather(pictures, rows), columns_of)
    ahead = tf.cast(speed > 0, tf.int32)
    kinds = tf.stack([tf.gather(labels, rows), 2 * ahead[:, 0] + ahead[:, 1]], -1)
    return films[..., None] * 2 - 1, kinds, path


def placement(offset, size, side):
    """Weights (N, T, side, size) that put pixel a of a digit at ``offset + a`` of a frame."""
    distance = tf.range(side, dtype=tf.float32)[:, None] - tf.range(size, dtype=tf.float32)
    return tf.maximum(0.0, 1 - tf.abs(distance - offset[..., None, None]))


def clips(count: int, seed: int = 0, test: bool = False, frames: int = FRAMES, side: int = SIDE) -> Clips:
    """Return clips of training or test digits; the same for the same arguments."""
    pictures, labels = digits(test)
    parts = draw(tf.constant(seed), count, tf.constant(pictures), tf.constant(labels), frames, side)
    return Clips(*(part.numpy() for part in parts))


def centroid(pictures: np.ndarray) -> np.ndarray:
    """Return the middle of what is bright, rows and columns, (N, T, H, W, 1) → (N, T, 2)."""
    mass = np.maximum(0, (pictures[..., 0] + 1) / 2 - 0.15)
    total = mass.sum((2, 3)) + 1e-6
    rows, columns = (np.arange(size) for size in mass.shape[2:])
    return np.stack([(mass.sum(3) * rows).sum(2) / total, (mass.sum(2) * columns).sum(2) / total], -1)


def crops(pictures: np.ndarray) -> np.ndarray:
    """Return 12x12 windows round the middle, interpolated between pixels: (N, T, H, W, 1) → (N, T, 12, 12, 1)."""
    places = centroid(pictures)[..., None] - (CROP - 1) / 2 + np.arange(CROP)  # (N, T, 2, 12)
    rows, columns = (
        np.maximum(0, 1 - np.abs(places[:, :, axis, :, None] - np.arange(pictures.shape[2 + axis])))
        for axis in range(2)
    )
    window = np.einsum("ntay,ntyx,ntbx->ntab", rows, (pictures[..., 0] + 1) / 2, columns, optimize=True)
    return (window * 2 - 1).astype(np.float32)[..., None]


def motion_error(pictures: np.ndarray, size: int = DIGIT) -> np.ndarray:
    """Return how far the digit's middle strays from the best path of constant speed with bounces, (N,) in pixels.

    Start and speed of each axis are the best of a grid (a quarter and a tenth of a pixel); ``size`` is the digit's.
    """
    frames, room = pictures.shape[1], pictures.shape[2] - size
    speeds = np.arange(-22, 23) / 10
    starts = np.arange(4 * room + 1) / 4
    straight = starts[:, None, None] + speeds[:, None] * np.arange(frames)
    paths = (room - np.abs(straight % (2 * room) - room)).reshape(-1, frames)
    paths -= paths.mean(1, keepdims=True)  # the middle of a digit's mass is not the middle of its square
    seen = centroid(pictures)
    seen -= seen.mean(1, keepdims=True)
    error = np.zeros(len(pictures))
    for axis in range(2):
        cross = seen[..., axis] @ paths.T  # (N, paths)
        square = (seen[..., axis] ** 2).sum(1)[:, None] - 2 * cross + (paths**2).sum(1)
        error += square.min(1) / frames
    return np.sqrt(np.maximum(error, 0))


def direction(pictures: np.ndarray) -> np.ndarray:
    """Return where the digit goes in the first step of clips (N, T, H, W, 1), indices of :data:`DIRECTIONS`."""
    first, second = centroid(pictures[:, :2]).swapaxes(0, 1)
    ahead = second > first
    return (2 * ahead[:, 0] + ahead[:, 1]).astype(np.int32)


class Judge:
    """Says whether clips show the digit asked for, the same in all frames, moving as asked and as a ball does."""

    def __init__(self, classifier: diffusion.Classifier | None = None):
        self.classifier = load_classifier() if classifier is None else classifier

    def look(self, pictures: np.ndarray) -> np.ndarray:
        """Clips (N, T, H, W, 1) → the digit seen in each frame, (N, T)."""
        windows = crops(pictures).reshape(-1, CROP, CROP, 1)
        logits = [self.classifier(windows[i : i + 1000])[1] for i in range(0, len(windows), 1000)]
        return np.concatenate(logits).argmax(1).reshape(pictures.shape[:2])

    def score(self, pictures: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return, for clips (N, T, H, W, 1) and what was asked for, labels (N, 2):

        ``accuracy``: share of frames with the digit asked for; ``same``: share of clips with one digit throughout;
        ``motion``: the median of :func:`motion_error`; ``direction``: share of clips that set out as asked.
        """
        seen = self.look(pictures)
        return {
            "accuracy": float((seen == labels[:, :1]).mean()),
            "same": float((seen == seen[:, :1]).all(1).mean()),
            "motion": float(np.median(motion_error(pictures))),
            "direction": float((direction(pictures) == labels[:, 1]).mean()),
        }


@tf.function
def _velocity(model, x, time, labels, first, known):
    return model(x, time=time, labels=labels, first=first, known=known)


def sample(
    model: VideoDiT,
    autoencoder: CausalAutoencoder,
    labels: np.ndarray,
    steps: int = 20,
    guidance: float = 2.0,
    seed: int = 0,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """Return one clip for each row of ``labels`` (N, 2), float32 (N, T, H, W, 1) clipped to -1 ... 1.

    Euler's method for the flow, with classifier-free guidance ``none + w (label - none)``.

    Args:
        first: pictures (N, H, W, 1) with which the clips are to begin; ``None`` leaves it to the model.
    """
    count, labels = len(labels), tf.constant(labels, tf.int32)
    none = tf.tile(tf.constant([model.labels], tf.int32), (count, 1))
    x = tf.random.stateless_normal((count, *model.grid, model.latent), (3, seed))
    known = tf.fill(count, 0.0 if first is None else 1.0)
    if first is None:
        begin = tf.zeros_like(x[:, 0])
    else:
        begin = autoencoder.encode(first[:, None])[:, 0]
    twice = lambda a, b: tf.concat([a, b], 0)  # noqa: E731
    for t in np.arange(steps) / steps:
        time = tf.fill(2 * count, tf.constant(diffusion.TIME_SCALE * t, tf.float32))
        both = _velocity(
            model, twice(x, x), time, twice(labels, none), twice(begin, begin), twice(known, known)
        )
        with_label, without = tf.split(both, 2)
        x += (without + guidance * (with_label - without)) / steps
    return np.clip(autoencoder.decode(x), -1, 1)


def load_autoencoder() -> CausalAutoencoder:
    """Return the autoencoder trained on clips (see ``tf_study/data/README.md``)."""
    return diffusion.load_weights(CausalAutoencoder(), "video_autoencoder")


def load_dit() -> VideoDiT:
    """Return the diffusion transformer trained on the latents of clips."""
    return diffusion.load_weights(VideoDiT(), "video_dit")


def load_classifier() -> diffusion.Classifier:
    """Return the classifier behind :class:`Judge`, for 12x12 windows."""
    return diffusion.load_weights(diffusion.Classifier(CROP), "video_judge")
