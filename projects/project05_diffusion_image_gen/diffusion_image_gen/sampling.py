"""Drawing: one loop for every sampler, and one picture for every seed.

Each step of DDPM, DDIM and DPM-Solver++ adds four things with known weights: the noisy picture, the network's guess of
the clean one, its guess one step earlier, and fresh noise. :func:`plan` writes these weights down; lectures 13.1 and
13.2 derive them, and the tests compare them with ``tf_study.diffusion``.

A picture's noise comes from its own seed, and the network always sees :data:`ROWS` pictures: the last bits of what it
says of one depend on how many there are, since sums are then done in another order. So a seed gives the same bits
alone or among others where oneDNN computes (TensorFlow's default on x86). Without it a picture's place among the eight
also matters, in the last bits.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from diffusion_image_gen.settings import Wish
from tf_study import cli
from tf_study.diffusion import START, TIME_SCALE
from tf_study.errors import StudyError
from tf_study.models.unet import UNet

ROWS = 8  # pictures that the network sees at a time
FRESH_FROM = START + 1  # number of the first fresh noise; START is that of the noise to begin with
TIME, KEEP, CLEAN, BEFORE, FRESH = range(5)  # columns of a plan


def plan(sampler: str, steps: int) -> np.ndarray:
    """Return one row a step, float32 (steps, 5): time, then the weights of x, x_0, the x_0 before, and fresh noise."""
    if sampler == "dpm":
        return _dpm(steps)
    times = np.linspace(1, 0, steps + 1)
    t, after = times[:-1], times[1:]
    kept = np.ones(steps)
    if sampler == "ddpm":  # the part of the noise that stays; see tf_study.diffusion.ddpm
        kept = (1 - t) * after / (t * (1 - after))
    rows = np.zeros((steps, 5))
    rows[:, TIME], rows[:, KEEP] = t, after * kept / t
    rows[:, CLEAN] = (1 - after) - after * kept * (1 - t) / t
    rows[:, FRESH] = after * np.sqrt(1 - kept**2)
    return rows.astype(np.float32)


def _dpm(steps: int) -> np.ndarray:
    ratios = np.linspace(np.log(0.01 / 0.99), np.log(0.98 / 0.02), steps)  # log((1 - t) / t)
    t = 1 / (1 + np.exp(ratios))
    h = ratios[1] - ratios[0]
    weight = -(1 - t[1:]) * np.expm1(-h)
    rows = np.zeros((steps, 5))
    rows[:, TIME] = t
    rows[:-1, KEEP], rows[:-1, CLEAN], rows[:-1, BEFORE] = t[1:] / t[:-1], 1.5 * weight, -0.5 * weight
    rows[0, CLEAN], rows[0, BEFORE] = (
        (weight[0], 0) if steps > 1 else (1, 0)
    )  # There is no guess before the first.
    rows[-1] = t[-1], 0, 1, 0, 0  # At the end the guess of the clean picture is the picture.
    return rows.astype(np.float32)


class Painter:
    """Draws with a network; may be used from several threads.

    Args:
        model: predicts the velocity, as ``tf_study.diffusion`` has it.
        side: of its pictures.
        classes: their names, in the order of the labels.
        xla: compile the steps with XLA.

    Attributes:
        steps: :meth:`step` as a graph, by whether it is guided.
    """

    def __init__(self, model: UNet, side: int, classes: Sequence[str], xla: bool = False):
        self.model, self.side, self.classes = model, side, tuple(classes)
        self.shape = (side, side, model.image_channels)
        picture = tf.TensorSpec((ROWS, *self.shape), tf.float32)
        number, ids = tf.TensorSpec((), tf.int32), tf.TensorSpec((ROWS,), tf.int32)
        row, real = tf.TensorSpec((5,), tf.float32), tf.TensorSpec((), tf.float32)

        def compiled(guided):
            def step(x, before, labels, seeds, row, number, guidance):
                return self.step(x, before, labels, seeds, row, number, guidance if guided else None)

            signature = (picture, picture, ids, ids, row, number, real)
            return tf.function(step, input_signature=signature, autograph=False, jit_compile=xla)

        self.steps = {guided: compiled(guided) for guided in (False, True)}
        self._start = tf.function(self.noise, input_signature=(ids, number), autograph=False)

    def label(self, name: str) -> int:
        """Return a class's label.

        Raises:
            StudyError: if the model does not know the class.
        """
        if name not in self.classes:
            raise StudyError(f"클래스 {name!r}은(는) 모르니 {', '.join(self.classes)} 가운데 고르세요.")
        return self.classes.index(name)

    def noise(self, seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Return normal noise (B, side, side, channels), the ``number``-th of every picture's seed."""

        def draw(seed):
            return tf.random.stateless_normal(self.shape, tf.stack([number, seed]), alg="philox")

        return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(self.shape, tf.float32))

    def velocity(self, x, time, labels, guidance=None):
        """Return the network's guess of noise - x_0 at one time; guided if ``guidance`` is not None."""
        times = tf.fill(tf.shape(labels), TIME_SCALE * time)
        if guidance is None:
            return self.model(x, time=times, label=labels)
        none = tf.fill(tf.shape(labels), self.model.classes)
        both = self.model(
            tf.concat([x, x], 0), time=tf.concat([times, times], 0), label=tf.concat([labels, none], 0)
        )
        known, unknown = tf.split(both, 2)
        return unknown + guidance * (known - unknown)

    def step(self, x, before, labels, seeds, row, number, guidance=None):
        """Return x and the guess of x_0 after the step that ``row`` of a plan describes."""
        clean = x - row[TIME] * self.velocity(x, row[TIME], labels, guidance)
        fresh = tf.cond(row[FRESH] > 0, lambda: self.noise(seeds, number), lambda: tf.zeros_like(x))
        return row[KEEP] * x + row[CLEAN] * clean + row[BEFORE] * before + row[FRESH] * fresh, clean

    def stream(self, labels: Sequence[int], seeds: Sequence[int], wish: Wish) -> Iterator[np.ndarray]:
        """Yield the pictures (B, side, side, channels) after each of ``wish.steps`` steps."""
        count, step = len(labels), self.steps[wish.guidance != 1]
        labels = fill_rows(np.asarray(labels, np.int32))
        seeds = fill_rows(np.asarray([cli.check_seed(seed) for seed in seeds], np.int32))
        states = [(x, tf.zeros_like(x)) for x in (self._start(row, START) for row in seeds)]
        for number, row in enumerate(plan(wish.sampler, wish.steps)):
            rest = (row, FRESH_FROM + number, np.float32(wish.guidance))
            states = [
                step(*state, label, seed, *rest)
                for state, label, seed in zip(states, labels, seeds, strict=True)
            ]
            yield np.concatenate([x for x, _ in states])[:count]

    def draw(self, labels: Sequence[int], seeds: Sequence[int], wish: Wish) -> np.ndarray:
        """Return finished pictures (B, side, side, channels) from -1 to 1, one a label and seed."""
        (last,) = deque(self.stream(labels, seeds, wish), maxlen=1)
        return np.clip(last, -1, 1)


def fill_rows(values: np.ndarray) -> np.ndarray:
    """Put values (B,) into rows (-1, ROWS); the last one is filled up by repeating them."""
    return np.resize(values, (-(-len(values) // ROWS), ROWS))
